"""`edge-node send` and `edge-node transfers`: the queue from a command line, beside a running node or without one."""

import argparse
from pathlib import Path
from zoneinfo import ZoneInfo

from telemed.transfer import FileKind

from edge_node.config import EdgeConfig
from edge_node.errors import FileUnusable
from edge_node.uplink.transfer import intake, releases, rows, words
from edge_node.uplink.transfer.ledger import Ledger
from edge_node.uplink.transfer.parcel import Labels
from edge_node.uplink.transfer.states import Step

NAMES = ("send", "transfers")


def add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    """Give the parser of one of the NAMES its arguments."""
    if name == "transfers":
        command.add_argument("--cancel", metavar="ID", help="cancel a file instead of listing")
        command.add_argument("--again", metavar="ID", help="try a refused file once more instead of listing")
        return
    command.add_argument("file", type=Path, metavar="FILE")
    kinds = [str(kind) for kind in FileKind if kind is not FileKind.BUNDLE]
    command.add_argument("--kind", choices=kinds, required=True)
    command.add_argument("--name", help="what people are shown; the file's own name when not given")
    command.add_argument("--group", default="", help="files that belong together, e.g. of one study")
    command.add_argument("--preview", action="store_true", help="the preview of its group: goes ahead of the rest")
    command.add_argument("--priority", type=int, default=-1, metavar="0-9", help="0 goes first")
    command.add_argument("--urgent", action="store_true", help="at any hour, whatever the day's budget says")


def run(config: EdgeConfig, asked: argparse.Namespace) -> list[str]:
    """Do one command; return what to print.

    Raises:
        FileUnusable: the file cannot be sent, or there is no such transfer.
        BufferFailure: it is not queued.
    """
    ledger = Ledger(config.buffer.folder)
    try:
        if asked.command == "send":
            return [_send(config, ledger, asked)]
        for parcel_id, what in ((asked.cancel, Step.CANCEL), (asked.again, Step.AGAIN)):
            if parcel_id:
                return [_step(ledger, parcel_id, what)]
        return _lines(config, ledger)
    finally:
        ledger.close()


def _send(config: EdgeConfig, ledger: Ledger, asked: argparse.Namespace) -> str:
    labels = Labels(
        kind=FileKind(asked.kind),
        name=asked.name or asked.file.name,
        group=asked.group,
        is_preview=asked.preview,
        priority=asked.priority,
        is_urgent=asked.urgent,
    )
    spool = intake.open_spool(config.buffer.folder)
    # People go on working with their files: what is sent is the file as it is now.
    return f"queued: {intake.queue_file(spool, ledger, asked.file, labels, spool.take_copy)}"


def _step(ledger: Ledger, parcel_id: str, what: Step) -> str:
    if not ledger.write_blocking(lambda c: rows.step(c, parcel_id, what)):
        raise FileUnusable(f"{parcel_id}: there is no such transfer, or it is not in a state for that")
    return f"{what}: {parcel_id}"


def _lines(config: EdgeConfig, ledger: Ledger) -> list[str]:
    zone = ZoneInfo(config.node.timezone)
    up = [words.line(parcel, zone) for parcel in ledger.read_blocking(rows.parcels)]
    down = [words.release_line(release) for release in ledger.read_blocking(releases.releases)]
    return [*(up or ["nothing was queued"]), *(["from the hub:", *down] if down else [])]
