"""Copies of what the hub has stay a whole grace after it has them, whatever happened to either side meanwhile."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from telemed.topics import Up

from edge_node.buffer.grace import Grace
from edge_node.buffer.outbox import StreamKey
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.fakes.outbox import key_of

HOUR_NS = 3600 * 10**9
STREAM = "monitor-1/numeric"
KEY = StreamKey(STREAM, 7)
GRACE_S = 24 * 3600


@dataclass
class Site:
    """A store whose clocks are set by hand; what it takes in came in two days ago."""

    folder: Path
    now_ns: int = field(default_factory=time.time_ns)
    steady_ns: int = HOUR_NS
    buffer: Buffer = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.buffer = Buffer.open(self.folder, group_commit_ms=0, keep_sent_hours=24)
        self.buffer.clock.wall = lambda: self.now_ns
        self.buffer.clock.steady = lambda: self.steady_ns

    def restart(self) -> None:
        self.buffer.close()
        self.open()

    def wait(self, hours: float) -> None:
        self.now_ns += int(hours * HOUR_NS)
        self.steady_ns += int(hours * HOUR_NS)

    async def store(self, count: int) -> None:
        for _ in range(count):
            taken = NumericSet("monitor-1", self.now_ns, self.now_ns, (Value("hr", "70", "/min"),))
            await self.buffer.store_intake(Intake(sets=(taken,)))

    async def acknowledge(self, contig: int) -> None:
        await self.buffer.acknowledge(Up.VITALS, {key_of(self.buffer, Up.VITALS, STREAM): contig})

    async def left(self) -> list[int]:
        await self.buffer.sweep()
        key = key_of(self.buffer, Up.VITALS, STREAM)
        return [record.seq for record in await self.buffer.read_stored(Up.VITALS, key, 1, 99)]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.buffer.close()


@pytest.mark.anyio
async def test_what_waited_longer_than_the_grace_stays_a_grace_after_its_acknowledgement(site: Site) -> None:
    await site.store(3)
    site.wait(72)
    await site.acknowledge(3)
    assert await site.left() == [1, 2, 3]
    site.wait(23)
    assert await site.left() == [1, 2, 3]
    site.wait(1)
    assert await site.left() == []


@pytest.mark.anyio
async def test_a_restart_and_a_clock_that_is_set_make_copies_stay_longer_and_never_shorter(site: Site) -> None:
    await site.store(3)
    await site.acknowledge(3)
    await site.left()
    site.wait(20)
    await site.left()
    site.wait(20)
    site.restart()
    assert await site.left() == [1, 2, 3]
    site.now_ns += 1000 * HOUR_NS
    assert await site.left() == [1, 2, 3]
    site.wait(4)
    assert await site.left() == []


@pytest.mark.anyio
async def test_what_a_restored_hub_got_again_stays_another_grace(site: Site) -> None:
    await site.store(3)
    await site.acknowledge(3)
    await site.left()
    site.buffer._keep_sent_hours = 24 * 30
    site.wait(25)
    assert await site.left() == [1, 2, 3]
    await site.acknowledge(1)
    await site.acknowledge(3)
    site.restart()
    site.buffer._keep_sent_hours = 24
    assert await site.left() == [2, 3]
    site.wait(24)
    assert await site.left() == [2, 3]
    site.wait(24)
    assert await site.left() == []


def test_nothing_may_go_until_a_grace_has_passed_and_then_what_was_there_at_its_beginning() -> None:
    grace = Grace()
    grace.go_on(0, GRACE_S, {KEY: 5})
    grace.go_on(GRACE_S - 1, GRACE_S, {KEY: 9})
    assert grace.floors == {}
    grace.go_on(1, GRACE_S, {KEY: 9})
    assert (grace.floors, grace.marks) == ({KEY: 5}, {KEY: 9})


def test_what_is_written_down_is_what_is_read_back() -> None:
    grace = Grace({KEY: 3}, {KEY: 5, StreamKey("x/wave", 2**63 + 1): 2}, 7.5)
    again = Grace.of(grace.text())

    assert (again.marks, again.age_s) == (grace.marks, 7.5)
    assert [again.floors.get(key, 0) for key in grace.marks] == [3, 0]
