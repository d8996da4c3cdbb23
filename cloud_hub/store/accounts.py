"""Accounts, sessions and the audit trail in the care database: plain functions on a connection."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from telemed.audit import Entry
from telemed.roles import Role

from cloud_hub.store import audit_trail
from cloud_hub.store.schema import account as account_table
from cloud_hub.store.schema import person
from cloud_hub.store.schema import session as session_table


class SetBy(StrEnum):
    """Who set the password of an account."""

    FILE = "file"
    """The file of accounts of a demo, or it is from before this was kept."""
    OPERATOR = "operator"
    """A first password: to be changed, and soon."""
    ONESELF = "oneself"


@dataclass(frozen=True, slots=True)
class Account:
    """A person or program that may sign in."""

    username: str
    role: Role
    name_zh: str
    name_en: str
    sites: tuple[str, ...]
    """Empty = all of the region for a physician or a program, none for anybody else."""
    password_hash: str
    """argon2id in PHC form."""
    scopes: tuple[str, ...] = ()
    """Of a program: what its tokens may name."""
    redirects: tuple[str, ...] = ()
    """Of a program that people sign in through: where a code may be sent, to be matched exactly."""
    disabled: bool = False
    password_by: SetBy = SetBy.FILE
    password_ns: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """A browser session, a bearer token, or an authorization code; found by the hash of its token."""

    token_hash: str
    kind: str
    """cookie, bearer or code."""
    username: str
    created_ns: int
    seen_ns: int
    expires_ns: int
    scopes: tuple[str, ...] = ()
    csrf_token: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    """Of a code: client, redirect and PKCE challenge."""


AuditEntry = Entry


def account_of(connection: Connection, username: str) -> Account | None:
    """Return the account of this name, disabled or not; None where there is none."""
    row = connection.execute(select(account_table).where(account_table.c.username == username)).first()
    return None if row is None else _account(row)


def accounts(connection: Connection) -> list[Account]:
    """Return all accounts, by name."""
    return [_account(row) for row in connection.execute(select(account_table).order_by(account_table.c.username))]


def save_account(connection: Connection, account: Account, now_ns: int) -> None:
    """Insert or replace an account; sessions stay until they end or `end_sessions_of` is called."""
    values = {
        "role": account.role.value,
        "name_zh": account.name_zh,
        "name_en": account.name_en,
        "sites": json.dumps(account.sites),
        "password_hash": account.password_hash,
        "scopes": json.dumps(account.scopes),
        "redirects": json.dumps(account.redirects),
        "disabled": account.disabled,
        "password_by": account.password_by,
        "password_ns": account.password_ns,
        "updated_ns": now_ns,
    }
    where = account_table.c.username == account.username
    if connection.execute(update(account_table).where(where).values(values)).rowcount == 0:
        connection.execute(insert(account_table).values(username=account.username, **values))


def open_session(connection: Connection, session: Session) -> None:
    """Insert a session; sessions that have expired are swept out on the way."""
    connection.execute(delete(session_table).where(session_table.c.expires_ns < session.created_ns))
    connection.execute(
        insert(session_table).values(
            token_hash=session.token_hash,
            kind=session.kind,
            username=session.username,
            scopes=json.dumps(session.scopes),
            csrf_token=session.csrf_token,
            created_ns=session.created_ns,
            seen_ns=session.seen_ns,
            expires_ns=session.expires_ns,
            extra=json.dumps(session.extra),
        )
    )


def session_of(connection: Connection, token_hash: str) -> Session | None:
    """Return the session with this hash, expired or not; None where there is none."""
    row = connection.execute(select(session_table).where(session_table.c.token_hash == token_hash)).first()
    return None if row is None else _session(row)


def sessions_of(connection: Connection, username: str) -> list[Session]:
    """Return the sessions of pages and programs of an account, ended by time or not."""
    kinds = session_table.c.kind.in_(("cookie", "bearer"))
    rows = connection.execute(select(session_table).where(session_table.c.username == username, kinds))
    return [_session(row) for row in rows]


def touch_session(connection: Connection, token_hash: str, now_ns: int) -> None:
    """Note that the session was used just now."""
    connection.execute(update(session_table).where(session_table.c.token_hash == token_hash).values(seen_ns=now_ns))


def end_session(connection: Connection, token_hash: str) -> bool:
    """Delete a session; True where there was one, so that a code can be used only once."""
    return connection.execute(delete(session_table).where(session_table.c.token_hash == token_hash)).rowcount == 1


def end_sessions_of(connection: Connection, username: str) -> int:
    """Delete all sessions of an account (password changed, disabled); return how many there were."""
    return connection.execute(delete(session_table).where(session_table.c.username == username)).rowcount


def keep_newest_pages(connection: Connection, username: str, count: int) -> None:
    """Delete the sessions of pages of an account but for so many that were used last."""
    mine = (session_table.c.username == username, session_table.c.kind == "cookie")
    kept = select(session_table.c.token_hash).where(*mine).order_by(session_table.c.seen_ns.desc()).limit(count)
    connection.execute(delete(session_table).where(*mine, session_table.c.token_hash.not_in(kept)))


def end_tokens_of(connection: Connection, code_hash: str) -> list[str]:
    """Delete the tokens of programs that a code was exchanged for; return whose they were."""
    held = session_table.c.extra.contains(f'"code": "{code_hash}"', autoescape=True)
    mine = (session_table.c.kind == "bearer", held)
    ended = list(connection.execute(select(session_table.c.username).where(*mine)).scalars())
    connection.execute(delete(session_table).where(*mine))
    return ended


def persons_of_caregiver(connection: Connection, region: str, username: str, sites: Sequence[str]) -> frozenset[str]:
    """Return the ids of the persons at these sites whose caregiver this is."""
    where = (person.c.region == region, person.c.caregiver == username, person.c.site.in_(sites))
    return frozenset(connection.execute(select(person.c.person_id).where(*where)).scalars())


def write_audit(connection: Connection, *entries: AuditEntry) -> None:
    """Append to the audit trail, in the transaction of what is audited where there is one."""
    audit_trail.append(connection, entries)


def _account(row: Row[Any]) -> Account:
    return Account(
        username=row.username,
        role=Role(row.role),
        name_zh=row.name_zh,
        name_en=row.name_en,
        sites=tuple(json.loads(row.sites)),
        password_hash=row.password_hash,
        scopes=tuple(json.loads(row.scopes)),
        redirects=tuple(json.loads(row.redirects)),
        disabled=row.disabled,
        password_by=SetBy(row.password_by),
        password_ns=row.password_ns,
    )


def _session(row: Row[Any]) -> Session:
    return Session(
        token_hash=row.token_hash,
        kind=row.kind,
        username=row.username,
        created_ns=row.created_ns,
        seen_ns=row.seen_ns,
        expires_ns=row.expires_ns,
        scopes=tuple(json.loads(row.scopes)),
        csrf_token=row.csrf_token,
        extra=json.loads(row.extra),
    )
