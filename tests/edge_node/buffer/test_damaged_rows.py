"""Rows that the disk damaged in a place other than their payload: they cost themselves alone (fault 6)."""

import sqlite3
import time
from pathlib import Path

import pytest
from telemed.shed import Reason
from telemed.topics import Up
from telemed.v1 import shed_pb2

from edge_node.buffer import maintenance
from edge_node.buffer.outbox import StreamKey
from edge_node.buffer.schema import VITALS
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.fakes.outbox import key_of

COUNT = 9
STREAM = "mon-b01/numeric"
pytestmark = pytest.mark.anyio


async def filled(folder: Path, harm: str) -> Buffer:
    """Return a store of COUNT records that was opened after somebody changed its rows by an SQL statement."""
    buffer = Buffer.open(folder, group_commit_ms=0)
    now_ns = time.time_ns()
    for number in range(COUNT):
        value = Value("hr", str(60 + number), "/min")
        await buffer.store_intake(Intake(sets=(NumericSet("mon-b01", now_ns, now_ns, (value,)),)))
    await buffer.save()
    buffer.close()
    with sqlite3.connect(folder / VITALS) as worn:
        worn.execute(harm)
    worn.close()
    return Buffer.open(folder, group_commit_ms=0)


async def declared(buffer: Buffer) -> dict[int, str]:
    """Return every number of the stream that was given up, and why."""
    found: dict[int, str] = {}
    for record in await buffer.read_run(Up.VITALS, key_of(buffer, Up.VITALS, "node/shed"), 1, COUNT):
        message = shed_pb2.Shed.FromString(record.body())
        found |= {seq: message.reason for run in message.ranges for seq in range(run.first, run.last + 1)}
    return found


async def numbers(buffer: Buffer, first: int, last: int) -> list[int]:
    found = await buffer.read_run(Up.VITALS, key_of(buffer, Up.VITALS, STREAM), first, last)
    return [record.seq for record in found]


@pytest.mark.parametrize("harm", ["codec = 77", "offset_ms = 9999999999", "payload = 'text'", "schema = 'x'"])
async def test_any_damaged_field_of_a_row_costs_that_row_alone(tmp_path: Path, harm: str) -> None:
    buffer = await filled(tmp_path, f"UPDATE log SET {harm} WHERE seq = 4")
    assert await numbers(buffer, 1, COUNT) == [1, 2, 3, 5, 6, 7, 8, 9]
    assert await buffer.scrub() == 1
    assert await declared(buffer) == {4: Reason.DAMAGED}
    buffer.close()


async def test_where_all_that_was_asked_for_is_damaged_the_next_sound_record_is_read(tmp_path: Path) -> None:
    buffer = await filled(tmp_path, "UPDATE log SET payload = x'00' WHERE seq BETWEEN 4 AND 6")
    assert await numbers(buffer, 4, 4) == [7]
    assert await numbers(buffer, 4, 6) == [7]
    assert await numbers(buffer, 3, 5) == [3]
    buffer.close()


async def test_a_row_that_bears_a_name_that_no_stream_has_is_missed_and_declared(tmp_path: Path) -> None:
    buffer = await filled(tmp_path, "UPDATE log SET stream = 'mon-b01/numesic' WHERE seq = 5")
    assert [key.stream for key in buffer.streams(Up.VITALS)] == [STREAM]
    await buffer.scrub()
    assert await declared(buffer) == {5: Reason.DAMAGED}
    assert buffer.waiting()[Up.VITALS].records == COUNT
    await buffer.scrub()
    assert len(await declared(buffer)) == 1
    buffer.close()


@pytest.mark.parametrize("table", ["log", "state"])
async def test_an_epoch_that_is_none_does_not_keep_the_node_from_starting(tmp_path: Path, table: str) -> None:
    buffer = await filled(tmp_path, f"UPDATE {table} SET epoch = 'no epoch' WHERE rowid = 1")
    assert buffer.streams(Up.VITALS)[key_of(buffer, Up.VITALS, STREAM)].next_seq == COUNT + 1
    buffer.close()
    assert maintenance.inspect(tmp_path)


async def test_numbers_that_are_still_there_are_never_declared(tmp_path: Path) -> None:
    buffer = await filled(tmp_path, "UPDATE log SET codec = 77 WHERE seq = 2")
    key = key_of(buffer, Up.VITALS, STREAM)
    await buffer.acknowledge(Up.VITALS, {StreamKey(*key): 3})
    assert await buffer.scrub() == 0
    assert [key.stream for key in buffer.streams(Up.VITALS)] == [STREAM]
    buffer.close()
