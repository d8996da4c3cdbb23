"""Somebody who has the database file: opens it, takes its triggers away, and changes a trail (no code of the product).

Each way returns once the file is committed.  `thorough` ways also make the hashes anew, correct the note of the last
entry, and delete the signed heads: all that can be done without the key.
"""

import hashlib
import random
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Trail:
    """Where a trail lies in a file."""

    table: str
    number: str
    """Its column of numbers."""
    fields: tuple[str, ...]
    """The columns that are hashed after the number, in the order of the format: at_ns first."""
    heads: str = ""
    state: str = ""
    where: str = "1"
    """Which rows of the table are of the trail."""


HUB = Trail(
    "audit",
    "id",
    ("at_ns", "actor", "role", "action", "object", "result", "region", "site"),
    "audit_head",
    "audit_chain",
)


def tamper(path: Path, trail: Trail, draw: random.Random) -> str:
    """Change a trail in a way drawn at random and return which; afterwards it is not what was written."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f"DROP TRIGGER {name}")
        file.execute("BEGIN IMMEDIATE")
        way = draw.choice(WAYS)
        way(file, trail, draw)
        file.execute("COMMIT")
        return way.__name__


def count(file: sqlite3.Connection, trail: Trail) -> int:
    """Count the entries of a trail."""
    (found,) = file.execute(f"SELECT count(*) FROM {trail.table} WHERE {trail.where}").fetchone()
    return int(found)


def edit_a_column(file: sqlite3.Connection, trail: Trail, draw: random.Random) -> None:
    """Change one column of one entry."""
    column = draw.choice([*trail.fields, "prev_hash", "hash"])
    n = draw.randint(1, count(file, trail))
    value = "x" if column != "at_ns" else draw.randint(1, 10**18)
    file.execute(f"UPDATE {trail.table} SET {column} = ? WHERE {trail.number} = ? AND {trail.where}", (value, n))


def edit_and_hash_anew(file: sqlite3.Connection, trail: Trail, draw: random.Random) -> None:
    """Change one entry and give it the hash that belongs to it, but not those after it."""
    most = count(file, trail)
    n = draw.randint(1, most)
    column = draw.choice(trail.fields[1:])
    file.execute(f"UPDATE {trail.table} SET {column} = 'x' WHERE {trail.number} = ? AND {trail.where}", (n,))
    hash_anew(file, trail, n, n)


def delete_the_first(file: sqlite3.Connection, trail: Trail, _draw: random.Random) -> None:
    """Take away the first entry."""
    _delete(file, trail, 1)


def delete_one(file: sqlite3.Connection, trail: Trail, draw: random.Random) -> None:
    """Take away an entry; half of the times the later ones move up."""
    most = count(file, trail)
    n = draw.randint(1, most)
    _delete(file, trail, n)
    if draw.random() < 0.5:
        for later in range(n + 1, most + 1):
            _renumber(file, trail, later, later - 1)


def delete_the_last(file: sqlite3.Connection, trail: Trail, _draw: random.Random) -> None:
    """Take away the last entry, and correct the note of the last entry."""
    _delete(file, trail, count(file, trail))
    _correct_state(file, trail)


def cut_the_tail(file: sqlite3.Connection, trail: Trail, draw: random.Random) -> None:
    """Take away everything from some entry on, thoroughly."""
    n = draw.randint(1, count(file, trail))
    file.execute(f"DELETE FROM {trail.table} WHERE {trail.number} >= ? AND {trail.where}", (n,))
    _unsign(file, trail)
    _correct_state(file, trail)


def swap_two(file: sqlite3.Connection, trail: Trail, draw: random.Random) -> None:
    """Give two entries each other's number."""
    one, two = draw.sample(range(1, count(file, trail) + 1), 2)
    _renumber(file, trail, one, 10**9)
    _renumber(file, trail, two, one)
    _renumber(file, trail, 10**9, two)


def put_one_in(file: sqlite3.Connection, trail: Trail, draw: random.Random) -> None:
    """Put a copy of an entry between two others."""
    most = count(file, trail)
    n = draw.randint(1, most)
    for later in range(most, n - 1, -1):
        _renumber(file, trail, later, later + 1)
    names = [row[1] for row in file.execute(f"PRAGMA table_info({trail.table})") if row[1] != trail.number]
    listed = ", ".join(names)
    file.execute(
        f"INSERT INTO {trail.table} ({trail.number}, {listed}) SELECT ?, {listed} FROM {trail.table} "
        f"WHERE {trail.number} = ? AND {trail.where}",
        (n, n + 1),
    )


def rewrite_from_some_entry_on(file: sqlite3.Connection, trail: Trail, draw: random.Random) -> None:
    """Change an entry and make all hashes from there on anew, thoroughly."""
    most = count(file, trail)
    n = draw.randint(1, most)
    column = draw.choice(trail.fields[1:])
    file.execute(f"UPDATE {trail.table} SET {column} = 'x' WHERE {trail.number} = ? AND {trail.where}", (n,))
    hash_anew(file, trail, n, most)
    if draw.random() < 0.5:
        _unsign(file, trail)
    _correct_state(file, trail)


WAYS: list[Callable[[sqlite3.Connection, Trail, random.Random], None]] = [
    edit_a_column,
    edit_and_hash_anew,
    delete_the_first,
    delete_one,
    delete_the_last,
    cut_the_tail,
    swap_two,
    put_one_in,
    rewrite_from_some_entry_on,
]


def hash_anew(file: sqlite3.Connection, trail: Trail, first: int, last: int) -> None:
    """Make the hashes of entries anew, as the text of the format says."""
    name = _name_of(file, trail)
    columns = ", ".join(trail.fields)
    for n in range(first, last + 1):
        before = file.execute(
            f"SELECT hash FROM {trail.table} WHERE {trail.number} = ? AND {trail.where}", (n - 1,)
        ).fetchone()
        previous = before[0] if before else hashlib.sha256(b"yuanzhen/audit/begin/1\0" + _text(name)).hexdigest()
        at_ns, *words = file.execute(
            f"SELECT {columns} FROM {trail.table} WHERE {trail.number} = ? AND {trail.where}", (n,)
        ).fetchone()
        body = b"yuanzhen/audit/entry/1\0" + _text(name) + struct.pack(">Q", n) + bytes.fromhex(previous)
        body += struct.pack(">q", at_ns) + b"".join(_text(word) for word in words)
        file.execute(
            f"UPDATE {trail.table} SET prev_hash = ?, hash = ? WHERE {trail.number} = ? AND {trail.where}",
            (previous, hashlib.sha256(body).hexdigest(), n),
        )


def _name_of(file: sqlite3.Connection, trail: Trail) -> str:
    source = trail.state or trail.table
    return str(file.execute(f"SELECT trail FROM {source} WHERE {trail.where if not trail.state else 1}").fetchone()[0])


def _text(word: str) -> bytes:
    return struct.pack(">I", len(word.encode())) + word.encode()


def _delete(file: sqlite3.Connection, trail: Trail, n: int) -> None:
    file.execute(f"DELETE FROM {trail.table} WHERE {trail.number} = ? AND {trail.where}", (n,))


def _renumber(file: sqlite3.Connection, trail: Trail, was: int, becomes: int) -> None:
    file.execute(
        f"UPDATE {trail.table} SET {trail.number} = ? WHERE {trail.number} = ? AND {trail.where}", (becomes, was)
    )


def _unsign(file: sqlite3.Connection, trail: Trail) -> None:
    if trail.heads:
        file.execute(f"DELETE FROM {trail.heads}")


def _correct_state(file: sqlite3.Connection, trail: Trail) -> None:
    if not trail.state:
        return
    last = file.execute(
        f"SELECT {trail.number}, hash FROM {trail.table} ORDER BY {trail.number} DESC LIMIT 1"
    ).fetchone()
    name = _name_of(file, trail)
    begun = hashlib.sha256(b"yuanzhen/audit/begin/1\0" + _text(name)).hexdigest()
    file.execute(f"UPDATE {trail.state} SET n = ?, hash = ?", last or (0, begun))
