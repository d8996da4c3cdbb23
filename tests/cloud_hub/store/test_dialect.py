"""Many rows in one go, on both databases."""

import pytest
from sqlalchemy import select

from cloud_hub.store import dialect
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import record, trend

KEY = ("stream_id", "epoch", "seq")


def row(seq: int, payload: bytes = b"first") -> dialect.Row:
    return (1, "00", seq, 20_000, 1, 1, 0, 7, 1, 1, 1, 0, 0, 1, 1, payload, 0)


@pytest.mark.parametrize("count", [1, 2, 127, 128, 129, 300])
def test_of_any_number_of_rows_only_the_new_ones_are_inserted_and_told(samples_db: Database, count: int) -> None:
    known = list(range(1, count + 1, 3))
    samples_db.write_blocking(lambda c: dialect.insert_new(c, record, [row(seq) for seq in known], KEY))

    again = [row(seq, b"second") for seq in range(1, count + 1)]
    new = samples_db.write_blocking(lambda c: dialect.insert_new(c, record, again, KEY))

    assert new == {(1, "00", seq) for seq in range(1, count + 1) if seq not in known}
    found = samples_db.read_blocking(
        lambda c: {one.seq: one.payload for one in c.execute(select(record.c.seq, record.c.payload))}
    )
    assert found == {seq: b"first" if seq in known else b"second" for seq in range(1, count + 1)}


def test_of_many_rows_those_that_are_there_get_the_new_values(samples_db: Database) -> None:
    names = [column.name for column in trend.columns]
    for last in ("97", "98"):
        rows = [(1, minute, "hr", 1, "97", "97", last, 5) for minute in range(200)]
        samples_db.write_blocking(
            lambda c, rows=rows: dialect.upsert(c, trend, names, rows, ("stream_id", "minute", "measure"))  # type: ignore[misc]
        )

    found = samples_db.read_blocking(lambda c: c.execute(select(trend.c.minute, trend.c.last)).all())
    assert sorted(map(tuple, found)) == [(minute, "98") for minute in range(200)]
