"""Command line of the edge node: serve and check-config, and what is done beside or before; see `_parser`."""

import argparse
import asyncio
import sys
from pathlib import Path

import telemed.forks  # noqa: F401 - before anything loads gRPC, see there
import uvloop
from telemed.logs import log_to_stderr

from edge_node import admit, app, arrangement, audit_command, config, import_command, keys_command, models_command
from edge_node.buffer import maintenance
from edge_node.config import EdgeConfig
from edge_node.errors import BufferFailure, ConfigRefused, EnrolmentFailed, FileUnusable
from edge_node.uplink.enrolment import command as enrolment_command
from edge_node.uplink.reconcile import command as reconcile_command
from edge_node.uplink.transfer import command as transfer_command

REFUSED, FAILED = 2, 1


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status (2: the configuration is refused)."""
    asked = _parser().parse_args(arguments)
    log_to_stderr()
    try:
        settings = config.load(asked.config)
        if asked.command == "serve":
            return _serve(settings, asked.config)
        if asked.command == "admit":
            count = asyncio.run(admit.admit(settings, asked.people))
            print(f"edge-node admit: {count} events proposed")
            return 0
        if asked.command == audit_command.NAME:
            report = audit_command.run(settings, asked)
            print("\n".join(report.lines))
            return 0 if report.is_sound else FAILED
        print("\n".join(_told(settings, asked)))
        return 0
    except* ConfigRefused as refused:
        for error in _leaves(refused):
            print(f"edge-node: {error}", file=sys.stderr)
        return_code = REFUSED
    except* BufferFailure as failed:
        for error in _leaves(failed):
            print(f"edge-node: store: {error}", file=sys.stderr)
        return_code = FAILED
    except* (FileUnusable, EnrolmentFailed) as unusable:
        for error in _leaves(unusable):
            print(f"edge-node: {error}", file=sys.stderr)
        return_code = FAILED
    return return_code


def _told(settings: EdgeConfig, asked: argparse.Namespace) -> list[str]:
    """Do what was asked for and return what is to be said of it."""
    if asked.command in transfer_command.NAMES:
        return transfer_command.run(settings, asked)
    if asked.command == reconcile_command.NAME:
        return reconcile_command.run(settings, asked)
    if asked.command == enrolment_command.NAME:
        return enrolment_command.run(settings, asked)
    if asked.command == keys_command.NAME:
        return keys_command.run(settings, asked)
    if asked.command == import_command.NAME:
        return import_command.run(settings, asked)
    if asked.command == models_command.NAME:
        return models_command.run(settings)
    if asked.command == "inspect":
        return maintenance.lines(maintenance.inspect(settings.buffer.folder))
    arrangement.check(settings)
    return [f"{asked.config}: ok"]


def _serve(settings: EdgeConfig, file: Path) -> int:
    arrangement.check(settings)
    uvloop.run(
        app.serve(settings, lambda address: print(f"edge-node ready: {address}", flush=True), lambda: _checked(file))
    )
    return 0


def _checked(file: Path) -> EdgeConfig:
    settings = config.load(file)
    arrangement.check(settings)
    return settings


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-node", description="Edge node of the telemedicine gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("serve", "run the node until SIGTERM"),
        ("check-config", "check the configuration file and what it names"),
        ("inspect", "show what the store holds and what waits for the hub; also beside a running node"),
        ("admit", "put people into beds, while the node is stopped"),
        ("send", "queue a file for the hub; also beside a running node"),
        ("import", "make DICOM of a volume, photo or PDF of a person of this site; beside a running node"),
        ("transfers", "list the files that go to the hub and come from it; also beside a running node"),
        ("enrol", "get this node its certificate, with a token from the hub"),
        ("audit", "verify the audit trail, or give out the hub's heads that are kept here; also beside a running node"),
        ("keys", "show or change the keys of the store, or erase by key what a device measured"),
        ("models", "list the model bundles of this node and how each stands; also beside a running node"),
        ("reconcile", "compare everything with the hub now, beside a running node, and show the report"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
        if name in transfer_command.NAMES:
            transfer_command.add_arguments(name, command)
        if name == import_command.NAME:
            import_command.add_arguments(command)
        if name == audit_command.NAME:
            audit_command.add_arguments(command)
        if name == keys_command.NAME:
            keys_command.add_arguments(command)
        if name == reconcile_command.NAME:
            reconcile_command.add_arguments(command)
        if name == enrolment_command.NAME:
            enrolment_command.add_arguments(command)
        if name == "admit":
            command.add_argument("--from", dest="people", type=Path, required=True, metavar="FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
