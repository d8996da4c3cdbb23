"""A disk that is really full: a small file system in memory, filled to the last byte (reliability 2.10, fault 5)."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from telemed.topics import Up
from telemed.v1 import alarm_pb2, event_pb2

from edge_node.buffer import maintenance, room
from edge_node.buffer.store import Buffer
from edge_node.errors import BufferFull
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.fakes.outbox import key_of

SIZE_MIB = 12
CHUNK = b"\0" * 65536
ALARMS = 300
pytestmark = pytest.mark.anyio


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system in memory can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with path.open("ab", buffering=0) as hog, contextlib.suppress(OSError):
        while True:
            hog.write(CHUNK)


def measured(number: int) -> Intake:
    now_ns = time.time_ns()
    values = tuple(Value(f"x{n}", os.urandom(16).hex(), "1") for n in range(40))
    return Intake(sets=(NumericSet("mon-b01", now_ns, now_ns, values),), dedup_key=str(number))


async def taken_until_full(buffer: Buffer) -> int:
    taken = 0
    with contextlib.suppress(BufferFull):
        while True:
            await buffer.store_intake(measured(taken))
            taken += 1
    return taken


async def test_alarms_and_care_are_kept_on_a_full_disk_and_measurements_again_when_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = Buffer.open(small_disk / "edge-test", group_commit_ms=0)
    taken = await taken_until_full(buffer)
    hog = small_disk / "hog"
    fill(hog)
    await buffer.make_room()
    fill(hog)
    for number in range(ALARMS):
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id=f"a{number}")])
        await buffer.propose(event_pb2.Event(event_id=f"e{number}", aggregate_type="referral"))
    monkeypatch.setattr(room, "LIMIT_EVERY_S", 0.0)
    with pytest.raises(BufferFull):
        await buffer.store_intake(measured(taken))
    assert taken > 500

    # However short a time ago the limit was set, room that is there again is used.
    monkeypatch.setattr(room, "LIMIT_EVERY_S", 3600.0)
    hog.unlink()
    await buffer.make_room()
    await buffer.store_intake(measured(taken))
    buffer.close()

    again = Buffer.open(small_disk / "edge-test")
    assert len(await again.alarm_events(0)) == ALARMS
    assert again.waiting()[Up.CARE].records == ALARMS
    records = await again.read_run(Up.VITALS, key_of(again, Up.VITALS, "mon-b01/numeric"), 1, taken + 9)
    assert [record.seq for record in records] == list(range(1, taken + 2))
    again.close()
    assert {report.check for report in maintenance.inspect(small_disk / "edge-test")} == {"ok"}


async def test_waves_are_shed_on_a_disk_that_somebody_else_fills(small_disk: Path) -> None:
    """The disk shrinks under the store: copies first, and what is left is declared."""
    buffer = Buffer.open(small_disk / "edge-test", group_commit_ms=0)
    for number in range(400):
        await buffer.store_intake(measured(number))
    key = key_of(buffer, Up.VITALS, "mon-b01/numeric")
    await buffer.acknowledge(Up.VITALS, {key: 400})
    buffer.clock.wall = lambda: time.time_ns() + 2 * 3600 * 10**9
    fill(small_disk / "hog")
    assert await buffer.make_room() > 0
    await buffer.store_intake(measured(400))
    buffer.close()


async def test_a_store_opens_on_a_disk_that_is_full(small_disk: Path) -> None:
    Buffer.open(small_disk / "edge-test").close()
    fill(small_disk / "hog")
    buffer = Buffer.open(small_disk / "edge-test", group_commit_ms=0)
    await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
    with pytest.raises(BufferFull):
        await buffer.store_intake(measured(1))
    buffer.close()
