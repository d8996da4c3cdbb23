"""Deleting what may go, and looking at a buffer from outside (`edge-node buffer inspect`)."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database
from telemed.numbers import epoch_text

from edge_node.buffer import outbox
from edge_node.buffer.outbox import Batch, StreamState
from edge_node.buffer.schema import NAMES

CHUNK_ROWS = 500
"""Rows deleted in one go, so that no measurement waits long behind a clean-up."""

DELETE_KEPT = "DELETE FROM kept WHERE id IN (SELECT id FROM kept WHERE at_ns < ? LIMIT ?)"
DELETE_MINUTES = "DELETE FROM minutes WHERE rowid IN (SELECT rowid FROM minutes WHERE minute < ? LIMIT ?)"
DELETE_TREND = (
    "DELETE FROM trend WHERE (device, minute, measure) IN "
    "(SELECT device, minute, measure FROM trend WHERE minute < ? LIMIT ?)"
)


def delete_run(batch: Batch, state: StreamState, last: int) -> int:
    """Delete at most CHUNK_ROWS of the oldest records of a stream, none after `last`; return how many went.

    How far the stream has come is written down with it: the log alone would not say so any more.
    """
    where = (state.stream, epoch_text(state.epoch), 0)
    first, _ = batch.connection.execute(outbox.SELECT_ENDS, where).fetchone()
    if first is None or first > last:
        return 0
    outbox.save(batch, [state])
    with outbox.freeing(batch):
        return outbox.delete_run(batch.connection, state.key, (first, min(last, first + CHUNK_ROWS - 1)))


def deletion(statement: str, before: int) -> Callable[[Batch], int]:
    """Return work that deletes at most CHUNK_ROWS rows from before `before` and returns how many went."""

    def work(batch: Batch) -> int:
        with outbox.freeing(batch):
            return batch.connection.execute(statement, (before, CHUNK_ROWS)).rowcount

    return work


@dataclass(frozen=True, slots=True)
class StreamReport:
    """A stream as it stands in the file."""

    stream: str
    epoch: str
    next_seq: int
    acked: int


@dataclass(frozen=True, slots=True)
class FileReport:
    """One file of the buffer, for people and tests."""

    name: str
    version: int
    check: str
    """What SQLite says of it; "ok" when sound."""
    bytes_on_disk: int
    rows: dict[str, int]
    streams: tuple[StreamReport, ...]


def inspect(folder: Path) -> list[FileReport]:
    """Return what is in each file of a buffer, read-only; files that are not there are left out.

    Safe beside a running node.
    """
    return [_report(folder / name) for name in NAMES if (folder / name).exists()]


def lines(reports: list[FileReport]) -> list[str]:
    """Return reports as text for a terminal, no content of any record in it."""
    found = []
    for report in reports:
        rows = ", ".join(f"{name} {count}" for name, count in sorted(report.rows.items()) if count)
        found.append(
            f"{report.name}: check {report.check}, version {report.version}, {report.bytes_on_disk} bytes; {rows}"
        )
        found += [
            f"  {stream.stream} epoch {stream.epoch}: {stream.next_seq - 1} stored, {stream.acked} at the hub"
            for stream in report.streams
        ]
    return found


def _report(path: Path) -> FileReport:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        database = Database(connection)
        names = [name for name in database.table_names() if not name.startswith("sqlite_")]
        states = sorted(outbox.load_states(connection).values())
        return FileReport(
            name=path.name,
            version=connection.execute("PRAGMA user_version").fetchone()[0],
            check=connection.execute("PRAGMA quick_check(1)").fetchone()[0],
            bytes_on_disk=path.stat().st_size,
            rows={name: database.table(name).count for name in names},
            streams=tuple(
                StreamReport(state.stream, epoch_text(state.epoch), state.next_seq, state.acked) for state in states
            ),
        )
    finally:
        connection.close()
