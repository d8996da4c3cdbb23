"""Care teams: who, beside the doctors of a site, is related to a person, and so may see them (clinical 9.1, ABAC)."""

from sqlalchemy import Connection
from telemed.roles import OWN_ONLY

from cloud_hub.access import treating
from cloud_hub.access.rights import Principal
from cloud_hub.access.seed import publish_accounts
from cloud_hub.access.sign_in import Access
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.store import accounts, care_team, persons
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.care_team import Membership
from cloud_hub.store.persons import Person


class CareTeams:
    """Reads and changes care teams, within the scope of whoever asks."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def of(self, principal: Principal, person_id: str) -> list[Membership]:
        """Return the care team of a person.

        Raises:
            NotFound: no such person whose record is open to the one who asks.
        """

        def work(connection: Connection) -> list[Membership]:
            _open_person(connection, principal, person_id)
            return care_team.members(connection, person_id)

        return await self._access.database.read(work)

    async def change(self, principal: Principal, person_id: str, username: str, *, is_member: bool) -> None:
        """Put somebody into a care team or take them out; the site is told in the same transaction.

        Raises:
            NotFound: no such person whose record is open to the one who asks; one behind a broken glass is not.
            BadRequest: no such account of family or a care worker at the person's site.
        """

        def work(connection: Connection) -> str:
            person = _open_person(connection, principal.for_changes(), person_id)
            where, now_ns = (person.region, person.site), self._access.now_ns()
            if is_member:
                _demand_account(connection, username, person.site)
                care_team.join(connection, where, person_id, Membership(username, principal.username, now_ns))
            else:
                care_team.leave(connection, person_id, username, now_ns)
            accounts.write_audit(connection, *self._entries(principal, person, username, is_member=is_member))
            publish_accounts(connection, *where, now_ns)
            return person.site

        site = await self._access.database.write(work)
        self._access.forget()
        self._access.site_changed(site)

    def _entries(self, principal: Principal, person: Person, username: str, *, is_member: bool) -> list[AuditEntry]:
        action = "care-team-join" if is_member else "care-team-leave"
        now_ns, place = self._access.now_ns(), (person.region, person.site)
        return [
            AuditEntry(now_ns, principal.username, principal.role, action, target, "ok", *place)
            for target in (f"Patient/{person.person_id}", f"account/{username}")
        ]


def _open_person(connection: Connection, principal: Principal, person_id: str) -> Person:
    found = persons.person(connection, principal.region, person_id)
    if found is None or not treating.opens(connection, principal, found.site, person_id):
        raise NotFound("no such person within scope")
    return found


def _demand_account(connection: Connection, username: str, site: str) -> None:
    account = accounts.account_of(connection, username)
    if account is None or account.disabled or account.role not in OWN_ONLY or site not in account.sites:
        raise BadRequest("no family or care worker of this site has that name", ["username"])
