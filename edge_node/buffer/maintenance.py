"""Deleting what may go, and looking at a buffer from outside (`edge-node buffer inspect`)."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database
from telemed.topics import Up

from edge_node.buffer.outbox import Batch
from edge_node.buffer.schema import FILES

CHUNK_ROWS = 500
"""Rows deleted in one go, so that no measurement waits long behind a clean-up."""
SEEN_KEEP_HOURS = 72

DELETE_ACKED = (
    "DELETE FROM log WHERE id IN (SELECT log.id FROM log JOIN state USING (stream, epoch) "
    "WHERE log.wall_ns < ? AND log.seq <= state.acked ORDER BY log.wall_ns LIMIT ?)"
)
DELETE_SEEN = "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at_ns < ? LIMIT ?)"
DELETE_KEPT = "DELETE FROM kept WHERE id IN (SELECT id FROM kept WHERE at_ns < ? LIMIT ?)"
DELETE_TREND = (
    "DELETE FROM trend WHERE (device, minute, measure) IN "
    "(SELECT device, minute, measure FROM trend WHERE minute < ? LIMIT ?)"
)


def deletion(statement: str, before: int) -> Callable[[Batch], int]:
    """Return work that deletes at most CHUNK_ROWS rows from before `before` and returns how many went."""

    def work(batch: Batch) -> int:
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
    return [_report(folder / name, up) for up, name in FILES.items() if (folder / name).exists()]


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


def set_aside(folder: Path, up: Up, label: str) -> list[Path]:
    """Rename a damaged file (and its WAL) out of the way, so that the next start makes a new one and a new epoch.

    Nothing is deleted; returns the new names.  The node must not be running.
    """
    moved = []
    for ending in ("", "-wal", "-shm"):
        path = folder / (FILES[up] + ending)
        if path.exists():
            moved.append(path.rename(folder / f"{path.name}.damaged-{label}"))
    return moved


def _report(path: Path, up: Up) -> FileReport:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        database = Database(connection)
        names = [name for name in database.table_names() if not name.startswith("sqlite_")]
        states = connection.execute("SELECT stream, epoch, next_seq, acked FROM state ORDER BY stream, epoch")
        return FileReport(
            name=FILES[up],
            version=connection.execute("PRAGMA user_version").fetchone()[0],
            check=connection.execute("PRAGMA quick_check(1)").fetchone()[0],
            bytes_on_disk=path.stat().st_size,
            rows={name: database.table(name).count for name in names},
            streams=tuple(StreamReport(*row) for row in states),
        )
    finally:
        connection.close()
