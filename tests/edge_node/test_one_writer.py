"""A SQLite file behind one connection of one thread."""

import sqlite3
from pathlib import Path

import pytest
from sqlite_utils import Database
from sqlite_utils.db import Table

from edge_node.one_writer import OneWriter, Tables, is_damage, set_aside

pytestmark = pytest.mark.anyio


class Failed(Exception):
    pass


def failure(error: sqlite3.Error, name: str) -> Failed:
    return Failed(f"{name}: {'damaged' if is_damage(error) else error}")


def _make(database: Database) -> None:
    Table(database, "one").create({"n": int}, pk="n")


TABLES = Tables(1, _make)


def insert(connection: sqlite3.Connection, n: int) -> None:
    connection.execute("INSERT INTO one VALUES (?)", (n,))


def count(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("SELECT count(*) FROM one").fetchone()
    return int(found)


async def test_what_was_written_is_there_and_what_broke_off_is_not(tmp_path: Path) -> None:
    def breaks(connection: sqlite3.Connection) -> None:
        insert(connection, 2)
        raise KeyError("of the work")

    file = OneWriter(tmp_path / "a.db", TABLES, failure)
    await file.write(lambda c: insert(c, 1))
    with pytest.raises(KeyError):
        await file.write(breaks)
    with pytest.raises(Failed, match=r"a\.db: UNIQUE"):
        await file.write(lambda c: insert(c, 1))
    with pytest.raises(Failed, match="no such table"):
        await file.read(lambda c: c.execute("SELECT * FROM other"))
    file.close()
    file.close()
    again = OneWriter(tmp_path / "a.db", TABLES, failure)
    assert again.read_blocking(count) == 1
    again.close()


def test_a_newer_a_damaged_and_a_half_made_file_are_told_apart(tmp_path: Path) -> None:
    def breaks(database: Database) -> None:
        _make(database)
        raise sqlite3.OperationalError("half way")

    path = tmp_path / "a.db"
    with pytest.raises(Failed, match="half way"):
        OneWriter(path, Tables(1, breaks), failure)
    OneWriter(path, TABLES, failure).close()
    with pytest.raises(Failed, match=r"version 1 is newer than this software \(0\)"):
        OneWriter(path, Tables(0, _make), failure)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(Failed, match="damaged"):
        OneWriter(path, TABLES, failure)


def test_a_file_is_set_aside_under_a_name_by_which_its_log_is_still_read_with_it(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    file = OneWriter(path, TABLES, failure)
    file.write_blocking(lambda c: insert(c, 1))
    assert (tmp_path / "a.db-wal").stat().st_size
    kept = set_aside(path, "x")
    assert (kept.name, path.exists(), (tmp_path / "a.db-wal").exists()) == ("a.db.damaged-x", False, False)
    with sqlite3.connect(f"file:{kept}?mode=ro", uri=True) as found:
        assert count(found) == 1
    found.close()
    file.close()
