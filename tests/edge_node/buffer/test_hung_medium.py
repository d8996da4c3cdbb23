"""A medium of the keys that hangs, as a share of a network or a worn card does: no alarm waits behind it.

The key file is a FIFO that nobody writes into: whoever opens it waits for ever.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from telemed.v1 import alarm_pb2

from edge_node.buffer import envelope, keycare, keyfiles, keymaker
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


def answer(folder: Path) -> None:
    """Have the medium answer all who wait, with nothing."""
    (key,) = folder.glob("*.key")
    os.close(os.open(key, os.O_WRONLY | os.O_NONBLOCK))


def waiting() -> int:
    """How many threads wait for a medium."""
    return sum(each.name == "key-medium" for each in threading.enumerate())


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


def test_however_long_the_medium_hangs_few_threads_wait_for_it_and_nobody_waits_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyfiles, "LIMIT_S", 0.05)
    sealing, medium = opened(tmp_path)
    sealed(sealing, DAY)
    before = waiting()
    with hung(medium):
        for _ in range(3 * keyfiles.MOST_HUNG):
            prepare(sealing, DAY)
            sealing._maker._done.wait(5)
        assert before < waiting() <= before + keyfiles.MOST_HUNG
        monkeypatch.setattr(keyfiles, "LIMIT_S", 30.0)
        prepare(sealing, DAY)
        assert sealing._maker._done.wait(AT_ONCE_S)
        answer(medium)
        while waiting() > before:
            os.sched_yield()
    prepare(sealing, DAY)
    assert sealing._maker._done.wait(5)
    assert sealed(sealing, DAY + 1)[0] == Place(NODE, DAY + 1)


def test_where_no_thread_can_be_had_another_key_serves_and_later_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sealing, medium = opened(tmp_path)
    sealed(sealing, DAY)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refused)
        place, took_s = sealed(sealing, DAY + 1)
        assert (place, took_s < AT_ONCE_S) == (Place(NODE, DAY), True)
        with pytest.raises(OSError, match="no thread"):
            keyfiles.KeyFiles(medium).make()
    prepare(sealing, DAY + 1)
    assert sealing._maker._done.wait(5)
    assert sealed(sealing, DAY + 1)[0] == Place(NODE, DAY + 1)


async def test_the_upkeep_pauses_after_keys_could_not_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, asked = [1000.0], list[int]()

    def ask(places: Iterable[Place]) -> None:
        asked.append(1)
        asked_before(places)

    monkeypatch.setattr(keyfiles, "LIMIT_S", 0.05)
    with closing(Buffer.open(tmp_path / "store", group_commit_ms=0, keeping=Keeping(tmp_path / "medium"))) as buffer:
        keys = buffer.keys
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a", alarm_seq=1)])
        asked_before = keys.sealing._maker.ask
        monkeypatch.setattr(keys.sealing._maker, "ask", ask)
        monkeypatch.setattr(keycare, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
        with hung(tmp_path / "medium"):
            for _ in range(4):
                await keys.prepare()
                keys.sealing._maker._done.wait(5)
            assert len(asked) == 1
            now_s[0] += keycare.PREPARE_AGAIN_S
            await keys.prepare()
            assert len(asked) == 2
            keys.sealing._maker._done.wait(5)


def test_that_keys_are_lent_is_told_once_until_some_could_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyfiles, "LIMIT_S", 0.05)
    sealing, medium = opened(tmp_path)
    sealed(sealing, DAY)

    def lent() -> int:
        with structlog.testing.capture_logs() as lines, hung(medium):
            for _ in range(2):
                prepare(sealing, DAY)
                sealing._maker._done.wait(5)
                for scope in (NODE, "monitor"):
                    sealed(sealing, DAY + 1, scope)
            sealing._maker._done.wait(5)
        return sum(line["event"] == "store.key-lent" for line in lines)

    assert lent() == 1
    assert lent() == 0
