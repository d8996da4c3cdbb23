"""Each life of a store numbers under an epoch of its own; what a hub has of a former self is the hub's."""

import shutil
import sqlite3
import time
from pathlib import Path

import pytest
from telemed.shed import Reason, stream_for
from telemed.topics import STORED, Up
from telemed.v1 import alarm_pb2, shed_pb2
from telemed.wire import Record, is_sound

from edge_node.buffer.delivery import Receipt
from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.buffer.schema import NAMES, VITALS
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Stored, Value
from tests.fakes.sealed_store import copy_keys

STREAM = "mon-b01/numeric"
pytestmark = pytest.mark.anyio


async def store(buffer: Buffer, count: int, dedup_key: str = "") -> Stored:
    now_ns, done = time.time_ns(), Stored.NEW
    for number in range(count):
        value = Value("hr", str(60 + number), "/min")
        key = f"{dedup_key}{number}" if dedup_key else ""
        done = await buffer.store_intake(Intake(sets=(NumericSet("mon-b01", now_ns, now_ns, (value,)),), dedup_key=key))
    return done


def states(buffer: Buffer, stream: str = STREAM) -> dict[bool, StreamState]:
    """Return the state of a stream by whether its epoch is over."""
    found = [state for up in STORED for key, state in buffer.streams(up).items() if key.stream == stream]
    return {state.is_closed: state for state in found}


async def records(buffer: Buffer, key: StreamKey) -> list[Record]:
    return await buffer.read_run(Up.VITALS, key, 1, 99)


async def test_a_copy_of_a_store_never_gives_out_a_number_of_the_first_one(tmp_path: Path) -> None:
    first = Buffer.open(tmp_path / "first")
    await store(first, 3)
    first.close()
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    copy_keys(tmp_path / "first", tmp_path / "copy")
    lives = [Buffer.open(tmp_path / name) for name in ("first", "copy")]
    for life in lives:
        await store(life, 2)
    epochs = [states(life)[False].epoch for life in lives]
    assert len({first.life, *epochs}) == 3
    assert all(first.life in life.former_lives for life in lives)
    for life in lives:
        life.close()


async def test_what_the_hub_has_of_a_former_self_is_the_hubs_and_what_it_lacks_of_it_is_declared(
    tmp_path: Path,
) -> None:
    first = Buffer.open(tmp_path)
    await store(first, 3)
    first.close()
    buffer = Buffer.open(tmp_path)
    key = states(buffer)[True].key
    await buffer.yield_to(Up.VITALS, key, Receipt(5, 9, ((6, 7),), 1))
    await buffer.acknowledge(Up.VITALS, {key: 5})
    assert states(buffer)[True].next_seq == 10
    assert states(buffer)[True].waiting == 2, "8 and 9, which the hub has, wait for their receipt alone"
    await buffer.acknowledge(Up.VITALS, {key: 9})
    assert states(buffer)[True].waiting == 0
    (declared,) = [one for one in buffer.streams(Up.VITALS) if one.stream == stream_for(STREAM)]
    (record,) = await records(buffer, declared)
    message = shed_pb2.Shed.FromString(record.body())
    assert (message.stream, message.epoch, message.reason) == (STREAM, key.epoch, Reason.DAMAGED)
    assert [(run.first, run.last) for run in message.ranges] == [(6, 7)]
    buffer.close()
    again = Buffer.open(tmp_path)
    assert again.streams(Up.VITALS)[key].next_seq == 10, "it is not noticed a second time"
    again.close()


async def test_where_the_hub_is_ahead_of_a_running_epoch_what_it_may_have_otherwise_is_numbered_anew(
    buffer: Buffer,
) -> None:
    await store(buffer, 4, "message-")
    key = states(buffer)[False].key
    before = await records(buffer, key)
    await buffer.acknowledge(Up.VITALS, {key: 1})
    await buffer.yield_to(Up.VITALS, key, Receipt(2, 9, ((3, 3),), 1))
    await store(buffer, 1)
    now = states(buffer)
    assert (now[True].key, now[True].next_seq) == (key, 10)
    assert now[False].epoch in buffer.epochs
    moved = await records(buffer, now[False].key)
    assert [record.payload for record in moved[:2]] == [before[1].payload, before[3].payload]
    assert [record.seq for record in moved] == [1, 2, 3]
    assert [record.stamp for record in moved[:2]] == [before[1].stamp, before[3].stamp]
    assert all(is_sound(record) for record in moved)
    assert [record.seq for record in await records(buffer, key)] == [1, 3]
    assert await store(buffer, 4, "message-") is Stored.DUPLICATE, "what a message is known by stays with it"


async def test_an_epoch_that_is_over_is_forgotten_once_nothing_is_left_of_it(tmp_path: Path) -> None:
    for _ in range(3):
        buffer = Buffer.open(tmp_path, keep_sent_hours=0)
        await store(buffer, 1)
        await buffer.acknowledge(Up.VITALS, dict.fromkeys(buffer.streams(Up.VITALS), 1))
        await buffer.save()
        buffer.close()
    buffer = Buffer.open(tmp_path, keep_sent_hours=0)
    with sqlite3.connect(tmp_path / VITALS) as file:
        file.execute("DELETE FROM log")
    file.close()
    assert len(buffer.streams(Up.VITALS)) == 3
    await buffer.sweep()
    (left,) = buffer.streams(Up.VITALS).values()
    assert left.acked == 1, "the newest that the hub has of a stream shows that its numbers go on from there"
    buffer.close()


@pytest.mark.parametrize("value", ["'text'", "x'00ff'", "1.5"])
@pytest.mark.parametrize("column", ["kind", "codec", "wall_ns", "mono_ns", "crc", "payload"])
async def test_a_column_that_the_disk_made_something_else_of_costs_its_own_record_alone(
    tmp_path: Path, column: str, value: str
) -> None:
    first = Buffer.open(tmp_path)
    await store(first, 3)
    await first.append_alarms([alarm_pb2.AlarmEvent(alarm_id=f"alarm-{n}", alarm_seq=n) for n in (1, 2, 3)])
    first.close()
    for name in NAMES[:2]:
        with sqlite3.connect(tmp_path / name) as file:
            file.execute(f"UPDATE log SET {column} = {value} WHERE seq = 2")
        file.close()
    buffer = Buffer.open(tmp_path)
    assert [record.seq for record in await records(buffer, states(buffer)[True].key)] == [1, 3]
    assert len(await buffer.sets_since(0)) >= 2
    assert len(await buffer.alarm_events(0)) >= 2
    assert await buffer.scrub() == 2
    await buffer.make_room()
    await buffer.sweep()
    buffer.close()
