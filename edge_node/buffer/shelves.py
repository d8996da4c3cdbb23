"""Where in the store sealed values stand, and how a few rows of a table are looked at and sealed anew (SQL alone)."""

import contextlib
import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from edge_node.buffer import envelope, eventlog, history, outbox
from edge_node.buffer.keyring import CARE_SCOPE, KEPT_SCOPE, Place
from edge_node.buffer.outbox import Batch
from edge_node.buffer.schema import ALARM, CARE, VITALS
from edge_node.buffer.sealing import Sealing, day_of
from edge_node.buffer.trend import MINUTE_NS, Fold, Minute, sound_fold

LOOKED_ROWS, CHUNK_ROWS = 2000, 100
"""Rows looked at in one go, and rows that one transaction seals."""
SELECT_OLD_TREND = (
    "SELECT rowid, device, measure, minute, n, low, high, last, last_ns FROM trend "
    "WHERE rowid > ? ORDER BY rowid LIMIT ?"
)
DELETE_OLD_TREND = "DELETE FROM trend WHERE rowid = ?"


@dataclass(frozen=True, slots=True)
class Shelf:
    """A column of a table that holds what is sealed."""

    file: str
    table: str
    stored: str
    about: str
    """SQL that says what a value belongs to."""
    scope: str
    """SQL that says whose key it is sealed with: a stream, or a scope."""
    at_ns: str
    """SQL that says of when it is; 0 where all days share a key."""
    key: str = "NULL"
    """Column with what a message is known by."""
    flag: str = ""
    """Column that says whether a value is sealed; empty: the value says so itself."""

    @property
    def look(self) -> str:
        """Statement that tells how some rows after one are stored."""
        prefix = f"substr({self.stored}, 1, {envelope.PREFIX_BYTES})"
        if self.flag:
            prefix = f"CASE {self.flag} WHEN 1 THEN {prefix} ELSE x'ff' END"
        return f"SELECT rowid, {prefix} FROM {self.table} WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608

    @property
    def read(self) -> str:
        """Statement that reads one row."""
        columns = f"{self.about}, {self.scope}, {self.at_ns}, {self.key}, {self.flag or 1}, {self.stored}"
        return f"SELECT {columns} FROM {self.table} WHERE rowid = ?"  # noqa: S608

    def place(self, scope: str, at_ns: int) -> Place:
        """Return what shares the key of a row."""
        return Place(scope.rpartition("/")[0] or scope, day_of(at_ns))


def _log(file: str, key: str = "NULL") -> Shelf:
    return Shelf(file, "log", "payload", outbox.ABOUT, "stream", "wall_ns", key)


SHELVES = (
    Shelf(CARE, "event", "body", eventlog.ABOUT_EVENT, f"'{CARE_SCOPE}'", "0"),
    Shelf(CARE, "pending", "body", eventlog.ABOUT_PENDING, f"'{CARE_SCOPE}'", "0"),
    Shelf(VITALS, "kept", "raw", "'kept ' || at_ns", f"'{KEPT_SCOPE}'", "at_ns", "key", "is_sealed"),
    Shelf(VITALS, "minutes", "body", history.ABOUT_MINUTE, "device", f"minute * {MINUTE_NS}"),
    _log(CARE),
    _log(ALARM),
    _log(VITALS, "key"),
)
"""In this order: names of people first."""


class Looked(NamedTuple):
    """What a look at some rows found."""

    last: int
    """The row that was looked at last; 0 = there are no more."""
    todo: list[int]
    """Those that are not stored as they would be now."""
    met: set[int]
    """Ids of the keys of the others."""


def newest_keys(connection: sqlite3.Connection, name: str) -> Counter[int]:
    """Return how many of the newest rows of a file stand under each key; of what cannot be read none do."""
    found: Counter[int] = Counter()
    for shelf in SHELVES:
        if shelf.file != name:
            continue
        newest = shelf.look.replace("ORDER BY rowid", "ORDER BY rowid DESC")
        with contextlib.suppress(sqlite3.Error):
            for _, prefix in connection.execute(newest, (0, CHUNK_ROWS)):
                key_id = envelope.key_id_of(prefix) if isinstance(prefix, bytes) else None
                found.update((key_id,) if key_id else ())
    return found


def look(connection: sqlite3.Connection, shelf: Shelf, after: int, sealing: Sealing) -> Looked:
    """Look at some rows after one."""
    last, todo, met = 0, list[int](), set[int]()
    for last, prefix in connection.execute(shelf.look, (after, LOOKED_ROWS)):
        if not isinstance(prefix, bytes):
            continue
        key_id = envelope.key_id_of(prefix)
        if not sealing.is_present(prefix):
            todo.append(last)
        elif key_id is not None:
            met.add(key_id)
        if len(todo) == CHUNK_ROWS:
            break
    return Looked(last, todo, met)


class Sealed(NamedTuple):
    """What became of rows that were to be sealed anew."""

    rows: int
    left: set[int]
    """Ids of the keys of those that could not be opened, and stay as they are."""


def seal(batch: Batch, shelf: Shelf, rows: list[int]) -> Sealed:
    """Seal some rows anew; what the disk has damaged stays as it is."""
    # Else the plain text would stay in what the row leaves free.
    with outbox.overwriting(batch.connection):
        left = [key_id for key_id in (_seal_row(batch, shelf, row) for row in rows) if key_id is not None]
    return Sealed(len(rows) - len(left), set(left))


def _seal_row(batch: Batch, shelf: Shelf, row: int) -> int | None:
    """Seal a row anew; return the id of the key that it still needs where it cannot be opened, 0 = none."""
    found = batch.connection.execute(shelf.read, (row,)).fetchone()
    if found is None:
        return None
    about, scope, at_ns, key, is_sealed, stored = found
    content = _content(batch.sealing, about, is_sealed, stored)
    if not isinstance(content, bytes) or not isinstance(scope, str) or not isinstance(at_ns, int):
        return (envelope.key_id_of(stored) if isinstance(stored, bytes) else None) or 0
    values: dict[str, int | bytes] = {shelf.flag: 1} if shelf.flag else {}
    if content is stored:
        if shelf.table == "log":
            (crc,) = batch.connection.execute("SELECT crc FROM log WHERE rowid = ?", (row,)).fetchone()
            if not outbox.is_checksum(crc):
                return 0
            values["crc"], content = outbox.SEALED_CRC, outbox.with_crc(crc, content)
        if isinstance(key, bytes):
            values["key"] = batch.sealing.hidden(key)
    values[shelf.stored] = batch.sealing.seal(shelf.place(scope, at_ns), content, about)
    pairs = ", ".join(f"{name} = ?" for name in values)
    batch.connection.execute(f"UPDATE {shelf.table} SET {pairs} WHERE rowid = ?", (*values.values(), row))  # noqa: S608
    return None


def _content(sealing: Sealing, about: str, is_sealed: int | None, stored: object) -> object:
    """Return what a value says, itself where it is open; see `Sealing.opened`.

    Where its row does not say whether it is sealed (None), what no key of this store fits came as it is.
    """
    if is_sealed == 0:
        return stored
    found = sealing.opened(about, stored)
    is_as_it_came = is_sealed is None and isinstance(stored, bytes) and not isinstance(found, bytes)
    return stored if is_as_it_came and not sealing.may_be_sealed(stored) else found  # type: ignore[arg-type]


def move_old_trend(batch: Batch, after: int) -> int:
    """Join some minutes that version 4 wrote to those of now; return the row to go on after, 0 = there are no more."""
    rows = batch.connection.execute(SELECT_OLD_TREND, (after, CHUNK_ROWS)).fetchall()
    folds: dict[Minute, Fold] = {}
    sound: list[tuple[int, str, int]] = []
    for number, device, measure, minute, *values in rows:
        fold = sound_fold(values)
        # Else the row stays where it is.
        if fold is not None and isinstance(device, str) and isinstance(measure, str) and isinstance(minute, int):
            folds[device, measure, minute] = fold
            sound.append((number, device, minute))
    left = history.join_minutes(batch, folds)
    gone = [(number,) for number, device, minute in sound if (device, minute) not in left]
    with outbox.overwriting(batch.connection):
        batch.connection.executemany(DELETE_OLD_TREND, gone)
    return rows[-1][0] if rows else 0
