"""`cloud-hub audit verify | anchors`: whether the audit trails are as they were written, in plain words.

Reads only, and may be run while the hub serves.  What it cannot see: entries after the last signed head that were
taken away or changed together with all that follows them (at most about a minute), and a trail that was replaced as
a whole by somebody who has the hub's key too; against that stand the anchors that the nodes keep.
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection
from telemed.audit import RESULT_CHARS, Head, Link, head_line, head_of_line
from telemed.audit_check import Fault, Finding, Walk, first_fault
from telemed.audit_seal import SealUnusable, last_head, public_of

from cloud_hub.config import HubConfig
from cloud_hub.errors import BadRequest, ConfigRefused
from cloud_hub.store import audit_trail, edge_trails
from cloud_hub.store.edge_trails import HEAD_ACTION, EdgeTrail
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE

Marks = dict[str, dict[int, str]]
"""What the hub's own trail says of the nodes' heads: trail -> number -> beginning of the hash."""


@dataclass(slots=True)
class Report:
    """What is printed, and whether all is well."""

    lines: list[str] = field(default_factory=list)
    is_sound: bool = True

    def say(self, name: str, fault: Fault | None, count: int, sealed: int) -> None:
        """Add the line about one trail."""
        if fault is None:
            self.lines.append(
                f"{name}: 完整，共 {count} 条，签名到第 {sealed} 条 / sound, {count} entries, signed up to {sealed}"
            )
            return
        zh, en = fault.words()
        self.is_sound = False
        self.lines.append(f"{name}: 不完整：{zh} / not sound: {en} [{fault.finding}]")


def add_arguments(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Add the sub-commands to the parser of `audit` and return their parsers, for what all commands are told."""
    actions = parser.add_subparsers(dest="action", required=True)
    verify = actions.add_parser("verify", help="follow all trails; exit status 1 where one is not as it was written")
    verify.add_argument("--anchors", type=Path, help="folder of anchors that nodes gave out (edge-node audit anchors)")
    anchors = actions.add_parser("anchors", help="give out the heads of the nodes' trails that are kept here")
    anchors.add_argument("--out", type=Path, required=True, help="folder; one file for each node")
    return [verify, anchors]


def run(config: HubConfig, options: argparse.Namespace) -> Report:
    """Do what was asked.

    Raises:
        BadRequest: the folder of anchors cannot be read or written, or holds something else.
        ConfigRefused: the key cannot be read.
        StoreFailure: the database cannot be read.
    """
    try:
        public = public_of(config.audit.folder)
    except SealUnusable as error:
        raise ConfigRefused(f"audit.folder: {error}") from error
    database = Database(config.store.care_url, CARE, "care")
    try:
        if options.action == "anchors":
            return database.read_blocking(lambda connection: _give_out(connection, config.region, options.out))
        anchors = [] if options.anchors is None else list(_read_anchors(options.anchors))
        return database.read_blocking(lambda connection: verify(connection, config, public, anchors))
    finally:
        database.close()


def verify(connection: Connection, config: HubConfig, public: str, anchors: Sequence[Head]) -> Report:
    """Follow the hub's trail and those of the nodes; each must agree with its heads and with the anchors."""
    report = Report()
    noted = last_head(config.audit.folder)
    known = edge_trails.trails(connection, config.region)
    edge_names = {one.trail for one in known}
    own = [head for head in anchors if head.trail not in edge_names] + ([noted] if noted is not None else [])
    marks = _verify_own(connection, public, report, own)
    for one in known:
        told = [head for head in anchors if head.trail == one.trail]
        _verify_edge(connection, one, report, told, marks.pop(one.trail, {}))
    for trail, left in marks.items():
        report.say(trail[:8], Fault(Finding.CUT, min(left)), 0, 0)
    return report


def _verify_own(connection: Connection, public: str, report: Report, anchors: Sequence[Head]) -> Marks:
    state = audit_trail.state(connection)
    walk = Walk(state.trail, [*audit_trail.heads(connection), *anchors], {public} if public else ())
    marks: Marks = {}
    fault = first_fault(walk, _marking(audit_trail.links(connection), marks))
    if fault is None and (walk.n, walk.hash) != (state.n, state.hash):
        fault = Fault(Finding.STATE, walk.n)
    report.say("hub", fault, walk.n, walk.sealed_n)
    if not public:
        report.lines.append(
            "hub: 没有签名钥匙，签名未核对 / no key here, so whose signatures these are was not checked"
        )
    return marks


def _marking(links: Iterable[Link], marks: Marks) -> Iterator[Link]:
    """Pass links on, and note what they say of heads of the nodes."""
    for link in links:
        target = str(link.entry.target).split("/")
        if link.entry.action == HEAD_ACTION and len(target) == 3 and target[2].isdecimal():
            marks.setdefault(target[1], {})[int(target[2])] = link.entry.result
        yield link


def _verify_edge(
    connection: Connection, one: EdgeTrail, report: Report, anchors: Sequence[Head], marks: dict[int, str]
) -> None:
    heads = [*edge_trails.heads(connection, one.address, one.trail), *anchors]
    walk = Walk(one.trail, heads, {one.key} if one.key else ())
    fault = first_fault(walk, _marked(edge_trails.links(connection, one.address, one.trail), marks))
    if fault is None and marks:
        missing = min(marks)
        fault = Fault(Finding.CUT if missing > walk.n else Finding.REWRITTEN, min(missing, walk.n + 1))
    name = f"{one.address.site}/{one.address.node} {one.trail[:8]}"
    report.say(name, fault, walk.n, walk.sealed_n)
    if one.fault and fault is None:
        report.is_sound = False
        report.lines.append(f"{name}: 到达时曾不符，第 {one.fault_n} 条 / did not verify when it arrived [{one.fault}]")


def _marked(links: Iterable[Link], marks: dict[int, str]) -> Iterator[Link]:
    """Pass links on, and take out the marks of the hub's own trail that they meet."""
    for link in links:
        if marks.get(link.n) == str(link.hash)[:RESULT_CHARS]:
            del marks[link.n]
        yield link


def _give_out(connection: Connection, region: str, folder: Path) -> Report:
    report = Report()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in edge_trails.trails(connection, region):
            path = folder / f"{one.address.site}-{one.address.node}-{one.trail[:8]}.jsonl"
            heads = edge_trails.heads(connection, one.address, one.trail)
            path.write_text("".join(head_line(head) + "\n" for head in heads), encoding="utf-8")
            report.lines.append(f"{path}: {len(heads)}")
    except OSError as error:
        raise BadRequest(f"{folder}: {error.strerror}", ["out"]) from error
    return report


def _read_anchors(folder: Path) -> Iterator[Head]:
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise BadRequest(f"{folder}: no file of anchors (*.jsonl)", ["anchors"])
    for path in paths:
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                yield head_of_line(line)
        except (OSError, ValueError) as error:
            raise BadRequest(f"{path}: no file of anchors: {error}", ["anchors"]) from error
