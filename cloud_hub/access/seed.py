"""Taking accounts in from a file, and telling each site who may sign in there with the hub gone (decision 25).

All functions block: they run before the event loop serves anybody, in a thread, or in the writer thread.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection
from telemed.passwords import is_right
from telemed.roles import AT_BEDSIDE, OWN_ONLY, Role
from telemed.v1 import event_pb2

from cloud_hub.access.passwords import hash_password
from cloud_hub.access.rights import parse_scope
from cloud_hub.access.sign_in import FIRST_PASSWORD_NS
from cloud_hub.care.identifiers import uuid7
from cloud_hub.errors import ConfigRefused
from cloud_hub.store import accounts, care_team, events, persons
from cloud_hub.store.accounts import Account, AuditEntry, SetBy
from cloud_hub.store.engine import Database


@dataclass(frozen=True, slots=True)
class SiteScope:
    """Where an event belongs."""

    region: str
    site: str


def seed_accounts(database: Database, file: Path, region: str, sites: Iterable[str] = ()) -> list[str]:
    """Take in the accounts of a JSON file and tell the sites; doing it again changes nothing.

    Args:
        database: the care store.
        file: name -> {"username" or "client_id", "password" or "client_secret", "role", "name_zh", "name_en",
            "sites", and for programs "scopes", "redirects"}.
        region: of this hub.
        sites: sites known from elsewhere; those of the accounts and of described nodes are known anyway.

    Returns:
        The sites whose event log has grown.

    Raises:
        ConfigRefused: the file cannot be read or an account in it is wrong; nothing was changed.
    """
    wanted = read_accounts(file)

    def work(connection: Connection) -> list[str]:
        now_ns = time.time_ns()
        for account, secret in wanted:
            _take_in(connection, account, secret, region, now_ns)
        return publish_everywhere(connection, region, now_ns, sites)

    return database.write_blocking(work)


def publish_everywhere(connection: Connection, region: str, now_ns: int, sites: Iterable[str] = ()) -> list[str]:
    """Tell every site what has changed about who may sign in there; return those whose event log has grown.

    Known are the sites of accounts and of described nodes, those that were told before, and those that are given.
    """
    known = {*sites, *(site for account in accounts.accounts(connection) for site in account.sites)}
    known |= {node.site for node in persons.nodes(connection, region, None)}
    known |= {site for site, _username in events.of_type(connection, region, "account")}
    return [site for site in sorted(known) if publish_accounts(connection, region, site, now_ns)]


def publish_accounts(connection: Connection, region: str, site: str, now_ns: int) -> bool:
    """Append what has changed about who may sign in at this site to its log; True where something had.

    To be called whenever an account or a care team changes and when a site is heard of for the first time.
    """
    before = _published(connection, SiteScope(region, site))
    wanted = {
        account.username: _account_set(account, _cared_for(connection, region, account, site))
        for account in accounts.accounts(connection)
        if _acts_at(account, site)
    }
    for username, last in before.items():
        if username not in wanted:
            wanted[username] = event_pb2.AccountSet(username=username, role=last.role, disabled=True)
    changed = {username: body for username, body in wanted.items() if before.get(username) != body}
    for username, body in sorted(changed.items()):
        _append(connection, SiteScope(region, site), username, body, now_ns)
    return bool(changed)


def read_accounts(file: Path) -> list[tuple[Account, str]]:
    """Return the accounts of a file of `seed_accounts`, each with its secret.

    Raises:
        ConfigRefused: the file cannot be read or an account in it is wrong.
    """
    try:
        raw: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        return [_parse(entry) for entry in raw.values()]
    except OSError as error:
        raise ConfigRefused(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigRefused(f"{file}: not a file of accounts ({type(error).__name__}: {error})") from error


def _parse(entry: dict[str, Any]) -> tuple[Account, str]:
    username = str(entry.get("username") or entry["client_id"])
    secret = str(entry.get("password") or entry["client_secret"])
    role = Role(entry.get("role", Role.PROGRAM))
    scopes = tuple(map(str, entry.get("scopes", ())))
    for scope in scopes:
        parse_scope(scope)
    account = Account(
        username=username,
        role=role,
        name_zh=str(entry.get("name_zh", username)),
        name_en=str(entry.get("name_en", username)),
        sites=tuple(map(str, entry.get("sites", ()))),
        password_hash="",
        scopes=scopes,
        redirects=tuple(map(_redirect, entry.get("redirects", ()))),
        disabled=bool(entry.get("disabled", False)),
    )
    if not 0 < len(username) <= 64:
        raise ValueError("a user name has 1 to 64 characters")
    return account, secret


def _redirect(found: object) -> str:
    """Return where a program has people sent back, in a scheme by which nobody on the way reads the code.

    Raises:
        ValueError: neither HTTPS, nor plain HTTP on loopback, nor a scheme of the program's own (RFC 8252 7).
    """
    text = str(found)
    parts = urlsplit(text)
    is_loopback = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not (is_loopback or (parts.scheme == "https" and parts.hostname) or "." in parts.scheme):
        raise ValueError(f"redirect {text!r}: https, or http on loopback, or a scheme like org.example.app")
    return text


def _take_in(connection: Connection, account: Account, secret: str, region: str, now_ns: int) -> None:
    known = accounts.account_of(connection, account.username)
    # What people have chosen themselves, or an operator has set or disabled, no file takes back.
    account = replace(account, disabled=account.disabled or (known is not None and known.disabled))
    if known is not None and (known.password_by is not SetBy.FILE or is_right(known.password_hash, secret)):
        account = replace(
            account,
            password_hash=known.password_hash,
            password_by=known.password_by,
            password_ns=known.password_ns,
        )
    else:
        try:
            account = replace(account, password_hash=hash_password(secret, account.username))
        except ValueError as error:
            raise ConfigRefused(f"account {account.username}: {error}") from error
    if account == known:
        return
    accounts.save_account(connection, account, now_ns)
    if known is not None:
        accounts.end_sessions_of(connection, account.username)
    target = f"account/{account.username}"
    accounts.write_audit(connection, AuditEntry(now_ns, "seed", "system", "account-set", target, "ok", region))


def _acts_at(account: Account, site: str) -> bool:
    if account.disabled or account.role not in AT_BEDSIDE:
        return False
    return site in account.sites or (account.role is Role.PHYSICIAN and not account.sites)


def _account_set(account: Account, cared_for: frozenset[str]) -> event_pb2.AccountSet:
    return event_pb2.AccountSet(
        username=account.username,
        role=account.role,
        name_zh=account.name_zh,
        name_en=account.name_en,
        password_hash=account.password_hash,
        sites=account.sites,
        persons=sorted(cared_for),
        password_ends_unix_ns=account.password_ns + FIRST_PASSWORD_NS if account.password_by is SetBy.OPERATOR else 0,
    )


def _cared_for(connection: Connection, region: str, account: Account, site: str) -> frozenset[str]:
    if account.role not in OWN_ONLY:
        return frozenset()
    return care_team.cared_for(connection, region, account.username, (site,))


def _published(connection: Connection, scope: SiteScope) -> dict[str, event_pb2.AccountSet]:
    """Return what the site was told last about each account."""
    found: dict[str, event_pb2.AccountSet] = {}
    for (_site, username), history in events.of_type(connection, scope.region, "account", site=scope.site).items():
        told = [one.ordered.event.account_set for one in history if not one.ordered.refused]
        if told:
            found[username] = told[-1]
    return found


def _append(connection: Connection, scope: SiteScope, username: str, body: event_pb2.AccountSet, now_ns: int) -> None:
    event = event_pb2.Event(
        event_id=uuid7(now_ns),
        aggregate_type="account",
        aggregate_id=username,
        base_version=events.version(connection, scope, "account", username),
        at_unix_ns=now_ns,
        account_set=body,
    )
    events.append_hub_event(connection, scope, event, now_ns)
