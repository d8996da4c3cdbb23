"""The second factor of an account: setting up an authenticator app, checking its codes, taking it away again.

A code counts once.  Which roles need a second factor is configuration (`Access.factor_roles`); whoever has set
one up needs it at every sign-in, whatever the role.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from cloud_hub.access import totp
from cloud_hub.access.rights import Principal
from cloud_hub.access.sealing import Seal
from cloud_hub.access.tokens import digest
from cloud_hub.errors import BadRequest, StepRefused
from cloud_hub.store import accounts, factors
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.factors import Totp


@dataclass(frozen=True, slots=True)
class State:
    """How far an account is with its second factor."""

    has_totp: bool
    recovery_codes_left: int


@dataclass(frozen=True, slots=True)
class Begun:
    """What an authenticator app must be told; shown once."""

    secret: str
    address: str
    picture: str
    """The address as a QR code, a data URI."""


def state(connection: Connection, username: str) -> State:
    """Return how far an account is."""
    found = factors.totp_of(connection, username)
    is_set_up = found is not None and found.is_confirmed
    return State(is_set_up, factors.recovery_codes_left(connection, username) if is_set_up else 0)


def begin(connection: Connection, seal: Seal, username: str, now_ns: int) -> Begun:
    """Make a new secret, which counts for nothing until `confirm`.

    Raises:
        StepRefused: there is a confirmed one; it must be taken away first.
    """
    known = factors.totp_of(connection, username)
    if known is not None and known.is_confirmed:
        raise StepRefused("there is a second factor already", [])
    secret = totp.new_secret()
    factors.save_totp(connection, Totp(username, seal.close(secret, username), False, 0), now_ns)
    found = totp.address(secret, username)
    return Begun(secret, found, totp.picture(found))


def demand_begun(connection: Connection, username: str) -> Totp:
    """Return the new secret that waits to be confirmed.

    Raises:
        StepRefused: nothing was begun, or it is confirmed already.
    """
    known = factors.totp_of(connection, username)
    if known is None or known.is_confirmed:
        raise StepRefused("nothing waits to be confirmed", [])
    return known


def confirm(connection: Connection, seal: Seal, username: str, code: str, now_ns: int) -> list[str]:
    """Take the new secret into use and return recovery codes, which are kept as hashes alone.

    Raises:
        StepRefused: nothing was begun, or it is confirmed already.
        BadRequest: the code does not fit.
    """
    known = demand_begun(connection, username)
    step = totp.step_of(seal.open(known.sealed, username), code, now_ns / 1e9)
    if step is None:
        raise BadRequest("the code does not fit", ["code"])
    factors.save_totp(connection, Totp(username, known.sealed, True, step), now_ns)
    codes = totp.new_recovery_codes()
    factors.save_recovery_codes(connection, username, [digest(totp.plain(code)) for code in codes])
    return codes


def check(connection: Connection, seal: Seal, username: str, code: str, now_ns: int) -> str:
    """Spend a code of the app or a recovery code; return `totp` or `recovery`, empty where it does not fit."""
    known = factors.totp_of(connection, username)
    if known is None or not known.is_confirmed:
        return ""
    step = totp.step_of(seal.open(known.sealed, username), code, now_ns / 1e9)
    if step is not None:
        return "totp" if factors.use_step(connection, username, step) else ""
    return "recovery" if factors.use_recovery_code(connection, username, digest(totp.plain(code))) else ""


def audit(connection: Connection, principal: Principal, action: str, now_ns: int) -> None:
    """Note what somebody did with their own second factor."""
    target = f"account/{principal.username}"
    entry = AuditEntry(now_ns, principal.username, principal.role, action, target, "ok", principal.region)
    accounts.write_audit(connection, entry)
