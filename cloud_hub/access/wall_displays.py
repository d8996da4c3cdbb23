"""Wall displays: made by an operator, paired by a short code typed once, revoked at any time.

A display's session only reads, shows the wall of one site, and does not end by idleness: nobody sits before it.
"""

import secrets

from sqlalchemy import Connection
from telemed.roles import Role

from cloud_hub.access.delay import Failures
from cloud_hub.access.rights import Principal
from cloud_hub.access.sign_in import NS_PER_S, Access, Opened
from cloud_hub.access.tokens import digest, new_token
from cloud_hub.care.identifiers import uuid7
from cloud_hub.errors import BadRequest, NotFound, SignInRefused, TooManyAttempts
from cloud_hub.store import accounts, displays, persons
from cloud_hub.store.accounts import AuditEntry, Session
from cloud_hub.store.displays import Display

CODE_S, LIFETIME_S = 600, 90 * 86_400
CODE_LETTERS = 8
"""Of 31 letters: 39 bits, good for ten minutes, and each address may try five times in a minute."""
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


class WallDisplays:
    """Makes, pairs and revokes displays; one per hub process, because it counts wrong codes."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._failures = Failures()

    async def make(self, principal: Principal, site: str, name: str) -> tuple[Display, str]:
        """Return a new display and the code that must be typed on it within ten minutes.

        Raises:
            NotFound: no such site within scope.
        """
        principal.demand_site(site)
        now_ns = self._access.now_ns()
        code = "".join(secrets.choice(_ALPHABET) for _ in range(CODE_LETTERS))
        made = Display(uuid7(now_ns), principal.region, site, name, principal.username, now_ns, None)

        def work(connection: Connection) -> None:
            if site not in {node.site for node in persons.nodes(connection, principal.region, None)}:
                raise NotFound("no such thing within scope")
            displays.make(connection, made, _hashed(code), now_ns + CODE_S * NS_PER_S)
            accounts.write_audit(connection, _entry(principal, made, "display-made", now_ns))

        await self._access.database.write(work)
        return made, code

    async def pair(self, code: str, address: str, old_token: str = "") -> Opened:
        """Open the session of the display on which this code was typed.

        Raises:
            TooManyAttempts: wrong codes came from this address too often; nothing was looked at.
            SignInRefused: no such code, used, or too old.
        """
        access, now_ns = self._access, self._access.now_ns()
        wait_s = self._failures.wait_s("", address, now_ns / NS_PER_S)
        if wait_s > 0:
            raise TooManyAttempts("too many attempts", wait_s)
        # Counted before anything is waited for, or tries made at once would all pass; success takes it back.
        self._failures.failed("", address, now_ns / NS_PER_S)
        token, ends_ns = new_token(), now_ns + LIFETIME_S * NS_PER_S

        def work(connection: Connection) -> bool:
            found = displays.pair(connection, access.region, _hashed(code), now_ns)
            if found is None:
                return False
            if old_token:
                accounts.end_session(connection, digest(old_token))
            name = f"display/{found.display_id}"
            extra = {"display": found.display_id}
            session = Session(digest(token), "display", name, now_ns, now_ns, ends_ns, (), new_token(), extra)
            accounts.open_session(connection, session)
            entry = AuditEntry(now_ns, name, Role.DISPLAY, "display-paired", name, "ok", found.region, found.site)
            accounts.write_audit(connection, entry)
            return True

        if not await access.database.write(work):
            raise SignInRefused("no such code")
        self._failures.succeeded("", address)
        principal = await access.present(token, "cookie")
        if principal is None:
            raise SignInRefused("revoked meanwhile")
        return Opened(token, principal, LIFETIME_S)

    async def listed(self, principal: Principal) -> list[Display]:
        """Return the displays of the sites within scope."""
        return await self._access.database.read(lambda c: displays.displays(c, principal.region, principal.sites))

    async def revoke(self, principal: Principal, display_id: str) -> None:
        """End a display and its session.

        Raises:
            NotFound: no such display within scope.
        """
        now_ns = self._access.now_ns()

        def work(connection: Connection) -> None:
            found = displays.display_of(connection, display_id)
            if found is None or found.region != principal.region or not principal.sees_site(found.site):
                raise NotFound("no such display within scope")
            displays.revoke(connection, display_id, now_ns)
            accounts.end_sessions_of(connection, f"display/{display_id}")
            accounts.write_audit(connection, _entry(principal, found, "display-revoked", now_ns))

        await self._access.database.write(work)
        self._access.forget()


def check_name(name: str) -> str:
    """Return the name of a display without the space around it.

    Raises:
        BadRequest: nothing is left.
    """
    if not name.strip():
        raise BadRequest("a display needs a name", ["body.name"])
    return name.strip()


def _hashed(code: str) -> str:
    return digest("".join(letter for letter in code.upper() if letter in _ALPHABET))


def _entry(principal: Principal, found: Display, action: str, now_ns: int) -> AuditEntry:
    target = f"display/{found.display_id}"
    return AuditEntry(now_ns, principal.username, principal.role, action, target, "ok", found.region, found.site)
