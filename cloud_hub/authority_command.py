"""`cloud-hub authority show | request | install | next | retire`: the hub's own authority, and its successor.

May be run while the hub serves, which goes on with what it had and takes a change in at its next start.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from telemed.enrolment import MALFORMED
from telemed.topics import NodeAddress

from cloud_hub import node_access
from cloud_hub.access import authorities, overlap
from cloud_hub.access.authorities import Trusted
from cloud_hub.access.authority_chain import ChainUnusable
from cloud_hub.config import HubConfig, PkiConfig
from cloud_hub.errors import BadRequest, ConfigRefused, StoreFailure
from cloud_hub.store.accounts import AuditEntry, write_audit
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE

BEGUN, OK = "begun", "ok"
RESTART = "Start the hub again to take it in."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands to the parser of `authority`."""
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("show", help="say which authorities are trusted, and when they end")
    request = actions.add_parser("request", help="make a key and print the request for an organisation's authority")
    request.add_argument("--same-key", action="store_true", help="for the key and name that issue now")
    install = actions.add_parser("install", help="put in place what the organisation's authority signed")
    install.add_argument("chain", type=Path, help="PEM: the hub's certificate and all above it, up to the root")
    actions.add_parser("next", help="make a successor that stands on its own")
    retire = actions.add_parser("retire", help="trust earlier authorities no more")
    retire.add_argument("--now", action="store_true", help="also where nodes are bound to one: they must enrol anew")


def run(config: HubConfig, options: argparse.Namespace) -> list[str]:
    """Do what was asked; return the lines to print.

    Raises:
        BadRequest: it cannot be done so; the message says why.
        ConfigRefused: the hub has no authority, or its folder cannot be used.
        StoreFailure: the database cannot be used.
    """
    pki = config.pki
    if pki is None:
        raise ConfigRefused("[pki] is not in the configuration: nodes are known by the broker's secrets")
    if pki.authority_file is not None and options.action in ("request", "install", "next"):
        raise BadRequest("the configuration names an authority made elsewhere: put its successor in those files", [])
    try:
        return _done(config, pki, options)
    except ChainUnusable as error:
        raise BadRequest(f"{options.chain}: {error}", ["chain"]) from error
    except OSError as error:
        raise ConfigRefused(f"{error.filename or pki.folder}: {error.strerror}") from error
    except MALFORMED as error:
        raise ConfigRefused(f"pki.folder: {pki.folder}: a key or certificate there cannot be read") from error


def _done(config: HubConfig, pki: PkiConfig, options: argparse.Namespace) -> list[str]:
    if options.action == "request":
        return [authorities.request(pki.folder, config.region, same_key=options.same_key).decode().rstrip()]
    if options.action == "install":
        return _install(config, pki, options.chain.read_bytes())
    if options.action == "next":
        with _audited(config, "authority-next", "next") as done:
            number = authorities.add_next(pki.folder, config.region)
            done(str(number))
        return [
            f"authority {number} is made, and issues from the next start on; nodes learn of it as they renew.",
            RESTART,
        ]
    if options.action == "retire":
        return _retire(config, pki, is_forced=options.now)
    known = authorities.listed(pki.folder)
    return [_line(each, is_issuing=each is known[-1]) for each in known] or [
        "no authority yet: the first start makes one"
    ]


def _install(config: HubConfig, pki: PkiConfig, pem: bytes) -> list[str]:
    before = authorities.listed(pki.folder)
    with _audited(config, "authority-install", "chain") as done:
        taken = authorities.install(pki.folder, pem, node_access.names_of(config, pki), datetime.now(UTC))
        done(str(taken.number))
    is_new = not before or taken.number != before[-1].number
    said = "issues from the next start on; nodes learn of it as they renew" if is_new else "has a new chain"
    return [f"authority {taken.number} {said}.", _line(taken, is_issuing=True), RESTART]


def _retire(config: HubConfig, pki: PkiConfig, *, is_forced: bool) -> list[str]:
    known = authorities.listed(pki.folder)
    if len(known) < 2:
        return ["there is one authority alone: nothing to end"]
    if known[-1].authority is None and pki.authority_file is None:
        raise BadRequest("the key of the newest authority is gone: put its copy back, or make another one before", [])
    nodes = _bound(config, pki, known[-1].number)
    if nodes and not is_forced:
        names = ", ".join(f"{each.site}/{each.node}" for each in nodes)
        raise BadRequest(
            f"{len(nodes)} nodes are bound to an earlier authority and would have to enrol anew: {names}. "
            "Wait until they have renewed, or say --now",
            [],
        )
    numbers = [each.number for each in known[:-1]]
    with _audited(config, "authority-retire", ",".join(map(str, numbers))) as done:
        numbers = authorities.retire(pki.folder)
        done(",".join(map(str, numbers)))
    return [f"trusted no more: authority {', '.join(map(str, numbers))}.", RESTART]


def _bound(config: HubConfig, pki: PkiConfig, number: int) -> list[NodeAddress]:
    grace = timedelta(hours=pki.grace_hours)
    database = _database(config)
    try:
        return database.read_blocking(
            lambda c: overlap.still_bound(c, overlap.Place(pki.folder, config.region, number), time.time_ns(), grace)
        )
    finally:
        database.close()


@contextmanager
def _audited(config: HubConfig, action: str, target: str) -> Iterator[Callable[[str], None]]:
    """Write that a change begins before the block touches the folder; what it is given writes that it is done.

    So a change has its line however it breaks off, and where the database does not answer nothing has changed: a
    command that is tried again adds no further authority.

    Raises:
        StoreFailure: the database cannot be used.
    """
    database = _database(config)

    def note(target: str, result: str = OK) -> None:
        at_ns = time.time_ns()
        entry = AuditEntry(at_ns, "command-line", "system", action, f"authority/{target}", result, config.region, "")
        database.write_blocking(lambda c: write_audit(c, entry))

    try:
        note(target, BEGUN)
        yield note
    finally:
        database.close()


def _database(config: HubConfig) -> Database:
    database = Database(config.store.care_url, CARE, "care")
    try:
        database.migrate()
    except StoreFailure:
        database.close()
        raise
    return database


def _line(each: Trusted, *, is_issuing: bool) -> str:
    state = "issues" if is_issuing else "trusted"
    if each.authority is None:
        return f"{each.number:4} {state:8} {each.certificate.subject.rfc4514_string()}  its key is not in the folder"
    ends = f"until {each.authority.ends:%Y-%m-%d}" if each.authority.chain else "no end"
    return f"{each.number:4} {state:8} {each.certificate.subject.rfc4514_string()}  {ends}"
