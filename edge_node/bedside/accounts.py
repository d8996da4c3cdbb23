"""Signing in at the bedside with the hub gone (decision 25): synced argon2id hashes, sessions in memory.

A session lives SESSION_S and ends with the process.  There is no idle end: a bedside station shows patients, and
a session must not end while somebody works at a form (screens 4.1).
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from telemed.passwords import Verifier
from telemed.roles import AT_BEDSIDE, OWN_ONLY, Role
from telemed.v1 import event_pb2

from edge_node.samples.alarm import Who
from edge_node.samples.roster import Roster

NS = 1_000_000_000
SESSION_S = 12 * 3600
SESSION_LIMIT = 1000
FREE_FAILURES = 3
LONGEST_WAIT_S = 300
"""After FREE_FAILURES wrong tries each further one doubles the wait, up to this."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody signed in at this station."""

    token: str
    csrf_token: str
    who: Who
    ends_ns: int
    password_hash: str = field(repr=False)
    """Of the account when it signed in; with another one the session is over."""

    @property
    def is_caregiver(self) -> bool:
        """True for family, who read the words of an alarm and not who did what."""
        return self.who.role == Role.CAREGIVER

    @property
    def sees_own_only(self) -> bool:
        """True for family and care workers, who are shown their own persons and nothing of the site."""
        return self.who.role in OWN_ONLY


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nobody was signed in; never says which half was wrong."""

    wait_s: float = 0
    """Seconds until another try is taken; 0 = at once."""
    was_tried: bool = True
    """False where it came too early to be tried at all."""
    is_known: bool = False
    """Whether an account of this site has the name; for the audit trail, never for whoever asks."""
    code: str = "sign-in-refused"


@dataclass(slots=True)
class _Failures:
    count: int = 0
    until_ns: int = 0
    against: str = ""
    """Hash that was tried; with another one the count begins anew."""


@dataclass(slots=True)
class Accounts:
    """Who may sign in here and who has."""

    site: str
    roster: Callable[[], Roster]
    clock: Callable[[], int]
    _sessions: dict[str, Session] = field(default_factory=dict)
    _failures: dict[str, _Failures] = field(default_factory=dict)
    _verifier: Verifier = field(default_factory=Verifier)

    async def sign_in(self, username: str, password: str) -> Session | Refused:
        """Return a session, or a refusal; the check of the password runs in a thread."""
        account = self.roster().accounts.get(username)
        failures = self._failures_of(username, account.password_hash if account is not None else "")
        wait_ns = failures.until_ns - self.clock()
        if wait_ns > 0:
            return Refused(wait_ns / NS, was_tried=False)
        # Counted before anything is waited for, or tries made at once would all pass; success takes it back.
        refused = self._failed(failures, is_known=account is not None)
        stored = account.password_hash if account is not None and self._may(account) else None
        if not await self._verifier.is_right(stored, password) or account is None:
            return refused
        self._failures.pop(username, None)
        if 0 < account.password_ends_unix_ns <= self.clock():
            return Refused(is_known=True, code="password-ended")
        return self._begin(account)

    def session(self, token: str | None) -> Session | None:
        """Return the session of a cookie, as long as it and its account are good."""
        found = self._sessions.get(token or "")
        if found is None:
            return None
        account = self.roster().accounts.get(found.who.username)
        is_over = found.ends_ns <= self.clock()
        if is_over or account is None or not _is_same(account, found) or not self._may(account):
            self._sessions.pop(found.token, None)
            return None
        return found

    def sign_out(self, session: Session) -> None:
        """End a session; its cookie is worth nothing from now on."""
        self._sessions.pop(session.token, None)

    def _may(self, account: event_pb2.AccountSet) -> bool:
        here = account.role == Role.PHYSICIAN or self.site in account.sites
        return not account.disabled and account.role in AT_BEDSIDE and here

    def _begin(self, account: event_pb2.AccountSet) -> Session:
        now_ns = self.clock()
        ended = [token for token, session in self._sessions.items() if session.ends_ns <= now_ns]
        for token in ended:
            del self._sessions[token]
        if len(self._sessions) >= SESSION_LIMIT:
            del self._sessions[next(iter(self._sessions))]
        who = Who(account.username, account.role, account.name_zh, account.name_en)
        token, ends_ns = secrets.token_urlsafe(32), now_ns + SESSION_S * NS
        if account.password_ends_unix_ns:
            ends_ns = min(ends_ns, account.password_ends_unix_ns)
        session = Session(token, secrets.token_urlsafe(24), who, ends_ns, account.password_hash)
        self._sessions[session.token] = session
        return session

    def _failures_of(self, username: str, stored: str) -> _Failures:
        found = self._failures.get(username)
        if found is None or found.against != stored:
            found = self._failures[username] = _Failures(against=stored)
        return found

    def _failed(self, failures: _Failures, *, is_known: bool) -> Refused:
        failures.count += 1
        over = failures.count - FREE_FAILURES
        wait_s = float(min(2**over, LONGEST_WAIT_S)) if over >= 0 else 0.0
        failures.until_ns = self.clock() + int(wait_s * NS)
        if len(self._failures) > SESSION_LIMIT:
            self._forget_one()
        return Refused(wait_s, is_known=is_known)

    def _forget_one(self) -> None:
        """Forget the oldest name that nobody has: a thousand made-up ones must not wash away an account's waits."""
        unknown = (name for name, failures in self._failures.items() if not failures.against)
        del self._failures[next(unknown, next(iter(self._failures)))]


def is_csrf_token(session: Session, given: str) -> bool:
    """True where a request carries the token of its session."""
    return hmac.compare_digest(session.csrf_token.encode(), given.encode())


def _is_same(account: event_pb2.AccountSet, session: Session) -> bool:
    return account.role == session.who.role and account.password_hash == session.password_hash
