"""Run the hub (`cloud-hub serve | check-config`) or look after it (`accounts | nodes | authority | release | ...`)."""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import telemed.forks  # noqa: F401 - before anything loads gRPC, see there
import uvloop
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from telemed.logs import log_to_stderr

from cloud_hub import (
    accounts_command,
    app,
    audit_command,
    authority_command,
    erase_command,
    labels_command,
    node_access,
    nodes_command,
    release_command,
    retention_command,
)
from cloud_hub.broker_rights import load_users
from cloud_hub.config import HubConfig, load, readable_listeners, readable_pages
from cloud_hub.errors import ConfigRefused, HubError

REFUSED = 2
FAILED = 1
GARBAGE_THRESHOLDS = (100_000, 20, 50)
TELLS: dict[str, Callable[[HubConfig, argparse.Namespace], Iterable[str]]] = {
    "accounts": accounts_command.run,
    "authority": authority_command.run,
    "erase": erase_command.run,
    "labels": labels_command.run,
    "nodes": nodes_command.run,
    "release": release_command.run,
    "retention": retention_command.run,
}
"""Commands that do their work and return the lines to print."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit status 2 where the configuration is refused, 1 where the hub fails."""
    options = _parser().parse_args(arguments)
    log_to_stderr()
    status = 0
    try:
        config = load(options.config)
        # The hub's authority is mended by its own command, which must run where the rest cannot.
        if options.command != "authority":
            check(config)
        if options.command == "check-config":
            print(f"{options.config}: in order")
        elif options.command in TELLS:
            print("\n".join(TELLS[options.command](config, options)))
        elif options.command == "audit":
            _audit(config, options)
        else:
            # Records that wait for their commit live for a moment only: looking through all of them for garbage,
            # again and again, was a third of the time that the intake spends on a record.
            gc.set_threshold(*GARBAGE_THRESHOLDS)
            uvloop.run(app.serve(config, options.pids, lambda: _checked(options.config)))
    except* ConfigRefused as refused:
        print("\n".join(str(error) for error in _leaves(refused)), file=sys.stderr)
        status = REFUSED
    except* HubError as failed:
        print("\n".join(str(error) for error in _leaves(failed)), file=sys.stderr)
        status = status or FAILED
    # Not from within: early releases of Python 3.11, as Debian 12 has one, wrap what is raised there in a group.
    if status:
        raise SystemExit(status)


def _audit(config: HubConfig, options: argparse.Namespace) -> None:
    report = audit_command.run(config, options)
    print("\n".join(report.lines))
    if not report.is_sound:
        raise SystemExit(FAILED)


def _checked(file: Path) -> HubConfig:
    config = load(file)
    check(config)
    return config


def check(config: HubConfig) -> None:
    """Look at what the configuration names, without starting anything.

    Raises:
        ConfigRefused: a file or folder that it names cannot be used.
    """
    readable = readable_listeners(config)
    if readable:
        raise ConfigRefused(
            f"{', '.join(readable)}: not loopback, so nodes must have certificates: add [pki] with the hub's names"
        )
    if readable_pages(config):
        raise ConfigRefused(
            "web.host: not loopback, so passwords would cross the network readable: "
            'leave it, and add [web.https] with host = "0.0.0.0"'
        )
    if config.pki is None:
        _check_secrets(config)
    else:
        node_access.look_at_authority(config, config.pki)
        node_access.model_root(config.pki)
    archive = config.imaging.archive
    for name, path in (
        ("web.metrics_token_file", config.web.metrics_token_file),
        ("accounts.seed_file", config.accounts.seed_file),
        ("imaging.archive.password_file", archive.password_file if archive else None),
        ("imaging.archive.ca_file", archive.ca_file if archive else None),
    ):
        if path is not None and not os.access(path, os.R_OK):
            raise ConfigRefused(f"{name}: {path} cannot be read")
    for name, url in (("store.samples_url", config.store.samples_url), ("store.care_url", config.store.care_url)):
        _check_store(name, url)


def _check_secrets(config: HubConfig) -> None:
    broker = config.broker
    users = load_users(broker.secrets_file)
    if broker.user not in users.by_name:
        raise ConfigRefused(f"{broker.secrets_file}: {broker.user}: no secret for the hub itself")


def _check_store(name: str, url: str) -> None:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigRefused(f"{name}: is no database URL (sqlite:///FILE or postgresql+psycopg://...)") from error
    if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ConfigRefused(f"{name}: {parsed.get_backend_name()} is not supported: sqlite or postgresql+psycopg")
    folder = Path(parsed.database or "").parent
    if parsed.get_backend_name() == "sqlite" and not os.access(folder, os.W_OK):
        raise ConfigRefused(f"{name}: folder {folder} does not exist or cannot be written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cloud-hub", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the hub until it is told to stop")
    serve.add_argument("--pids", type=Path, help="file that is told the process ids of hub and broker")
    commands.add_parser("check-config", help="look at the configuration and say what is wrong")
    accounts_command.add_arguments(commands.add_parser("accounts", help="say who may sign in"))
    nodes_command.add_arguments(commands.add_parser("nodes", help="let nodes in and shut them out"))
    authority_command.add_arguments(commands.add_parser("authority", help="the hub's own authority, and its successor"))
    release_command.add_arguments(commands.add_parser("release", help="let nodes fetch a file, such as a bundle"))
    labels_command.add_arguments(commands.add_parser("labels", help="what physicians said of findings, for training"))
    retention_command.add_arguments(commands.add_parser("retention", help="what is over its time, and deleting it"))
    erase_command.add_arguments(commands.add_parser("erase", help="take a person out, once their time is over"))
    audit = commands.add_parser("audit", help="verify the audit trail, or give out its anchors")
    said_after = audit_command.add_arguments(audit)
    for command in (*(each for each in commands.choices.values() if each is not audit), *said_after):
        command.add_argument("--config", type=Path, required=True, help="TOML file of the hub")
    return parser


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


if __name__ == "__main__":
    main()
