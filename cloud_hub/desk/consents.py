"""What people at the hub do with a person's consents; each step one transaction with its audit entry."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection
from telemed import consent, consent_views, screen
from telemed.consent import GIVEN_BY, WITHDRAWN_BY, Purpose, Standing, Step, aggregate_id
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.access import treating
from cloud_hub.access.rights import Principal
from cloud_hub.care.identifiers import uuid7
from cloud_hub.desk.intake import EventTaken, Taken
from cloud_hub.desk.referrals import actor_of
from cloud_hub.errors import BadRequest, ConsentMissing, NotFound, NotPermitted, RecordingAbsent, StepRefused
from cloud_hub.store import accounts, care_team, consents, events, persons
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.events import Place
from cloud_hub.store.persons import Person


@dataclass(frozen=True, slots=True)
class Around:
    """Where consents are kept, and who hears of them."""

    database: Database
    region: str
    tell: Callable[[list[Taken]], None]
    """Called on the event loop after each commit."""
    now_ns: Callable[[], int]


class Consents:
    """The desk's consents."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def of(self, principal: Principal, person_id: str) -> screen.Consents:
        """Return where a person stands on every purpose.

        Raises:
            NotFound: no such person whose record is open to the one who asks.
        """
        return await self._around.database.read(lambda c: self._view(c, principal, _open(c, principal, person_id)))

    async def give(self, principal: Principal, person_id: str, body: screen.ConsentGiveBody) -> screen.Consents:
        """Record that a person, or their guardian, agreed.

        Raises:
            NotFound: no such person within scope.
            NotPermitted: this role does not record that.
            BadRequest: something that the purpose needs is missing or too much.
            StepRefused: it has changed since the version that the page saw.
        """
        if principal.role not in GIVEN_BY[Purpose(body.purpose)]:
            raise NotPermitted(f"{principal.role} may not record {body.purpose}")
        given = consent_views.given(person_id, body)
        wrong = consent.lacking(given)
        if wrong or 0 < given.until_unix_ns <= self._around.now_ns():
            raise BadRequest(f"{body.purpose} needs other fields", wrong or ["until_ms"])
        event = self._event(principal, person_id, body.purpose, body.version)
        event.consent_given.CopyFrom(given)
        return await self._take(principal, person_id, event)

    async def withdraw(self, principal: Principal, person_id: str, body: screen.ConsentWithdrawBody) -> screen.Consents:
        """Record that a person takes a consent back; it holds at once, whatever the page had seen.

        Raises:
            NotFound: no such person within scope.
            NotPermitted: this role does not record that.
        """
        if principal.role not in WITHDRAWN_BY[Purpose(body.purpose)]:
            raise NotPermitted(f"{principal.role} may not withdraw {body.purpose}")
        event = self._event(principal, person_id, body.purpose, 0)
        event.consent_withdrawn.CopyFrom(consent_views.withdrawn(person_id, body))
        return await self._take(principal, person_id, event)

    async def record(self, principal: Principal, person_id: str) -> None:
        """Refuse to record a consult: without consent for that reason, else because this hub cannot record yet.

        Raises:
            ConsentMissing: the person did not agree to being recorded.
            RecordingAbsent: they did.
        """
        now_ns = self._around.now_ns()

        def work(connection: Connection) -> bool:
            agreed = consents.permits(connection, person_id, Purpose.RECORDING, now_ns)
            code = RecordingAbsent.code if agreed else ConsentMissing.code
            self._audit(connection, principal, ("consult-record", f"Patient/{person_id}", code), "")
            return agreed

        if not await self._around.database.write(work):
            raise ConsentMissing("no consent to recording", [])
        raise RecordingAbsent("this hub does not record", [])

    async def _take(self, principal: Principal, person_id: str, event: event_pb2.Event) -> screen.Consents:
        def work(connection: Connection) -> tuple[screen.Consents, Taken]:
            person = _open(connection, principal, person_id)
            grantee = event.consent_given.grantee
            if grantee and grantee not in _family(connection, person):
                raise BadRequest("nobody of this person's family has that name", ["grantee"])
            where, now_ns = Place(person.region, person.site), self._around.now_ns()
            ordered = events.append_hub_event(connection, where, event, now_ns)
            if ordered.refused:
                raise StepRefused(ordered.refusal, [])
            action = "consent-give" if event.WhichOneof("body") == "consent_given" else "consent-withdraw"
            self._audit(connection, principal, (action, f"Patient/{event.aggregate_id}", "ok"), person.site)
            return self._view(connection, principal, person), EventTaken(person.region, person.site, ordered)

        found, taken = await self._around.database.write(work)
        self._around.tell([taken])
        return found

    def _event(self, principal: Principal, person_id: str, purpose: str, version: int) -> event_pb2.Event:
        now_ns = self._around.now_ns()
        return event_pb2.Event(
            event_id=uuid7(now_ns),
            aggregate_type=consent.AGGREGATE,
            aggregate_id=aggregate_id(person_id, purpose),
            base_version=version,
            at_unix_ns=now_ns,
            actor=actor_of(principal),
        )

    def _view(self, connection: Connection, principal: Principal, person: Person) -> screen.Consents:
        family = _family(connection, person)
        standings = standings_of(connection, person)
        return consent_views.consents(person.person_id, standings, family, principal.role, self._around.now_ns())

    def _audit(self, connection: Connection, who: Principal, what: tuple[str, str, str], site: str) -> None:
        entry = AuditEntry(self._around.now_ns(), who.username, who.role, *what, self._around.region, site)
        accounts.write_audit(connection, entry)


def standings_of(connection: Connection, person: Person) -> dict[Purpose, Standing]:
    """Return where a person stands on every purpose, by the site's log."""
    where = Place(person.region, person.site)
    found = {}
    for purpose in Purpose:
        log = events.of_aggregate(connection, where, consent.AGGREGATE, aggregate_id(person.person_id, purpose))
        rows = [one.ordered for one in log]
        found[purpose] = consent.fold(Step(row.event, row.version, row.refusal if row.refused else "") for row in rows)
    return found


def _open(connection: Connection, principal: Principal, person_id: str) -> Person:
    found = persons.person(connection, principal.region, person_id)
    if found is None or not treating.opens(connection, principal, found.site, person_id):
        raise NotFound("no such person within scope")
    return found


def _family(connection: Connection, person: Person) -> Mapping[str, screen.Text2]:
    """Those of the family who are related to a person: named at admission, or in the care team."""
    names = {person.caregiver, *(one.username for one in care_team.members(connection, person.person_id))}
    found = [accounts.account_of(connection, name) for name in sorted(names - {""})]
    return {
        one.username: screen.Text2(zh=one.name_zh, en=one.name_en)
        for one in found
        if one is not None and not one.disabled and one.role is Role.CAREGIVER
    }
