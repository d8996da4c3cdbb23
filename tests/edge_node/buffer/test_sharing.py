"""Messages of several monitors in one commit, through the real store; who does not wait takes along who does."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from telemed.topics import Up
from telemed.v1 import alarm_pb2

from edge_node.buffer.file import LogFile
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Stored, Value
from tests.fakes.outbox import key_of

pytestmark = pytest.mark.anyio
FOR_EVER_S = 3600.0


class Patience:
    """A company in which every message may wait for ever, whoever sent it."""

    longest_s = FOR_EVER_S

    def came(self, sender: str, now_s: float) -> None:
        """Take no notice."""

    def wait_s(self, _sender: str, _now_s: float) -> float:
        return FOR_EVER_S

    def next_s(self, _now_s: float, _most_s: float) -> float:
        return FOR_EVER_S

    def gone(self, now_s: float) -> None:
        """Take no notice."""


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the commits of all files."""
    found: list[int] = []
    commit = LogFile._commit

    def counted(file: LogFile, jobs: list) -> None:  # type: ignore[type-arg]
        found.append(len(jobs))
        commit(file, jobs)

    monkeypatch.setattr(LogFile, "_commit", counted)
    return found


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Buffer]:
    opened = Buffer.open(tmp_path / "edge-test", group_commit_ms=0, share_commit_ms=300)
    opened.goes_at_once = lambda intake: any(value.measure == "spo2" for value in intake.sets[0].values)
    opened._files["vitals.db"].lobby.company = Patience()  # type: ignore[assignment]
    yield opened
    opened.close()


def brought(device: str, measure: str = "hr") -> Intake:
    return Intake(sets=(NumericSet(device, 1, 1, (Value(measure, "72", "/min"),)),))


async def waiting(buffer: Buffer, count: int) -> list[asyncio.Task[Stored]]:
    """Let so many monitors bring something that waits."""
    tasks = [asyncio.create_task(buffer.store_intake(brought(f"m{number}"))) for number in range(count)]
    done, _ = await asyncio.wait(tasks, timeout=0.05)
    assert not done
    return tasks


async def test_what_waits_is_told_as_stored_only_after_the_commit_that_something_urgent_brings(
    patient: Buffer, commits: list[int]
) -> None:
    tasks = await waiting(patient, 3)
    assert commits == []
    assert await patient.store_intake(brought("m9", "spo2")) is Stored.NEW
    assert await asyncio.gather(*tasks) == [Stored.NEW] * 3
    assert commits == [4]


async def test_what_must_be_kept_as_it_came_goes_at_once(patient: Buffer, commits: list[int]) -> None:
    tasks = await waiting(patient, 1)
    await patient.store_intake(Intake(sets=brought("m5").sets, raw=b"MSH|", raw_reason="device-unknown"))
    await asyncio.gather(*tasks)
    await patient.store_intake(Intake(raw=b"MSH|", raw_reason="device-unknown"))
    assert commits == [2, 1]


async def test_an_alarm_does_not_wait_for_what_waits_in_another_file(patient: Buffer, commits: list[int]) -> None:
    tasks = await waiting(patient, 1)
    await patient.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
    assert commits == [1]
    assert not tasks[0].done()
    await patient.store_intake(brought("m9", "spo2"))
    await asyncio.gather(*tasks)


async def test_the_upkeep_of_a_busy_file_shares_the_commit_of_a_message(patient: Buffer, commits: list[int]) -> None:
    await patient.store_intake(brought("m1", "spo2"))
    saving = asyncio.create_task(patient._files["vitals.db"].save_states())
    done, _ = await asyncio.wait([saving], timeout=0.05)
    assert not done
    await patient.store_intake(brought("m2", "spo2"))
    assert await saving == 1
    assert commits == [1, 2]


async def test_who_asks_for_a_trend_does_not_wait_for_a_message(patient: Buffer) -> None:
    await patient.store_intake(brought("m1", "spo2"))
    async with asyncio.timeout(10):
        assert await patient.trends(["m1"], 0, 60 * 10**9, 60)


async def test_closing_stores_what_waits_although_nobody_is_told_any_more(tmp_path: Path, patient: Buffer) -> None:
    tasks = await waiting(patient, 3)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    patient.close()
    again = Buffer.open(tmp_path / "edge-test", group_commit_ms=0)
    try:
        assert {again.streams(Up.VITALS)[key].next_seq for key in again.streams(Up.VITALS)} == {2}
        assert len(again.streams(Up.VITALS)) == 3
    finally:
        again.close()


async def test_at_most_64_messages_share_a_commit(patient: Buffer, commits: list[int]) -> None:
    tasks = await waiting(patient, 63)
    assert await patient.store_intake(brought("m63")) is Stored.NEW
    await asyncio.gather(*tasks)
    assert commits == [64]


async def test_a_message_waits_no_longer_than_it_may_where_nobody_comes(tmp_path: Path, commits: list[int]) -> None:
    buffer = Buffer.open(tmp_path / "other", group_commit_ms=0, share_commit_ms=300)
    file = buffer._files["vitals.db"]
    try:
        first = asyncio.create_task(file.write(lambda _batch: 1, patience_s=FOR_EVER_S))
        second = asyncio.create_task(file.write(lambda _batch: 2, patience_s=0.001))
        async with asyncio.timeout(10):
            assert list(await asyncio.gather(first, second)) == [1, 2]
        assert commits == [2]
    finally:
        buffer.close()


async def test_a_message_that_fails_takes_nobody_who_shares_its_commit_with_it(patient: Buffer) -> None:
    tasks = await waiting(patient, 2)

    def fail(_batch: object) -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await patient._files["vitals.db"].write(fail)
    assert await asyncio.gather(*tasks) == [Stored.NEW] * 2
    assert patient.streams(Up.VITALS)[key_of(patient, Up.VITALS, "m1/numeric")].next_seq == 2
