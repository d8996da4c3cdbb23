"""What goes is overwritten for as long as that is asked for; then SQLite does as it did before."""

import sqlite3
from contextlib import closing, suppress

import pytest

from edge_node.buffer import outbox, shelves
from edge_node.buffer.outbox import Batch, Numbers
from edge_node.buffer.sealing import Sealing


def mode(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("PRAGMA secure_delete").fetchone()
    return int(found)


@pytest.mark.parametrize(("name", "value"), [("OFF", 0), ("ON", 1), ("FAST", 2)])
def test_afterwards_it_is_as_it_was_before(name: str, value: int) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA secure_delete = {name}").fetchone()
        with suppress(LookupError), outbox.overwriting(connection):
            assert mode(connection) == 1
            raise LookupError
        assert mode(connection) == value


@pytest.mark.parametrize("before", [0, 1])
def test_so_it_is_after_rows_were_sealed_anew_and_old_trends_were_moved(before: int) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE trend (device, measure, minute, n, low, high, last, last_ns)")
        connection.execute(f"PRAGMA secure_delete = {before}").fetchone()
        batch = Batch(connection, Numbers(1), Sealing(is_on=False))
        shelves.seal(batch, shelves.SHELVES[0], [])
        shelves.move_old_trend(batch, 0)
        assert mode(connection) == before
