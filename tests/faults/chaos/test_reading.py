"""What is read of the product's own files, and that the invariants see a bug that lies in them."""

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection
from telemed.topics import Up
from telemed.wire import Record

from cloud_hub.store.engine import Database
from cloud_hub.store.intake import take
from cloud_hub.store.samples import SampleLedger
from cloud_hub.store.schema import CARE, SAMPLES
from cloud_hub.store.streams import Incoming
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.fakes.containers import CLINIC, EPOCH, T0_NS, numeric
from tests.faults.chaos import invariants
from tests.faults.chaos.reading import Reader
from tests.faults.chaos.seen import EdgeSeen, EdgeStream, Mark

STREAM = "mon-b01/numeric"
KEY = (STREAM, f"{EPOCH:016x}")


def sample(control_id: str) -> Intake:
    now_ns = time.time_ns()
    return Intake(sets=(NumericSet("mon-b01", now_ns, now_ns, (Value("hr", "70", "1"),), source_ref=control_id),))


def hub_files(folder: Path, records: list[Record]) -> None:
    """Let the hub's own store take records into new files."""
    folder.mkdir()
    for name, metadata in (("samples", SAMPLES), ("care", CARE)):
        database = Database(f"sqlite:///{folder}/{name}.db", metadata, name)
        database.migrate()
        if name == "samples":
            database.write_blocking(partial(take_all, records))
        database.close()


def take_all(records: list[Record], connection: Connection) -> None:
    batch = [Incoming(CLINIC, each, each.stamp.wall_ns) for each in records]
    take(connection, SampleLedger(), batch, T0_NS)


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.mark.anyio
async def test_the_nodes_own_files_are_read_with_their_sources(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path / "edge")
    for number in range(3):
        await buffer.store_intake(sample(f"a-{number}"))
    buffer.close()

    seen = Reader(tmp_path / "copies").edge(tmp_path / "edge")

    (key,) = (key for key in seen.streams if key[0] == STREAM)
    assert seen.streams[key] == EdgeStream(next_seq=4, acked=0)
    assert sorted(seen.crcs[key]) == [1, 2, 3]
    assert seen.sources == {"a-0", "a-1", "a-2"}


@pytest.mark.anyio
async def test_a_log_that_is_further_than_the_written_state_is_believed(tmp_path: Path) -> None:
    buffer = Buffer.open(tmp_path / "edge")
    await buffer.store_intake(sample("a-0"))
    buffer.close()
    change(tmp_path / "edge" / "vitals.db", "DELETE FROM state")

    seen = Reader(tmp_path / "copies").edge(tmp_path / "edge")

    assert [state.next_seq for key, state in seen.streams.items() if key[0] == STREAM] == [2]


@pytest.mark.anyio
async def test_a_stream_of_which_no_state_is_written_yet_is_waited_for(tmp_path: Path) -> None:
    reader, folder = Reader(tmp_path / "copies"), tmp_path / "edge"
    buffer = Buffer.open(folder)
    try:
        await buffer.save()
        assert reader.has_written_down(folder)
        await buffer.store_intake(sample("a-0"))
        assert not reader.has_written_down(folder)
        (key,) = buffer.streams(Up.VITALS)
        await buffer.acknowledge(Up.VITALS, {key: 1})
        assert not reader.has_written_down(folder), "known in memory alone"
        await buffer.save()
        assert reader.has_written_down(folder)
    finally:
        buffer.close()


def test_the_hubs_own_files_are_read_dead_or_alive(tmp_path: Path) -> None:
    hub_files(tmp_path / "hub", [numeric(1), numeric(2), numeric(4)])
    reader = Reader(tmp_path / "copies")

    dead = reader.hub(tmp_path / "hub", CLINIC.node, is_dead=True)

    assert dead.marks == {KEY: Mark(2, 4, ((3, 3),))}
    assert [seq for seq, _ in dead.pages[KEY]] == [1, 2, 4]
    assert reader.hub_whatever(tmp_path / "hub", CLINIC.node) == dead
    assert invariants.claims_are_true(dead) == []


def test_a_log_that_goes_into_its_file_while_both_are_copied_takes_no_row_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_files(tmp_path / "hub", [])
    helper = Database(f"sqlite:///{tmp_path}/hub/samples.db", SAMPLES, "samples")
    helper.write_blocking(partial(take_all, [numeric(1), numeric(2)]))
    copied = []

    def copy(source: Path, into: Path) -> None:
        shutil.copyfile(source, into)
        copied.append(source.name)
        if source.name.startswith("samples") and len(copied) == 1:
            helper.close()

    monkeypatch.setattr("shutil.copy", copy)
    seen = Reader(tmp_path / "copies").hub(tmp_path / "hub", CLINIC.node, is_dead=True)

    assert not (tmp_path / "hub" / "samples.db-wal").exists()
    assert seen.marks == {KEY: Mark(2, 2, ())}


def test_a_row_that_is_gone_under_its_watermark_is_found_in_the_files(tmp_path: Path) -> None:
    hub_files(tmp_path / "hub", [numeric(1), numeric(2), numeric(3)])
    change(tmp_path / "hub" / "samples.db", "DELETE FROM record WHERE seq = 2")

    seen = Reader(tmp_path / "copies").hub(tmp_path / "hub", CLINIC.node, is_dead=True)

    assert [each.invariant for each in invariants.claims_are_true(seen)] == ["I3"]


def test_a_changed_checksum_is_found_in_the_files(tmp_path: Path) -> None:
    hub_files(tmp_path / "hub", [numeric(1), numeric(2)])
    reader = Reader(tmp_path / "copies")
    right = reader.hub(tmp_path / "hub", CLINIC.node, is_dead=True)
    change(tmp_path / "hub" / "samples.db", "UPDATE record SET crc = crc + 1 WHERE seq = 2")
    wrong = reader.hub(tmp_path / "hub", CLINIC.node, is_dead=True)
    edge = EdgeSeen({KEY: EdgeStream(3, 2)}, {KEY: dict(right.pages[KEY])})

    assert invariants.no_duplicates(edge, right) == []
    assert [each.invariant for each in invariants.no_duplicates(edge, wrong)] == ["I2"]
    assert invariants.order_is_kept(replace(right, marks={}), wrong) == []


@pytest.mark.anyio
@pytest.mark.parametrize("page", [0.3, 0.6, 0.9])
async def test_a_file_with_pages_that_are_none_is_read_as_far_as_it_goes(tmp_path: Path, page: float) -> None:
    buffer = Buffer.open(tmp_path / "edge")
    for number in range(300):
        await buffer.store_intake(sample(f"a-{number}"))
    buffer.close()
    path = tmp_path / "edge" / "vitals.db"
    whole = len(Reader(tmp_path / "whole").edge(tmp_path / "edge").rows)
    with path.open("r+b") as file:
        file.seek(int(path.stat().st_size * page) // 4096 * 4096)
        file.write(b"\xff" * (path.stat().st_size - file.tell()))
    assert len(Reader(tmp_path / "copies").edge(tmp_path / "edge").rows) < whole == 300
