"""`cloud-hub accounts list | set | disable | reset-factor | link | unlink`: who may sign in, from the hub's machine.

May be run while the hub serves: it commits like anybody else, and the sites are told by their logs.
"""

import argparse
import getpass
import secrets
import sys
import time
from dataclasses import replace

from sqlalchemy import Connection
from telemed.roles import MACHINES, Role

from cloud_hub.access.passwords import hash_password
from cloud_hub.access.rights import parse_scope
from cloud_hub.access.seed import publish_everywhere
from cloud_hub.config import HubConfig
from cloud_hub.errors import BadRequest
from cloud_hub.store import accounts, factors, identities, passkeys
from cloud_hub.store.accounts import Account, AuditEntry, SetBy
from cloud_hub.store.engine import Database
from cloud_hub.store.identities import Identity
from cloud_hub.store.schema import CARE

OPERATOR_NAME = "command-line"
FIRST_PASSWORD_BYTES = 15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands to the parser of `accounts`."""
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="say who may sign in")
    change = actions.add_parser("set", help="make or change an account; the password is read from standard input")
    change.add_argument("--role", choices=[role.value for role in Role if role is not Role.DISPLAY], required=True)
    change.add_argument("--name-zh", required=True)
    change.add_argument("--name-en", required=True)
    change.add_argument("--site", action="append", default=[], help="may be given more than once; none: the region")
    change.add_argument("--scope", action="append", default=[], help="of a program, e.g. system/Observation.rs")
    change.add_argument("--generate", action="store_true", help="make a random first password and print it")
    disable = actions.add_parser("disable", help="let nobody sign in with this account any more")
    forget = actions.add_parser("reset-factor", help="take away the second factor of somebody who lost it")
    link = actions.add_parser("link", help="let an account sign in by the identity provider")
    unlink = actions.add_parser("unlink", help="let it do so no longer")
    for command in (change, disable, forget, link, unlink):
        command.add_argument("username")
    link.add_argument("subject", help="the person's sub at the provider, as it writes it")


def run(config: HubConfig, options: argparse.Namespace) -> list[str]:
    """Do what was asked; return the lines to print.

    Raises:
        BadRequest: no such account, a scope that does not exist, or a password that is too weak.
        StoreFailure: the database cannot be used.
    """
    database = Database(config.store.care_url, CARE, "care")
    try:
        database.migrate()
        if options.action == "list":
            return [_line(account) for account in database.read_blocking(accounts.accounts)]
        if options.action == "reset-factor":
            return [
                database.write_blocking(lambda connection: _reset_factor(connection, config.region, options.username))
            ]
        if options.action in ("link", "unlink"):
            return [database.write_blocking(lambda connection: _link(connection, config, options))]
        wanted, secret = _wanted(database, options)
        database.write_blocking(lambda connection: _save(connection, config.region, wanted))
        told = "secret" if wanted.role in MACHINES else "first password, good for three days"
        return [_line(wanted), *([f"{told}: {secret}"] if secret else [])]
    finally:
        database.close()


def _wanted(database: Database, options: argparse.Namespace) -> tuple[Account, str]:
    """Return the account to save, and its password where one was made."""
    known = database.read_blocking(lambda connection: accounts.account_of(connection, options.username))
    if options.action == "disable":
        if known is None:
            raise BadRequest(f"there is no account {options.username}", ["username"])
        return replace(known, disabled=True), ""
    try:
        for scope in options.scope:
            parse_scope(scope)
        made = secrets.token_urlsafe(FIRST_PASSWORD_BYTES) if options.generate else ""
        hashed = hash_password(made or _password(), options.username)
    except ValueError as error:
        raise BadRequest(str(error), ["password" if not options.scope else "scope"]) from error
    role = Role(options.role)
    account = Account(
        username=options.username,
        role=role,
        name_zh=options.name_zh,
        name_en=options.name_en,
        sites=tuple(options.site),
        password_hash=hashed,
        scopes=tuple(options.scope),
        password_by=SetBy.FILE if role in MACHINES else SetBy.OPERATOR,
        password_ns=time.time_ns(),
    )
    return account, made


def _password() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("password: ")
    return sys.stdin.readline().rstrip("\n")


def _reset_factor(connection: Connection, region: str, username: str) -> str:
    """Take a second factor away and end the account's sessions; where one is needed, another is set up next time."""
    had_app, keys = factors.forget(connection, username), passkeys.forget(connection, username)
    if not had_app and not keys:
        raise BadRequest(f"{username} has no second factor", ["username"])
    accounts.end_sessions_of(connection, username)
    target = f"account/{username}"
    entry = AuditEntry(time.time_ns(), OPERATOR_NAME, "system", "second-factor-reset", target, "ok", region)
    accounts.write_audit(connection, entry)
    return f"{username}: second factor taken away"


def _link(connection: Connection, config: HubConfig, options: argparse.Namespace) -> str:
    """Link an account to an identity of the configured provider, or take all its links away and end its sessions."""
    username = options.username
    account = accounts.account_of(connection, username)
    if config.oidc is None or account is None:
        raise BadRequest(f"there is no account {username}, or no [oidc]", ["username"])
    if options.action == "link":
        if account.role in MACHINES:
            raise BadRequest(f"{username} is a program's account", ["username"])
        if identities.identity_of(connection, config.oidc.issuer, options.subject) is not None:
            raise BadRequest(f"{options.subject} is linked already", ["subject"])
        wanted = Identity(config.oidc.issuer, options.subject, username, is_mapped=False)
        identities.link(connection, wanted, time.time_ns())
    elif not identities.unlink(connection, username):
        raise BadRequest(f"{username} is not linked", ["username"])
    else:
        accounts.end_sessions_of(connection, username)
    action = f"identity-{options.action}"
    entry = AuditEntry(time.time_ns(), OPERATOR_NAME, "system", action, f"account/{username}", "ok", config.region)
    accounts.write_audit(connection, entry)
    return f"{username}: {options.action}ed"


def _save(connection: Connection, region: str, account: Account) -> None:
    now_ns = time.time_ns()
    accounts.save_account(connection, account, now_ns)
    accounts.end_sessions_of(connection, account.username)
    action = "account-disable" if account.disabled else "account-set"
    entry = AuditEntry(now_ns, OPERATOR_NAME, "system", action, f"account/{account.username}", "ok", region)
    accounts.write_audit(connection, entry)
    publish_everywhere(connection, region, now_ns)


def _line(account: Account) -> str:
    sites = ", ".join(account.sites) or "-"
    return f"{account.username:20} {account.role:10} {sites}{'  disabled' if account.disabled else ''}"
