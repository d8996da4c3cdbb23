"""A damaged file: every sound row moves into a new one with a new epoch, the damaged one is kept with the date.

In this order, so that a node that is killed half-way begins again: the new file is filled beside the damaged one,
the damaged one gets its other name, the new one takes its place.
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from telemed.numbers import Run
from telemed.shed import Reason
from telemed.wire import Stamp, is_sound

from edge_node.buffer import outbox, schema, tombstone
from edge_node.buffer.outbox import Batch, StreamState
from edge_node.buffer.sealing import Sealing
from edge_node.buffer.tombstone import GivenUp
from edge_node.one_writer import ASIDE, ENDINGS, set_aside

FRESH, MENDED = ".fresh", ".mended"
CHUNK_IDS = 256
LAST_ID = 2**62
PROBED_IDS = 20_000
"""How many numbers are tried one by one where both ways end at the damage."""
HEADER_BYTES = 100
WAL_VERSIONS = bytes((2, 2))
"""How a head says that a write-ahead log belongs to the file."""
_OWN = frozenset({"log", "meta"})
_RECORD = len(outbox.STORED.split(","))
LOG_COLUMNS = f"{outbox.STORED}, id"
INSERT_LOG = f"INSERT OR IGNORE INTO log ({LOG_COLUMNS}) VALUES ({', '.join('?' * (_RECORD + 1))})"  # noqa: S608
Row = tuple[Any, ...]

log = structlog.get_logger(__name__)


class Saved(NamedTuple):
    """What came of a damaged file."""

    records: int
    damaged: int
    """Rows that were there and could not be used."""


def finish(path: Path) -> None:
    """Give a salvaged file its place where a node was killed just before that."""
    fresh = _beside(path, FRESH)
    if not path.exists() and fresh.exists():
        fresh.rename(path)
    _drop(fresh)
    _drop(_beside(path, MENDED))


def replace(path: Path, label: str, stamp: Stamp, sealing: Sealing) -> Saved:
    """Put a new file with all sound rows of a damaged one in its place; nobody else may have it open.  Blocking.

    Args:
        path: the damaged file; afterwards the new one.
        label: what its kept copy is told by, a date.
        stamp: the present.
        sealing: tells which rows are sound; what it has no key for is taken for sound.

    Raises:
        sqlite3.Error: the new file cannot be made.
    """
    fresh = _beside(path, FRESH)
    _drop(fresh)
    with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as new:
        new.execute("PRAGMA synchronous = FULL")
        schema.prepare(new, path.name)
        new.execute("BEGIN IMMEDIATE")
        saved = _fill(new, path, stamp, sealing)
        new.execute("COMMIT")
    set_aside(path, label)
    fresh.rename(path)
    _drop(_beside(path, MENDED))
    log.error("buffer.salvaged", file=path.name, records=saved.records, damaged=saved.damaged)
    return saved


def kept_aside(folder: Path) -> list[str]:
    """Return the names of damaged files that nobody has taken away yet."""
    return sorted(path.name for path in folder.glob(f"*{ASIDE}*") if not path.name.endswith(ENDINGS[1:]))


def _fill(new: sqlite3.Connection, path: Path, stamp: Stamp, sealing: Sealing) -> Saved:
    """Move what can be read; a file whose head is damaged is read by way of a copy with a sound one."""
    saved = _move(new, path, sealing)
    if saved.records == 0 and _mend(path):
        saved = _move(new, _beside(path, MENDED), sealing)
    _declare_missing(new, stamp, sealing)
    return saved


def _move(new: sqlite3.Connection, damaged: Path, sealing: Sealing) -> Saved:
    records = bad = 0
    with contextlib.closing(sqlite3.connect(f"file:{damaged}?mode=ro", uri=True)) as old:
        for row in _rows(old, "log", LOG_COLUMNS):
            if _is_sound(row, sealing):
                records += new.execute(INSERT_LOG, row).rowcount
            else:
                bad += 1
        for table in _tables(new) - _OWN:
            _move_table(new, old, table)
    return Saved(records, bad)


def _move_table(new: sqlite3.Connection, old: sqlite3.Connection, table: str) -> None:
    # The damaged file may be of an earlier version, which lacks some.
    known = _columns(old, table)
    columns = [name for name in _columns(new, table) if name in known]
    named, marks = ", ".join(columns), ", ".join("?" * len(columns))
    for row in _rows(old, table, named):
        with contextlib.suppress(sqlite3.Error):
            new.execute(f"INSERT OR IGNORE INTO {table} ({named}) VALUES ({marks})", row)  # noqa: S608


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    with contextlib.suppress(sqlite3.Error):
        return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    return []


def _rows(old: sqlite3.Connection, table: str, columns: str) -> Iterator[Row]:
    """Yield the rows of a table that can be read at all: from both ends up to the damage, then what lies in it."""
    select = f"SELECT rowid, {columns} FROM {table} WHERE rowid"  # noqa: S608
    if not _has(old, table):
        return
    forward = _Walk(old, f"{select} > ? ORDER BY rowid LIMIT ?", 0)
    yield from forward.rows()
    if forward.is_whole:
        return
    backward = _Walk(old, f"{select} < ? AND rowid > {forward.at} ORDER BY rowid DESC LIMIT ?", LAST_ID)
    yield from backward.rows()
    until = min(backward.at, forward.at + 1 + PROBED_IDS)
    for first in range(forward.at + 1, until, CHUNK_IDS):
        yield from _probed(old, f"{select} BETWEEN ? AND ?", first, min(first + CHUNK_IDS, until) - 1)


def _has(old: sqlite3.Connection, table: str) -> bool:
    """Whether the file can be read as a database that has this table."""
    try:
        old.execute(f"SELECT 1 FROM {table} LIMIT 0")  # noqa: S608
    except sqlite3.Error:
        return False
    return True


@dataclass(slots=True)
class _Walk:
    """A way through a table that ends where it cannot be read on."""

    connection: sqlite3.Connection
    select: str
    at: int
    is_whole: bool = False
    """Whether it came to the end of the table."""

    def rows(self) -> Iterator[Row]:
        before = None
        with contextlib.suppress(sqlite3.Error):
            while before != self.at:
                before = self.at
                for number, *row in self.connection.execute(self.select, (self.at, CHUNK_IDS)):
                    self.at = number
                    yield tuple(row)
            self.is_whole = True


def _probed(old: sqlite3.Connection, select: str, first: int, last: int) -> Iterator[Row]:
    """Yield what can be read between two numbers, by halves: a damaged page takes its own rows alone."""
    try:
        found = old.execute(select, (first, last)).fetchall()
    except sqlite3.Error:
        if first < last:
            middle = (first + last) // 2
            yield from _probed(old, select, first, middle)
            yield from _probed(old, select, middle + 1, last)
        return
    for _, *row in found:
        yield tuple(row)


def _is_sound(row: Row, sealing: Sealing) -> bool:
    try:
        record = outbox.opened_row(row[:_RECORD], sealing)
        return is_sound(record) or outbox.is_locked(record)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return False


def _mend(path: Path) -> bool:
    """Make a copy whose head is that of a new file of the same kind, its log too; False where there is no room."""
    mended = _beside(path, MENDED)
    try:
        shutil.copyfile(path, mended)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(_beside(path, "-wal"), _beside(mended, "-wal"))
        with _beside(path, FRESH).open("rb") as sound, mended.open("r+b") as file:
            # Bytes 28 to 31 say how long the file is; where 92 to 95 do not fit 24 to 27, its real length counts.
            head = bytearray(sound.read(HEADER_BYTES))
            head[92:96] = bytes(4)
            head[18:20] = WAL_VERSIONS
            file.write(head)
    except OSError as error:
        log.warning("buffer.not-mended", file=path.name, reason=error.strerror)
        return False
    return True


def _declare_missing(new: sqlite3.Connection, stamp: Stamp, sealing: Sealing) -> None:
    """Declare what is no longer there of the numbers that were given out, so that the hub does not wait for it."""
    states, declared = outbox.load_states(new), outbox.load_shed(new)
    batch = Batch(new, outbox.numbers_of(schema.epoch_of(new), states), sealing)
    for key, state in states.items():
        runs = [run for run in _missing(new, state) if run not in declared.get(key, [])]
        if runs:
            outbox.save(batch, [state])
            tombstone.declare(batch, stamp, GivenUp(key, runs, Reason.DAMAGED, state.acked))


def _missing(new: sqlite3.Connection, state: StreamState) -> list[Run]:
    return outbox.missing(new, state.key, state.acked + 1, state.next_seq - 1)


def _tables(connection: sqlite3.Connection) -> set[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {name for (name,) in rows}


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _drop(path: Path) -> None:
    for ending in (*ENDINGS, "-journal"):
        _beside(path, ending).unlink(missing_ok=True)
