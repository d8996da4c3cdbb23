"""What people do about their own account: another password, and where they are signed in."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from cloud_hub.access.passwords import hash_password
from cloud_hub.access.rights import Principal
from cloud_hub.access.seed import publish_everywhere
from cloud_hub.access.sign_in import Access, Opened
from cloud_hub.access.tokens import digest
from cloud_hub.errors import NotFound, NotSignedIn, PasswordUnfit, SignInRefused
from cloud_hub.store import accounts
from cloud_hub.store.accounts import AuditEntry, Session, SetBy

ID_CHARACTERS = 16
"""Of a session's hash, by which the page names it: enough to tell sessions apart, and no token."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """One place where somebody is signed in."""

    session_id: str
    kind: str
    """cookie of a page, or bearer token of a program that acts in their name."""
    machine: str
    """On which the page is, as far as its browser said; of a program its names; empty where unknown."""
    scopes: tuple[str, ...]
    """What a program may read."""
    made_ns: int
    used_ns: int
    is_this: bool


class OwnAccount:
    """Changes somebody makes to their own account; each is audited, and an open session alone is not enough for all."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def change_password(self, who: Principal, old: str, new: str, address: str, token: str) -> Opened:
        """Take a new password into use; every session of the account ends, and this page goes on with another one.

        The password alone was proved anew: what the session was good for before is all that it is good for after.  The
        sites hear of it by their logs, so that it counts at the bedside too.

        Raises:
            TooManyAttempts, SignInRefused: the present password is not right, or the account changed meanwhile.
            NotSignedIn: this session has ended meanwhile.
            PasswordUnfit: the new one may not be taken into use (`passwords.check_new`), or is the old one.
        """
        account = await self._access.authenticate(who.username, old, address)
        if new == old:
            raise PasswordUnfit("this is the present password", ["new_password"])
        try:
            hashed = await asyncio.to_thread(hash_password, new, who.username)
        except ValueError as error:
            raise PasswordUnfit(str(error), ["new_password"]) from error
        now_ns = self._access.now_ns()

        def work(connection: Connection) -> tuple[Opened, list[str]]:
            before = accounts.session_of(connection, digest(token))
            if before is None:
                raise NotSignedIn("sign in first")
            # Read anew: an operator may have disabled the account, or set it otherwise, while the hash was made.
            current = accounts.account_of(connection, who.username)
            if current is None or current.disabled or current.password_hash != account.password_hash:
                raise SignInRefused("the account has changed meanwhile")
            changed = replace(current, password_hash=hashed, password_by=SetBy.ONESELF, password_ns=now_ns)
            accounts.save_account(connection, changed, now_ns)
            accounts.end_sessions_of(connection, who.username)
            accounts.write_audit(connection, self._entry(who, "password-change"))
            opened = self._access.go_on(connection, changed, before)
            return opened, publish_everywhere(connection, self._access.region, now_ns)

        opened, told = await self._access.database.write(work)
        self._access.forget()
        for site in told:
            self._access.site_changed(site)
        return opened

    async def sessions(self, who: Principal, token: str) -> list[OpenSession]:
        """Return where somebody is signed in, the newest use first."""
        found = await self._access.database.read(lambda c: _described(c, accounts.sessions_of(c, who.username)))
        mine = digest(token)
        return [
            OpenSession(
                session_id=one.token_hash[:ID_CHARACTERS],
                kind=one.kind,
                machine=machine,
                scopes=one.scopes,
                made_ns=one.created_ns,
                used_ns=one.seen_ns,
                is_this=one.token_hash == mine,
            )
            for one, machine in sorted(found, key=lambda each: each[0].seen_ns, reverse=True)
            if self._access.is_alive(one)
        ]

    async def end_session(self, who: Principal, session_id: str) -> None:
        """End one session of one's own.

        Raises:
            NotFound: there is none of that id, or it ended before.
        """

        def work(connection: Connection) -> None:
            found = [one.token_hash for one in accounts.sessions_of(connection, who.username)]
            ended = [one for one in found if one[:ID_CHARACTERS] == session_id]
            if not any(accounts.end_session(connection, one) for one in ended):
                raise NotFound("no such session")
            accounts.write_audit(connection, self._entry(who, "session-end"))

        await self._access.database.write(work)
        self._access.forget()

    async def end_others(self, who: Principal, token: str) -> None:
        """End every session of one's own but the one that asks."""
        mine = digest(token)

        def work(connection: Connection) -> None:
            for one in accounts.sessions_of(connection, who.username):
                if one.token_hash != mine:
                    accounts.end_session(connection, one.token_hash)
            accounts.write_audit(connection, self._entry(who, "sessions-end"))

        await self._access.database.write(work)
        self._access.forget()

    def _entry(self, who: Principal, action: str) -> AuditEntry:
        target = f"account/{who.username}"
        return AuditEntry(self._access.now_ns(), who.username, who.role, action, target, "ok", self._access.region)


def _described(connection: Connection, found: Sequence[Session]) -> list[tuple[Session, str]]:
    """Return sessions, each with the machine of its page or the names of its program."""
    clients = {one.extra["client"] for one in found if "client" in one.extra}
    programs = {name: accounts.account_of(connection, name) for name in clients}
    names = {name: f"{program.name_zh} {program.name_en}" for name, program in programs.items() if program is not None}
    return [(one, names.get(one.extra.get("client", ""), one.extra.get("machine", ""))) for one in found]
