"""Signing in and out, and finding out who asks: sessions in the browser and bearer tokens."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection
from telemed.passwords import Verifier
from telemed.roles import MACHINES, Role

from cloud_hub.access import factors, principals
from cloud_hub.access.delay import Crowds, Failures
from cloud_hub.access.key_proofs import KeyProofs
from cloud_hub.access.refusals import Refusals
from cloud_hub.access.rights import Principal
from cloud_hub.access.sealing import KEY_BYTES, Seal
from cloud_hub.access.tokens import digest, new_token
from cloud_hub.access.turns import Turns
from cloud_hub.errors import (
    NotSignedIn,
    PasswordEnded,
    SecondFactorNeeded,
    SecondFactorRefused,
    SignInAgain,
    SignInRefused,
    StepRefused,
    TooManyAttempts,
)
from cloud_hub.store import accounts, displays, passkeys
from cloud_hub.store import factors as stored_factors
from cloud_hub.store.accounts import Account, AuditEntry, Session, SetBy
from cloud_hub.store.engine import Database

NS_PER_S = 1_000_000_000
TOUCH_EVERY_NS = 30 * NS_PER_S
"""A session's last use is written at most this often: one commit per request would be waste."""
LONGEST_NAME, LONGEST_PASSWORD = 64, 256
KNOWN_FOR_NS = 2 * NS_PER_S
"""How long an answer about a token is kept: what the command line changes counts after this at the latest."""
KNOWN_LIMIT = 10_000
FRESH_S = 600
"""How soon after signing in one may change how one signs in: a page left open gives nobody a key of their own."""
PAGES_LIMIT = 20
"""Pages on which one account is signed in; whoever opens another signs out the one longest unused."""
FIRST_PASSWORD_NS = 72 * 3600 * NS_PER_S
"""How long a password is good that an operator set."""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions live."""

    idle_s: int = 15 * 60
    absolute_s: int = 12 * 3600


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """What is asked beside the password."""

    roles: frozenset[Role] = frozenset()
    """Roles that need one; whoever has set one up needs it in any role."""
    seal: Seal = field(default_factory=lambda: Seal(secrets.token_bytes(KEY_BYTES)))


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
        second: SecondFactor | None = None,
    ) -> None:
        self.database = database
        self.region = region
        self.now_ns = now_ns
        self.site_changed: Callable[[str], None] = lambda _site: None
        """Told on the event loop once a site's log has grown by what changed here."""
        self.second = second or SecondFactor()
        self.key_proofs = KeyProofs()
        self._known: dict[tuple[str, str], tuple[int, Session, Principal]] = {}
        """Token hash and kind to when it was looked up, and what was found."""
        self._lifetimes = lifetimes
        self._verifier = Verifier()
        self._failures = Failures()
        self._code_failures = Failures()
        """By name alone: whoever has the password can try codes from anywhere."""
        self._turns = Turns(1)
        """At a hash: many names tried from one address leave the other addresses their share."""
        self.pause: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._crowds = Crowds()
        self._refusals = Refusals()

    async def authenticate(self, username: str, secret: str, address: str) -> Account:
        """Return the account that name and secret belong to; every attempt is audited.

        Args:
            username: that was typed.
            secret: password, or a program's secret.
            address: what failures are counted against: an address, or a browser that the account is known in.

        Raises:
            TooManyAttempts: this name from there must wait, or too many try at once; nothing was looked at.
            SignInRefused: name or secret wrong, or the account is disabled: the same answer in the same time.
        """
        username = username[:LONGEST_NAME].replace("\0", "\ufffd")  # PostgreSQL stores no NUL
        async with self._turns.turn(address):
            await self.pause(self._crowds.pace_s(address, self._now_s()))
            account = await self._right(username, secret, address)
        if account.password_by is SetBy.OPERATOR and self.now_ns() > account.password_ns + FIRST_PASSWORD_NS:
            await self.note_refusal(username, account.role, PasswordEnded.code)
            raise PasswordEnded("a first password that was not changed in time")
        return account

    async def _right(self, username: str, secret: str, address: str) -> Account:
        wait_s = self._failures.wait_s(username, address, self._now_s())
        if wait_s > 0:
            raise TooManyAttempts("too many attempts", wait_s)
        # Counted before anything is waited for, or tries made at once would all pass; success takes it back.
        self._failures.failed(username, address, self._now_s())
        account = await self.database.read(lambda c: accounts.account_of(c, username))
        known = account is not None and not account.disabled
        # Refused rather than cut: what is checked is what was typed.
        known = known and len(secret) <= LONGEST_PASSWORD
        right = await self._verifier.is_right(
            account.password_hash if account and known else None, secret[:LONGEST_PASSWORD]
        )
        if account is None or not right:
            self._crowds.failed(address, self._now_s())
            await self.note_refusal(username, "", SignInRefused.code, is_known=account is not None)
            raise SignInRefused("name or secret is wrong")
        self._failures.succeeded(username, address)
        return account

    async def second_factor(self, account: Account, code: str) -> str:
        """Return the kind of second factor that `code` proves; empty where the account has none set up.

        Raises:
            TooManyAttempts: codes were wrong too often; nothing was looked at.
            SecondFactorNeeded: the account has one, and no code was sent.
            SecondFactorRefused: the code is wrong or was used before.
        """
        username = account.username
        has_totp = (await self.database.read(lambda c: factors.state(c, username))).has_totp
        if not has_totp and not await self.database.read(lambda c: passkeys.count(c, username)):
            return ""
        if not code:
            raise SecondFactorNeeded("a code is needed")
        if self.key_proofs.spend(username, code, self.now_ns()):
            return "passkey"
        wait_s = self._code_failures.wait_s(username, "", self._now_s())
        if wait_s > 0:
            raise TooManyAttempts("too many attempts", wait_s)
        self._code_failures.failed(username, "", self._now_s())
        seal, now_ns = self.second.seal, self.now_ns()
        kind = await self.database.write(lambda c: factors.check(c, seal, username, code, now_ns))
        if not kind:
            await self.note_refusal(username, account.role, SecondFactorRefused.code)
            raise SecondFactorRefused("the code is wrong")
        self._code_failures.succeeded(username, "")
        return kind

    async def reauthenticate(self, who: Principal, password: str, code: str, address: str) -> None:
        """Pass where somebody who is signed in proves once more who they are, before what cannot be taken back.

        Raises:
            TooManyAttempts, SignInRefused, SecondFactorNeeded, SecondFactorRefused: as for `sign_in`.
        """
        await self.second_factor(await self.authenticate(who.username, password, address), code)

    async def sign_in(
        self, username: str, password: str, address: str, old_token: str = "", code: str = "", machine: str = ""
    ) -> Opened:
        """Open a browser session for a person; a session that the browser already had is ended.

        Raises:
            TooManyAttempts: must wait.
            SignInRefused: name or password wrong; also for programs, which have no screens.
            SecondFactorNeeded, SecondFactorRefused: the account has a second factor, and `code` does not prove it.
        """
        account = await self.authenticate(username, password, address)
        if account.role in MACHINES:
            await self.note_refusal(account.username, account.role, SignInRefused.code)
            raise SignInRefused("name or secret is wrong")
        factor = await self.second_factor(account, code)
        return await self.open(account, factor, old_token, {"by": "password", "machine": machine})

    async def begin_totp(self, who: Principal, token: str) -> factors.Begun:
        """Make a new secret for an authenticator app; it counts for nothing until it is confirmed.

        Raises:
            SignInAgain: signed in too long ago.
            StepRefused: as `factors.begin`.
        """

        def work(connection: Connection) -> factors.Begun:
            self.demand_settled(who)
            self.demand_fresh(connection, token)
            return factors.begin(connection, self.second.seal, who.username, self.now_ns())

        return await self.database.write(work)

    async def confirm_totp(self, who: Principal, code: str, old_token: str) -> tuple[list[str], Opened]:
        """Take a new authenticator app into use; return the recovery codes, and a session in the old one's place.

        All of it or nothing: the codes are shown once, and only to whoever has the new session.

        Raises:
            TooManyAttempts: codes were wrong too often.
            SignInAgain: signed in too long ago.
            NotSignedIn: the account is gone.
            StepRefused, BadRequest: as `factors.confirm`.
        """

        def may_try(connection: Connection) -> None:
            self.demand_fresh(connection, old_token)
            factors.demand_begun(connection, who.username)

        # Before it is counted: where no code is judged none was wrong, and the count is also that of signing in.
        await self.database.read(may_try)
        wait_s = self._code_failures.wait_s(who.username, "", self._now_s())
        if wait_s > 0:
            raise TooManyAttempts("too many attempts", wait_s)
        self._code_failures.failed(who.username, "", self._now_s())

        def work(connection: Connection) -> tuple[list[str], Opened]:
            session = self.demand_fresh(connection, old_token)
            account = accounts.account_of(connection, who.username)
            if account is None:
                raise NotSignedIn("sign in first")
            codes = factors.confirm(connection, self.second.seal, who.username, code, self.now_ns())
            factors.audit(connection, who, "second-factor-set", self.now_ns())
            return codes, self.go_on(connection, account, session, {"factor": "totp"})

        codes, opened = await self.database.write(work)
        self._code_failures.succeeded(who.username, "")
        self.forget()
        return codes, opened

    def demand_settled(self, who: Principal) -> None:
        """Pass where the password is one's own: a factor set up before would be a way around changing a first one.

        Raises:
            StepRefused: the first password must be changed before.
        """
        if who.must_change:
            raise StepRefused("the first password is to be changed before", [])

    def demand_fresh(self, connection: Connection, token: str) -> Session:
        """Return the session of this token where it began so lately that how one signs in may be changed in it.

        Raises:
            SignInAgain: signed in too long ago, or the session has ended.
        """
        session = accounts.session_of(connection, digest(token))
        if session is None or self.now_ns() - session.created_ns > FRESH_S * NS_PER_S:
            raise SignInAgain("sign in again first")
        return session

    async def remove_totp(self, who: Principal, password: str, code: str, address: str) -> None:
        """Take the authenticator app away and end all sessions of the account.

        Raises:
            TooManyAttempts, SignInRefused, SecondFactorNeeded, SecondFactorRefused: as for `sign_in`.
        """
        await self.reauthenticate(who, password, code, address)

        def work(connection: Connection) -> None:
            stored_factors.forget(connection, who.username)
            accounts.end_sessions_of(connection, who.username)
            factors.audit(connection, who, "second-factor-removed", self.now_ns())

        await self.database.write(work)
        self.forget()

    async def open(
        self, account: Account, factor: str, old_token: str = "", more: Mapping[str, str] | None = None
    ) -> Opened:
        """Open a browser session for somebody whose identity is proved; the one before is ended (rotation).

        Args:
            account: whose session it is.
            factor: the second factor that was used, empty for none.
            old_token: of the session that this one takes the place of.
            more: what else is kept with the session.
        """
        token, now = new_token(), self.now_ns()
        extra = ({"factor": factor} if factor else {}) | dict(more or {})
        ends = now + self._lifetimes.absolute_s * NS_PER_S
        made = Session(digest(token), "cookie", account.username, now, now, ends, (), new_token(), extra)

        def work(connection: Connection) -> Principal:
            if old_token:
                accounts.end_session(connection, digest(old_token))
            accounts.keep_newest_pages(connection, account.username, PAGES_LIMIT - 1)
            accounts.open_session(connection, made)
            accounts.write_audit(connection, self._entry(account, "sign-in"))
            return self._principal(connection, account, made)

        principal = await self.database.write(work)
        self.forget()
        return Opened(token, principal, self._lifetimes.absolute_s)

    def go_on(
        self, connection: Connection, account: Account, before: Session, proved: Mapping[str, str] | None = None
    ) -> Opened:
        """Put a session in the place of another: with a new token, and no stronger than what was proved in it.

        Nobody signed in, so it is as old as the one before and ends when that would have ended.

        Args:
            connection: in a transaction; `forget` is to be called after it.
            account: whose sessions they are.
            before: the session until now.
            proved: what was proved in it beside, `factor`.
        """
        token, now = new_token(), self.now_ns()
        extra = {**before.extra, **(proved or {})}
        session = replace(before, token_hash=digest(token), csrf_token=new_token(), seen_ns=now, extra=extra)
        accounts.end_session(connection, before.token_hash)
        accounts.open_session(connection, session)
        principal = self._principal(connection, account, session)
        return Opened(token, principal, max(0, (session.expires_ns - now) // NS_PER_S))

    async def sign_out(self, token: str) -> None:
        """End a session; harmless where there is none."""

        def work(connection: Connection) -> None:
            session = accounts.session_of(connection, digest(token))
            if session is not None and accounts.end_session(connection, session.token_hash):
                account = accounts.account_of(connection, session.username)
                if account is not None:
                    accounts.write_audit(connection, self._entry(account, "sign-out"))

        await self.database.write(work)
        self.forget()

    async def resolve(self, token: str, kind: str) -> Principal | None:
        """Return who holds this token (`kind` cookie or bearer) and note its use; None where it is worth nothing."""
        key, now = (digest(token), kind), self.now_ns()
        looked_up_ns, session, principal = self._known.get(key, _UNKNOWN)
        if session is not None and now - looked_up_ns < KNOWN_FOR_NS and self.is_alive(session):
            return principal
        found = await self._holder(token, kind)
        if found is None:
            self._known.pop(key, None)
            return None
        session, principal = found
        if now - session.seen_ns > TOUCH_EVERY_NS:
            await self.database.write(lambda c: accounts.touch_session(c, found[0].token_hash, now))
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        self._known[key] = (now, session, principal)
        return principal

    def forget(self) -> None:
        """Look everybody up anew: to be called after each change of what somebody may see, on the event loop."""
        self._known.clear()

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

    async def note_refusal(self, username: str, role: str, reason: str, *, is_known: bool = True) -> None:
        """Append a refused sign-in to the audit trail, or the word that there are many (`refusals`).

        Args:
            username: that was tried or shown; empty where nobody knows whose it was.
            role: of the account, where that may be told.
            reason: why.
            is_known: the name is one of an account here.
        """
        target = f"account/{username}"
        entry = AuditEntry(self.now_ns(), username, role, "sign-in", target, reason, self.region)
        told = self._refusals.told(entry, is_known=is_known and bool(username))
        if told is not None:
            await self.database.write(lambda c: accounts.write_audit(c, told))

    async def audit_many(self, who: Principal, entries: Sequence[tuple[str, str, str]]) -> None:
        """Append several (action, target, result) of `who` to the audit trail, in one transaction."""
        now = self.now_ns()
        rows = [
            AuditEntry(now, who.username, who.role, action, target, result, self.region)
            for action, target, result in entries
        ]

        if rows:
            await self.database.write(lambda c: accounts.write_audit(c, *rows))

    async def _holder(self, token: str, kind: str) -> tuple[Session, Principal] | None:
        def look(connection: Connection) -> tuple[Session, Principal] | None:
            session = accounts.session_of(connection, digest(token))
            if session is None or not self.is_alive(session):
                return None
            if kind == "cookie" and session.kind == "display":
                shown = displays.display_of(connection, session.extra["display"])
                return None if shown is None else (session, principals.of_display(shown, session))
            if session.kind != kind:
                return None
            account = accounts.account_of(connection, session.username)
            if account is None or account.disabled:
                return None
            return session, self._principal(connection, account, session)

        return await self.database.read(look)

    def _principal(self, connection: Connection, account: Account, session: Session) -> Principal:
        return principals.of_account(connection, account, session, self.region, self.second.roles, self.now_ns())

    def is_alive(self, session: Session) -> bool:
        """True where a session has not ended by its time or by idleness."""
        now = self.now_ns()
        idle = session.kind == "cookie" and now - session.seen_ns > self._lifetimes.idle_s * NS_PER_S
        return now < session.expires_ns and not idle

    def _entry(self, account: Account, action: str) -> AuditEntry:
        target = f"account/{account.username}"
        return AuditEntry(self.now_ns(), account.username, account.role, action, target, "ok", self.region)

    def _now_s(self) -> float:
        return self.now_ns() / NS_PER_S


_UNKNOWN: tuple[int, Session | None, Principal | None] = (0, None, None)
