"""`edge-node audit verify | anchors`: whether this node's audit trail is as it was written, in plain words.

Reads only, and may be run beside a running node.  What it cannot see: entries after the last signed head that were
taken away (at most about a minute; the hub has them, as soon as there is a link), and a trail that was replaced by
somebody who has the node's key too; against that stand the anchors that the hub keeps.
"""

import argparse
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from telemed.audit import Head, head_line, head_of_line
from telemed.audit_check import Walk, first_fault
from telemed.audit_seal import SealUnusable, last_head, public_of

from edge_node.buffer import auditlog
from edge_node.buffer.opening import translated
from edge_node.buffer.schema import CARE
from edge_node.config import EdgeConfig
from edge_node.errors import ConfigRefused

NAME = "audit"


@dataclass(frozen=True, slots=True)
class Report:
    """What is printed, and whether all is well."""

    lines: list[str] = field(default_factory=list)
    is_sound: bool = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked for to the parser of `audit`."""
    parser.add_argument("action", choices=("verify", "anchors"), help="verify: exit status 1 where it is not sound")
    parser.add_argument("--anchors", type=Path, help="verify: folder of anchors that the hub gave out")
    parser.add_argument("--out", type=Path, help="anchors: folder to write the hub's heads to that are kept here")


def run(config: EdgeConfig, options: argparse.Namespace) -> Report:
    """Do what was asked.

    Raises:
        ConfigRefused: the key or a file of anchors cannot be read or written.
        BufferFailure: the store cannot be read.
    """
    folder = config.buffer.folder
    try:
        with closing(sqlite3.connect(f"file:{folder / CARE}?mode=ro", uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            if options.action == "anchors":
                return _give_out(connection, config, options.out)
            public = public_of(folder)
            told = [] if options.anchors is None else _read_anchors(options.anchors)
            return verify(connection, public, [*told, *filter(None, [last_head(folder)])])
    except SealUnusable as error:
        raise ConfigRefused(f"buffer.folder: {error}") from error
    except sqlite3.Error as error:
        raise translated(error, CARE) from error


def verify(connection: sqlite3.Connection, public: str, anchors: Sequence[Head]) -> Report:
    """Follow the trail; it must agree with its heads and with the anchors."""
    own, last = auditlog.heads(connection), auditlog.state(connection)
    heads = [*own, *anchors]
    trail = last.trail if last is not None else next((head.trail for head in heads), "")
    walk = Walk(trail, heads, {public} if public else ())
    fault = first_fault(walk, auditlog.links(connection, trail))
    if fault is not None:
        zh, en = fault.words()
        return Report([f"不完整：{zh} / not sound: {en} [{fault.finding}]"], is_sound=False)
    lines = [
        f"完整，共 {walk.n} 条，签名到第 {walk.sealed_n} 条 / sound, {walk.n} entries, signed up to {walk.sealed_n}"
    ]
    if not public and own:
        lines.append("没有签名钥匙，签名未核对 / no key here, so whose signatures these are was not checked")
    return Report(lines)


def _give_out(connection: sqlite3.Connection, config: EdgeConfig, folder: Path | None) -> Report:
    kept = auditlog.anchors(connection)
    if folder is None:
        raise ConfigRefused("--out: say which folder the anchors go to")
    path = folder / f"hub-{config.node.site}-{config.node.node}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(head_line(head) + "\n" for head in kept), encoding="utf-8")
    except OSError as error:
        raise ConfigRefused(f"--out: {path}: {error.strerror}") from error
    return Report([f"{path}: {len(kept)}"])


def _read_anchors(folder: Path) -> list[Head]:
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise ConfigRefused(f"--anchors: {folder}: no file of anchors (*.jsonl)")
    found = []
    for path in paths:
        try:
            found += [head_of_line(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise ConfigRefused(f"--anchors: {path}: no file of anchors: {error}") from error
    return found
