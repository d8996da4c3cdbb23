"""What the pump relies on, for the real buffer and for the outbox in memory that stands in for it."""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from telemed.topics import Up

from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Intake, NumericSet, Value
from edge_node.uplink.pump import Outbox
from tests.fakes.outbox import MemoryOutbox, key_of

pytestmark = pytest.mark.anyio
STREAM = "monitor-1/numeric"


@dataclass(slots=True)
class Bench:
    outbox: Outbox
    store: Callable[[int], Awaitable[None]]
    """Store so many more records of STREAM."""


@contextlib.asynccontextmanager
async def in_memory(_folder: Path) -> AsyncIterator[Bench]:
    outbox = MemoryOutbox()

    async def store(count: int) -> None:
        outbox.store(STREAM, count)

    yield Bench(outbox, store)


@contextlib.asynccontextmanager
async def on_disk(folder: Path) -> AsyncIterator[Bench]:
    with contextlib.closing(Buffer.open(folder)) as buffer:

        async def store(count: int) -> None:
            now_ns = time.time_ns()
            sample = NumericSet("monitor-1", now_ns, now_ns, (Value("hr", "70", "/min"),))
            await buffer.store_intake(Intake(sets=(sample,) * count))

        yield Bench(buffer, store)


@pytest.fixture(params=[in_memory, on_disk], ids=["memory", "disk"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async with request.param(tmp_path) as bench:
        yield bench


async def test_a_stream_is_there_once_something_is_stored(bench: Bench) -> None:
    assert bench.outbox.streams(Up.VITALS) == {}
    await bench.store(2)
    state = bench.outbox.streams(Up.VITALS)[key_of(bench.outbox, Up.VITALS, STREAM)]
    assert (state.next_seq, state.acked, state.waiting) == (3, 0, 2)


async def test_a_run_is_read_in_order_with_both_ends(bench: Bench) -> None:
    await bench.store(5)
    epoch = key_of(bench.outbox, Up.VITALS, STREAM)[1]
    records = await bench.outbox.read_run(Up.VITALS, key_of(bench.outbox, Up.VITALS, STREAM), 2, 4)
    assert [(record.stream, record.epoch, record.seq) for record in records] == [(STREAM, epoch, n) for n in (2, 3, 4)]


async def test_a_run_beyond_the_end_gives_what_there_is(bench: Bench) -> None:
    await bench.store(2)
    assert [
        record.seq for record in await bench.outbox.read_run(Up.VITALS, key_of(bench.outbox, Up.VITALS, STREAM), 2, 99)
    ] == [2]


async def test_what_is_acknowledged_shows_at_once_and_may_go_back(bench: Bench) -> None:
    await bench.store(5)
    for contig in (4, 1):
        await bench.outbox.acknowledge(Up.VITALS, {key_of(bench.outbox, Up.VITALS, STREAM): contig})
        assert bench.outbox.streams(Up.VITALS)[key_of(bench.outbox, Up.VITALS, STREAM)].acked == contig
