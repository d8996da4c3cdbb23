"""Signing in and out, and finding out who asks: sessions in the browser and bearer tokens."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection
from telemed.roles import Role

from cloud_hub.access.delay import Failures
from cloud_hub.access.passwords import Verifier
from cloud_hub.access.rights import Principal
from cloud_hub.access.tokens import digest, new_token
from cloud_hub.errors import SignInRefused, TooManyAttempts
from cloud_hub.store import accounts
from cloud_hub.store.accounts import Account, AuditEntry, Session
from cloud_hub.store.engine import Database

NS_PER_S = 1_000_000_000
TOUCH_EVERY_NS = 30 * NS_PER_S
"""A session's last use is written at most this often: one commit per request would be waste."""
LONGEST_NAME, LONGEST_PASSWORD = 64, 256


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions live."""

    idle_s: int = 15 * 60
    absolute_s: int = 12 * 3600


@dataclass(frozen=True, slots=True)
class Opened:
    """A session just opened: the token goes to the browser and is kept nowhere."""

    token: str
    principal: Principal
    lifetime_s: int


class Access:
    """Identity of people and programs.  One per hub process; all methods run on the event loop."""

    def __init__(
        self,
        database: Database,
        region: str,
        lifetimes: Lifetimes = Lifetimes(),
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.database = database
        self.region = region
        self.now_ns = now_ns
        self._lifetimes = lifetimes
        self._verifier = Verifier()
        self._failures = Failures()

    async def authenticate(self, username: str, secret: str, address: str) -> Account:
        """Return the account that name and secret belong to; every attempt is audited.

        Raises:
            TooManyAttempts: this name from this address must wait; nothing was looked at.
            SignInRefused: name or secret wrong, or the account is disabled: the same answer in the same time.
        """
        username = username[:LONGEST_NAME].replace("\0", "\ufffd")  # PostgreSQL stores no NUL
        wait_s = self._failures.wait_s(username, address, self._now_s())
        if wait_s > 0:
            raise TooManyAttempts("too many attempts", wait_s)
        account = await self.database.read(lambda c: accounts.account_of(c, username))
        known = account is not None and not account.disabled
        right = await self._verifier.is_right(
            account.password_hash if account and known else None, secret[:LONGEST_PASSWORD]
        )
        if account is None or not right:
            self._failures.failed(username, address, self._now_s())
            await self._audit_attempt(username, "", SignInRefused.code)
            raise SignInRefused("name or secret is wrong")
        self._failures.succeeded(username, address)
        return account

    async def sign_in(self, username: str, password: str, address: str, old_token: str = "") -> Opened:
        """Open a browser session for a person; a session that the browser already had is ended.

        Raises:
            TooManyAttempts: must wait.
            SignInRefused: name or password wrong; also for programs, which have no screens.
        """
        account = await self.authenticate(username, password, address)
        if account.role is Role.PROGRAM:
            await self._audit_attempt(account.username, account.role, SignInRefused.code)
            raise SignInRefused("name or secret is wrong")
        token, now = new_token(), self.now_ns()
        lifetime_s = self._lifetimes.absolute_s
        session = Session(
            digest(token), "cookie", account.username, now, now, now + lifetime_s * NS_PER_S, csrf_token=new_token()
        )

        def work(connection: Connection) -> Principal:
            if old_token:
                accounts.end_session(connection, digest(old_token))
            accounts.open_session(connection, session)
            accounts.write_audit(connection, self._entry(account, "sign-in"))
            return self._principal(connection, account, session)

        return Opened(token, await self.database.write(work), lifetime_s)

    async def sign_out(self, token: str) -> None:
        """End a session; harmless where there is none."""

        def work(connection: Connection) -> None:
            session = accounts.session_of(connection, digest(token))
            if session is not None and accounts.end_session(connection, session.token_hash):
                account = accounts.account_of(connection, session.username)
                if account is not None:
                    accounts.write_audit(connection, self._entry(account, "sign-out"))

        await self.database.write(work)

    async def resolve(self, token: str, kind: str) -> Principal | None:
        """Return who holds this token (`kind` cookie or bearer) and note its use; None where it is worth nothing."""
        found = await self._holder(token, kind)
        if found is None:
            return None
        session, principal = found
        now = self.now_ns()
        if now - session.seen_ns > TOUCH_EVERY_NS:
            await self.database.write(lambda c: accounts.touch_session(c, session.token_hash, now))
        return principal

    async def is_current(self, token: str, kind: str) -> bool:
        """True while the token is worth something; not counted as use."""
        return await self.present(token, kind) is not None

    async def present(self, token: str, kind: str) -> Principal | None:
        """Return who holds this token and what they may see now; asked by long-lived sockets, not counted as use."""
        found = await self._holder(token, kind)
        return found[1] if found else None

    async def audit(self, who: Principal, action: str, target: str, result: str = "ok", site: str = "") -> None:
        """Append what `who` did to the audit trail, in a transaction of its own."""
        entry = AuditEntry(self.now_ns(), who.username, who.role, action, target, result, self.region, site)
        await self.database.write(lambda c: accounts.write_audit(c, entry))

    async def audit_many(self, who: Principal, entries: Sequence[tuple[str, str, str]]) -> None:
        """Append several (action, target, result) of `who` to the audit trail, in one transaction."""
        now = self.now_ns()
        rows = [
            AuditEntry(now, who.username, who.role, action, target, result, self.region)
            for action, target, result in entries
        ]

        def work(connection: Connection) -> None:
            for row in rows:
                accounts.write_audit(connection, row)

        if rows:
            await self.database.write(work)

    async def _holder(self, token: str, kind: str) -> tuple[Session, Principal] | None:
        def look(connection: Connection) -> tuple[Session, Principal] | None:
            session = accounts.session_of(connection, digest(token))
            if session is None or session.kind != kind or not self._is_alive(session):
                return None
            account = accounts.account_of(connection, session.username)
            if account is None or account.disabled:
                return None
            return session, self._principal(connection, account, session)

        return await self.database.read(look)

    def _principal(self, connection: Connection, account: Account, session: Session) -> Principal:
        principal = Principal(
            username=account.username,
            role=account.role,
            name_zh=account.name_zh,
            name_en=account.name_en,
            region=self.region,
            sites=_sites(account),
            scopes=frozenset(session.scopes) if session.kind == "bearer" else None,
            csrf_token=session.csrf_token,
        )
        if account.role is not Role.CAREGIVER:
            return principal
        persons = accounts.persons_of_caregiver(connection, self.region, account.username, account.sites)
        return replace(principal, persons=persons)

    def _is_alive(self, session: Session) -> bool:
        now = self.now_ns()
        idle = session.kind == "cookie" and now - session.seen_ns > self._lifetimes.idle_s * NS_PER_S
        return now < session.expires_ns and not idle

    def _entry(self, account: Account, action: str) -> AuditEntry:
        target = f"account/{account.username}"
        return AuditEntry(self.now_ns(), account.username, account.role, action, target, "ok", self.region)

    async def _audit_attempt(self, username: str, role: str, result: str) -> None:
        entry = AuditEntry(self.now_ns(), username, role, "sign-in", f"account/{username}", result, self.region)
        await self.database.write(lambda c: accounts.write_audit(c, entry))

    def _now_s(self) -> float:
        return self.now_ns() / NS_PER_S


def _sites(account: Account) -> frozenset[str] | None:
    """Return the sites of an account: an empty list is the whole region for those who serve it, else nothing."""
    everywhere = account.role in (Role.PHYSICIAN, Role.PROGRAM, Role.OPERATOR)
    return None if everywhere and not account.sites else frozenset(account.sites)
