"""Passkeys and security keys in the care database: public keys and counters, nothing secret."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from cloud_hub.store.schema import passkey as table


@dataclass(frozen=True, slots=True)
class Passkey:
    """One key of one account."""

    username: str
    credential_id: bytes
    public_key: bytes
    """COSE."""
    sign_count: int
    user_handle: bytes
    """Random; the same for all keys of an account."""
    name: str
    transports: tuple[str, ...]
    made_ns: int
    used_ns: int | None = None

    @property
    def key_id(self) -> str:
        """Return its name in addresses and rows: 64 hex digits."""
        return key_id(self.credential_id)


def key_id(credential_id: bytes) -> str:
    """Return the SHA-256 of a credential's id: that may be a thousand bytes long."""
    return hashlib.sha256(credential_id).hexdigest()


def add(connection: Connection, made: Passkey) -> bool:
    """Insert a key; False where it is somebody's already, whoever's."""
    if by_credential(connection, made.credential_id) is not None:
        return False
    connection.execute(
        insert(table).values(
            key_id=made.key_id,
            username=made.username,
            credential_id=made.credential_id,
            public_key=made.public_key,
            sign_count=made.sign_count,
            user_handle=made.user_handle,
            name=made.name,
            transports=json.dumps(made.transports),
            made_ns=made.made_ns,
            used_ns=made.used_ns,
        )
    )
    return True


def of_account(connection: Connection, username: str) -> list[Passkey]:
    """Return the keys of an account, oldest first."""
    query = select(table).where(table.c.username == username).order_by(table.c.made_ns, table.c.key_id)
    return [_passkey(row) for row in connection.execute(query)]


def count(connection: Connection, username: str) -> int:
    """Return how many keys an account has."""
    query = select(func.count()).select_from(table).where(table.c.username == username)
    return connection.execute(query).scalar() or 0


def by_credential(connection: Connection, credential_id: bytes) -> Passkey | None:
    """Return the key with this id; None where nobody has it."""
    row = connection.execute(select(table).where(table.c.key_id == key_id(credential_id))).first()
    return None if row is None else _passkey(row)


def use(connection: Connection, known: Passkey, sign_count: int, now_ns: int) -> bool:
    """Note a use and the counter that came with it; False where the key was used or taken away meanwhile."""
    mine = (table.c.key_id == known.key_id, table.c.sign_count == known.sign_count)
    return connection.execute(update(table).where(*mine).values(sign_count=sign_count, used_ns=now_ns)).rowcount == 1


def remove(connection: Connection, username: str, which: str) -> bool:
    """Delete a key of an account; False where it has none of this id."""
    mine = (table.c.username == username, table.c.key_id == which)
    return connection.execute(delete(table).where(*mine)).rowcount == 1


def forget(connection: Connection, username: str) -> int:
    """Delete all keys of an account; return how many there were."""
    return connection.execute(delete(table).where(table.c.username == username)).rowcount


def _passkey(row: Row[Any]) -> Passkey:
    return Passkey(
        username=row.username,
        credential_id=row.credential_id,
        public_key=row.public_key,
        sign_count=row.sign_count,
        user_handle=row.user_handle,
        name=row.name,
        transports=tuple(json.loads(row.transports)),
        made_ns=row.made_ns,
        used_ns=row.used_ns,
    )
