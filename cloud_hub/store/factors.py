"""Second factors in the care database: sealed TOTP secrets and hashes of recovery codes."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update

from cloud_hub.store.schema import recovery_code, totp


@dataclass(frozen=True, slots=True)
class Totp:
    """The authenticator app of an account."""

    username: str
    sealed: bytes
    is_confirmed: bool
    """False until a first code has shown that the app has the secret."""
    last_step: int
    """Time step of the last code used; only later ones count."""


def totp_of(connection: Connection, username: str) -> Totp | None:
    """Return the authenticator app of an account, confirmed or not; None where there is none."""
    row = connection.execute(select(totp).where(totp.c.username == username)).first()
    return None if row is None else Totp(row.username, row.sealed, row.is_confirmed, row.last_step)


def count(connection: Connection) -> int:
    """Return how many accounts have taken an authenticator app into use."""
    return connection.execute(select(func.count()).where(totp.c.is_confirmed.is_(True))).scalar_one()


def save_totp(connection: Connection, found: Totp, now_ns: int) -> None:
    """Insert or replace the authenticator app of an account."""
    connection.execute(delete(totp).where(totp.c.username == found.username))
    connection.execute(
        insert(totp).values(
            username=found.username,
            sealed=found.sealed,
            is_confirmed=found.is_confirmed,
            last_step=found.last_step,
            updated_ns=now_ns,
        )
    )


def use_step(connection: Connection, username: str, step: int) -> bool:
    """Note that the code of a step was used; False where it or a later one was used before."""
    mine = (totp.c.username == username, totp.c.last_step < step)
    return connection.execute(update(totp).where(*mine).values(last_step=step)).rowcount == 1


def save_recovery_codes(connection: Connection, username: str, hashes: Collection[str]) -> None:
    """Replace the recovery codes of an account."""
    connection.execute(delete(recovery_code).where(recovery_code.c.username == username))
    if hashes:
        connection.execute(insert(recovery_code), [{"username": username, "code_hash": one} for one in hashes])


def use_recovery_code(connection: Connection, username: str, code_hash: str) -> bool:
    """Spend a recovery code; False where there is none like it."""
    mine = (recovery_code.c.username == username, recovery_code.c.code_hash == code_hash)
    return connection.execute(delete(recovery_code).where(*mine)).rowcount == 1


def recovery_codes_left(connection: Connection, username: str) -> int:
    """Return how many recovery codes an account still has."""
    query = select(func.count()).select_from(recovery_code).where(recovery_code.c.username == username)
    return connection.execute(query).scalar() or 0


def forget(connection: Connection, username: str) -> bool:
    """Delete the second factor of an account; True where there was one."""
    connection.execute(delete(recovery_code).where(recovery_code.c.username == username))
    return connection.execute(delete(totp).where(totp.c.username == username)).rowcount > 0
