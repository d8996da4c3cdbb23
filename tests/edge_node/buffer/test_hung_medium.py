"""A medium of the keys that hangs, as a share of a network or a worn card does: no alarm waits behind it.

The key file is a FIFO that nobody writes into: whoever opens it waits for ever.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from telemed.v1 import alarm_pb2

from edge_node.buffer import envelope, keyfiles, keymaker
from edge_node.buffer.keyring import DAY_NS, Place
from edge_node.buffer.sealing import FALLBACK, Keeping, Sealing
from edge_node.buffer.store import Buffer
from edge_node.errors import BufferFailure

pytestmark = pytest.mark.anyio
DAY = 20_000
NODE = "node"
AT_ONCE_S = 1.0
"""Far below both patiences of these tests."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyfiles, "LIMIT_S", 4.0)
    monkeypatch.setattr(keymaker, "PATIENCE_S", 2.0)


@contextmanager
def hung(folder: Path) -> Iterator[None]:
    """Have the medium of the keys answer nobody."""
    (key,) = folder.glob("*.key")
    away = key.rename(key.with_suffix(".away"))
    os.mkfifo(key, 0o600)
    yield
    away.replace(key)


def place_of(sealing: Sealing, stored: bytes) -> Place:
    """What the key of a sealed value was made for."""
    assert sealing._ring is not None
    return sealing._ring.keys[envelope.key_id_of(stored) or 0].place


def sealed(sealing: Sealing, day: int, scope: str = NODE) -> tuple[Place, float]:
    """Seal something; return what its key was made for, and how long that took."""
    began_s = time.monotonic()
    stored = sealing.seal(Place(scope, day), b"x", "x")
    assert sealing.opened("x", stored) == b"x"
    return place_of(sealing, stored), time.monotonic() - began_s


def opened(tmp_path: Path) -> tuple[Sealing, Path]:
    (tmp_path / "store").mkdir()
    return Sealing.open(tmp_path / "store", Keeping(tmp_path / "medium")), tmp_path / "medium"


def prepare(sealing: Sealing, day: int) -> None:
    sealing.prepare(day * DAY_NS)
    sealing._maker.wait()


def test_the_key_of_a_new_day_was_made_the_day_before(tmp_path: Path) -> None:
    sealing, medium = opened(tmp_path)
    sealed(sealing, DAY)
    prepare(sealing, DAY)
    with hung(medium):
        place, took_s = sealed(sealing, DAY + 1)
    assert place == Place(NODE, DAY + 1)
    assert took_s < AT_ONCE_S


def test_where_it_could_not_be_made_that_of_the_day_before_serves_and_nobody_waits(tmp_path: Path) -> None:
    sealing, medium = opened(tmp_path)
    sealed(sealing, DAY)
    with hung(medium):
        began_s = time.monotonic()
        prepare(sealing, DAY)
        assert time.monotonic() - began_s < keymaker.PATIENCE_S + AT_ONCE_S
        for day in (DAY + 1, DAY + 1, DAY + 2):
            place, took_s = sealed(sealing, day)
            assert place == Place(NODE, DAY)
            assert took_s < AT_ONCE_S
        # Of a device that never was there is none of the day before.
        place, took_s = sealed(sealing, DAY + 1, "new-device")
        assert (place, took_s < AT_ONCE_S) == (FALLBACK, True)


def test_a_medium_that_hangs_just_then_is_waited_for_once_and_not_for_long(tmp_path: Path) -> None:
    sealing, medium = opened(tmp_path)
    sealed(sealing, DAY)
    with hung(medium):
        waits_s = [sealed(sealing, DAY + 1)[1] for _ in range(3)]
    assert keymaker.PATIENCE_S - AT_ONCE_S < waits_s[0] < keymaker.PATIENCE_S + AT_ONCE_S
    assert max(waits_s[1:]) < AT_ONCE_S


def test_a_key_that_is_owed_is_made_once_the_medium_answers(tmp_path: Path) -> None:
    sealing, medium = opened(tmp_path)
    sealed(sealing, DAY)
    with hung(medium):
        assert sealed(sealing, DAY + 1)[0] == Place(NODE, DAY)
        # What hangs there gives up by itself, or the thread would end with the test.
        sealing._maker._done.wait(3 * keyfiles.LIMIT_S)
        # It is known by now that nothing can be made.
        assert sealed(sealing, DAY + 1, "new-device")[1] < AT_ONCE_S
    prepare(sealing, DAY + 1)
    sealing._maker._done.wait(3 * keyfiles.LIMIT_S)
    assert sealed(sealing, DAY + 1)[0] == Place(NODE, DAY + 1)


async def test_alarms_are_stored_while_a_change_of_keys_hangs(tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    with closing(Buffer.open(tmp_path / "store", group_commit_ms=0, keeping=Keeping(medium))) as buffer:
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a", alarm_seq=1)])
        with hung(medium):
            change = asyncio.create_task(buffer.keys.change())
            await asyncio.sleep(0.1)
            began_s = time.monotonic()
            await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a", alarm_seq=2)])
            assert time.monotonic() - began_s < AT_ONCE_S
            assert not change.done()
            with pytest.raises(BufferFailure, match="does not answer"):
                await change
        assert [event.alarm_seq for event in await buffer.alarm_events(0)] == [1, 2]


def test_a_store_whose_medium_hangs_at_the_start_is_opened_with_spare_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyfiles, "LIMIT_S", 0.2)
    sealing, medium = opened(tmp_path)
    stored = sealing.seal(Place(NODE, DAY), b"x", "x")
    with hung(medium):
        again = Sealing.open(tmp_path / "store", Keeping(medium))
        assert "does not answer" in again.reason
        assert again.opened("x", stored) == 0
        assert sealed(again, DAY)[0] == Place(NODE, DAY)
    assert Sealing.open(tmp_path / "store", Keeping(medium)).reason == ""


async def test_the_upkeep_prepares_the_next_day(tmp_path: Path) -> None:
    with closing(Buffer.open(tmp_path / "store", group_commit_ms=0)) as buffer:
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a", alarm_seq=1)])
        await buffer.keys.prepare()
        buffer.keys.sealing._maker.wait()
        tomorrow = buffer.clock.now_ns() // DAY_NS + 1
        assert buffer.keys.sealing._ring is not None
        assert Place(NODE, tomorrow) in buffer.keys.sealing._ring.newest()
