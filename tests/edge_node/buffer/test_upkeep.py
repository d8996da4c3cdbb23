"""Upkeep of the store while something about it fails: what fails is tried again, and stops nothing else."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from telemed.shed import Reason
from telemed.topics import Up
from telemed.v1 import shed_pb2

from edge_node.buffer import store, tombstone
from edge_node.buffer.file import LogFile
from edge_node.buffer.schema import ALARM, CARE, VITALS
from edge_node.buffer.store import Buffer
from edge_node.errors import BufferDamaged, BufferFailure
from edge_node.samples.measurement import Channel, Intake, WaveformSet
from tests.fakes.outbox import key_of
from tests.fakes.sealed_store import copy_keys

HOUR_NS = 3600 * 10**9
NOISE = np.random.default_rng(7).integers(-30_000, 30_000, 6000, np.int32)
STREAM = "mon-b01/wave"
pytestmark = pytest.mark.anyio


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[Buffer]:
    opened = Buffer.open(tmp_path / "edge-test", group_commit_ms=0)
    yield opened
    opened.close()


async def waves(buffer: Buffer, count: int, ago_ns: int = 0) -> None:
    """Take in so many sets of about 14 kB that came so long ago."""
    at_ns = time.time_ns() - ago_ns
    buffer.clock.wall = lambda: at_ns
    digits = (Channel("ecg_II", 4.0, NOISE, 200.0, 0.0, "mV"),)
    for _ in range(count):
        await buffer.store_intake(Intake(waves=(WaveformSet("mon-b01", at_ns, at_ns, digits),)))
    buffer.clock.wall = time.time_ns


async def shed_all(buffer: Buffer) -> None:
    """Make the room so small, again and again, that all waves have to go."""
    gone = 1
    while gone:
        crowd(buffer)
        gone = await buffer.make_room()


def crowd(buffer: Buffer) -> None:
    """Make the room so small that what is there fills it."""
    buffer._files[VITALS]._empty_wal()
    buffer._files[VITALS]._measure()
    room = buffer.room.disk()
    buffer.room.limit_bytes = int((room.content_bytes + room.wal_bytes) / 0.99)


async def declared(buffer: Buffer) -> list[shed_pb2.Shed]:
    if not any(key.stream == "node/shed" for key in buffer.streams(Up.VITALS)):
        return []
    records = await buffer.read_run(Up.VITALS, key_of(buffer, Up.VITALS, "node/shed"), 1, 10**6)
    return [shed_pb2.Shed.FromString(record.body()) for record in records]


def crashed(buffer: Buffer, folder: Path) -> Buffer:
    """Return what is found after a power cut now, in another folder."""
    shutil.copytree(buffer.room.folder, folder)
    copy_keys(buffer.room.folder, folder)
    return Buffer.open(folder, group_commit_ms=0)


async def test_a_number_that_was_given_up_is_never_given_out_again(buffer: Buffer, tmp_path: Path) -> None:
    await waves(buffer, 40, 30 * HOUR_NS)
    again = crashed(buffer, tmp_path / "again")
    await shed_all(again)
    last = crashed(again, tmp_path / "last")
    again.close()

    key = key_of(last, Up.WAVES, STREAM)
    assert await last.read_stored(Up.WAVES, key, 1, 100) == []
    assert last.streams(Up.WAVES)[key].next_seq == 41
    await waves(last, 1)
    assert await last.read_stored(Up.WAVES, key, 1, 100) == []
    last.close()


async def test_how_far_the_hub_is_is_written_down_once_the_disk_takes_it_again(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waves(buffer, 3)
    await buffer.acknowledge(Up.WAVES, {key_of(buffer, Up.WAVES, STREAM): 2})
    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "write", refused)
        with pytest.raises(BufferFailure):
            await buffer.save()
    await buffer.save()
    again = crashed(buffer, tmp_path / "again")
    assert again.streams(Up.WAVES)[key_of(again, Up.WAVES, STREAM)].acked == 2
    again.close()


async def test_copies_that_are_gone_are_declared_once_the_disk_takes_it_again(
    buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waves(buffer, 9)
    key = key_of(buffer, Up.WAVES, STREAM)
    await buffer.acknowledge(Up.WAVES, {key: 8})
    await drop(buffer, 8)
    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "write", refused)
        with pytest.raises(BufferFailure):
            await buffer.acknowledge(Up.WAVES, {key: 5})
    assert await declared(buffer) == []
    await buffer.declare_gone()
    (told,) = await declared(buffer)
    assert (told.reason, [(run.first, run.last) for run in told.ranges]) == (Reason.COPY_GONE, [(6, 8)])
    await buffer.declare_gone()
    assert len(await declared(buffer)) == 1


async def test_copies_that_go_while_the_hub_says_that_it_lost_them_are_declared_by_the_next_upkeep(
    buffer: Buffer,
) -> None:
    await waves(buffer, 9)
    key = key_of(buffer, Up.WAVES, STREAM)
    await buffer.acknowledge(Up.WAVES, {key: 8})
    await buffer.acknowledge(Up.WAVES, {key: 5})
    assert await declared(buffer) == []
    await drop(buffer, 7)  # by a clean-up that had begun before
    await buffer.declare_gone()
    (told,) = await declared(buffer)
    assert [(run.first, run.last) for run in told.ranges] == [(6, 7)]
    assert buffer.waiting()[Up.WAVES].records == 2


async def test_a_file_that_fails_does_not_keep_the_others_from_their_upkeep(
    buffer: Buffer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waves(buffer, 60, 30 * HOUR_NS)
    await buffer.acknowledge(Up.WAVES, {key_of(buffer, Up.WAVES, STREAM): 2})
    for name in (ALARM, CARE):
        monkeypatch.setattr(buffer._files[name], "write", refused)
        monkeypatch.setattr(buffer._files[name], "read", refused)
    crowd(buffer)
    monkeypatch.setattr(store, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(store, "TIGHT_EVERY_S", 0.0)
    upkeep = asyncio.create_task(buffer.run())
    async with asyncio.timeout(10):
        while buffer.waiting()[Up.WAVES].records == 58:  # noqa: ASYNC110 - looks at another task's work
            await asyncio.sleep(0.01)
    upkeep.cancel()
    await asyncio.wait([upkeep])
    monkeypatch.undo()
    assert upkeep.cancelled()
    again = crashed(buffer, tmp_path / "again")
    assert again.streams(Up.WAVES)[key_of(again, Up.WAVES, STREAM)].acked == 2
    again.close()


async def test_while_the_alarms_cannot_be_read_young_waves_stay(
    buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waves(buffer, 40, 2 * HOUR_NS)
    monkeypatch.setattr(buffer._files[ALARM], "read", refused)
    await shed_all(buffer)
    assert await declared(buffer) == []


async def test_people_are_told_of_too_little_room_only_where_that_was_the_reason(
    buffer: Buffer, tmp_path: Path
) -> None:
    await waves(buffer, 40, 30 * HOUR_NS)
    file, key = buffer._files[VITALS], key_of(buffer, Up.WAVES, STREAM)
    for reason, run in ((Reason.DAMAGED, (1, 2)), (Reason.COPY_GONE, (3, 4))):
        given_up = tombstone.GivenUp(key, [run], reason, 0)
        await file.write(lambda batch, given_up=given_up: tombstone.shed(batch, buffer.clock.stamp(), given_up))  # type: ignore[misc]
        assert not buffer.gives_up
    harmless = crashed(buffer, tmp_path / "harmless")
    assert not harmless.gives_up
    harmless.close()

    await shed_all(buffer)
    assert buffer.gives_up
    short = crashed(buffer, tmp_path / "short")
    assert short.gives_up
    await short.acknowledge(Up.WAVES, {key: row.next_seq - 1 for key, row in short.streams(Up.WAVES).items()})
    assert not short.gives_up
    short.close()


async def drop(buffer: Buffer, last: int) -> None:
    """Delete copies as a clean-up does that took the hub to have them."""
    await buffer._files[VITALS].write(
        lambda batch: batch.connection.execute("DELETE FROM log WHERE stream = ? AND seq <= ?", (STREAM, last))
    )


async def refused(*_: object, **__: object) -> None:
    raise BufferDamaged("disk I/O error")
