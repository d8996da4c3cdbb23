"""The walk through the records that are kept as they came: all of a site's streams, in pieces of bounded work."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.event import listen, remove
from telemed.v1 import alarm_pb2
from telemed.wire import SCHEMA, Kind, pack

from cloud_hub.store import remains
from cloud_hub.store.engine import Database
from cloud_hub.store.erasure import Traces
from cloud_hub.store.remains import FIRST_RECORD, RecordAt
from cloud_hub.store.schema import care_record, care_stream

WHERE = ("baoshan", "clinic")
STREAMS = {1: "clinic", 2: "other", 3: "clinic", 4: "clinic"}
"""Stream to its site."""
EPOCHS, NUMBERS = ("0" * 15 + "a", "0" * 15 + "b"), range(1, 6)
TRACES = Traces("p", frozenset(), frozenset(), frozenset())
MOST = 3


def fill(connection: Connection) -> None:
    codec, payload = pack(alarm_pb2.AlarmEvent(alarm_id="a", person_id="p", note="x").SerializeToString())
    same: dict[str, object] = {"kind": int(Kind.ALARM_EVENT), "crc": 1, "wall_ns": 1, "received_ns": 1}
    same |= {"codec": int(codec), "schema": SCHEMA, "payload": payload}
    for stream_id, site in STREAMS.items():
        place = {"region": WHERE[0], "site": site, "node": f"n{stream_id}", "name": "node/alarm", "device": "node"}
        connection.execute(insert(care_stream).values(id=stream_id, **place, first_seen_ns=1))
        rows = [{**same, "stream_id": stream_id, "epoch": epoch, "seq": seq} for epoch in EPOCHS for seq in NUMBERS]
        connection.execute(insert(care_record), rows)


def walk(database: Database) -> list[int]:
    """How many records each piece of a walk emptied."""
    after: RecordAt | None = FIRST_RECORD
    pieces = []
    while after is not None:
        looked = database.write_blocking(lambda c, a=after: remains.empty_records(c, WHERE, TRACES, 0, a))  # type: ignore[misc]
        pieces.append(looked.emptied)
        after = looked.after
    return pieces


def test_all_records_of_the_sites_streams_are_reached_and_of_no_other(
    care_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remains, "CHUNK", MOST)
    care_db.write_blocking(fill)
    pieces = walk(care_db)
    assert (sum(pieces), max(pieces)) == (3 * len(EPOCHS) * len(NUMBERS), MOST)
    c = care_record.c
    whole = care_db.read_blocking(lambda o: o.execute(select(c.stream_id).where(c.mark.is_(None))).scalars().all())
    assert set(whole) == {2}
    assert sum(walk(care_db)) == 0


def test_a_piece_reads_no_more_rows_than_it_may_wherever_it_goes_on(
    care_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    if care_db.is_postgres:
        pytest.skip("the plan of SQLite is asked for")
    monkeypatch.setattr(remains, "CHUNK", MOST)
    care_db.write_blocking(fill)
    asked = list[tuple[str, Sequence[Any]]]()

    def note(*args: Any) -> None:
        asked.append((args[2], args[3]))

    listen(care_db._engine, "before_cursor_execute", note)
    walk(care_db)
    remove(care_db._engine, "before_cursor_execute", note)
    reading = {query: values for query, values in asked if query.startswith("SELECT care_record")}
    ((query, values),) = reading.items()
    plan = care_db.read_blocking(lambda c: c.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", tuple(values)).all())
    (step,) = (row.detail for row in plan)
    assert step.endswith("(stream_id=? AND (epoch,seq)>(?,?))")
