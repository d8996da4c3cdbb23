"""The pump of one class, against a buffer and a link in memory, with a clock the test turns."""

from dataclasses import dataclass, field

import pytest
from telemed import wire
from telemed.topics import Up
from telemed.v1 import uplink_pb2
from telemed.wire import Record

from edge_node.uplink.pump import Pump
from tests.fakes.outbox import EPOCH, MemoryOutbox

pytestmark = pytest.mark.anyio


@dataclass
class Bench:
    up: Up = Up.VITALS
    outbox: MemoryOutbox = field(default_factory=MemoryOutbox)
    sent: list[tuple[str, int]] = field(default_factory=list)
    containers: list[bytes] = field(default_factory=list)
    now_s: float = 0
    is_up: bool = True
    pump: Pump = field(init=False)

    def __post_init__(self) -> None:
        self.pump = Pump(self.up, self.outbox, self.publish, resend_after_s=5, now_s=lambda: self.now_s)
        self.pump.open()

    def publish(self, what: Up, container: bytes) -> bool:
        if self.is_up:
            self.containers.append(container)
            self.sent += [(record.stream, record.seq) for record in wire.decode(container)]
        return self.is_up

    async def round(self) -> list[tuple[str, int]]:
        self.sent.clear()
        await self.pump.round()
        return list(self.sent)

    async def hear(self, stream: str, contig: int, hub_ns: int = 1, epoch: int = EPOCH, window: int = 0) -> None:
        receipt = uplink_pb2.Receipt(stream=stream, epoch=epoch, contig=contig, max=contig)
        await self.pump.take([receipt], hub_ns, window)


async def test_every_stream_gets_its_window() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 3)
    bench.outbox.store("b/numeric", 2)
    assert await bench.round() == [
        ("a/numeric", 1),
        ("a/numeric", 2),
        ("a/numeric", 3),
        ("b/numeric", 1),
        ("b/numeric", 2),
    ]
    assert await bench.round() == []
    assert len(bench.containers) == 1


async def test_only_a_receipt_of_this_epoch_acknowledges() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 3)
    await bench.round()
    await bench.hear("a/numeric", 3, epoch=7)
    await bench.hear("other/numeric", 3)
    assert bench.outbox.acked == {}
    await bench.hear("a/numeric", 2)
    assert bench.outbox.acked == {"a/numeric": 2}
    bench.now_s = 5
    assert await bench.round() == [("a/numeric", 3)]


async def test_a_refused_publish_leaves_the_records_to_be_sent() -> None:
    bench = Bench(is_up=False)
    bench.outbox.store("a/numeric")
    assert await bench.round() == []
    bench.is_up = True
    assert await bench.round() == [("a/numeric", 1)]


async def test_large_records_go_in_several_containers() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 10, payload=b"x" * 20_000)
    assert len(await bench.round()) == 10
    assert len(bench.containers) == 4


async def test_the_hub_can_set_the_window_but_not_that_of_alarms() -> None:
    # Half of a window is for the backlog.
    for up, credit, most in ((Up.VITALS, 4, 2), (Up.VITALS, 1000, 128), (Up.ALARM, 4, 16)):
        bench = Bench(up)
        bench.outbox.store("a/numeric", 200)
        await bench.hear("a/numeric", 0, window=credit)
        assert len(await bench.round()) == most, up


async def test_a_restart_in_the_middle_of_a_round_leaves_out_nothing() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 3)
    await bench.round()
    bench.outbox.store("a/numeric")

    async def reading(up: Up, stream: str, first: int, last: int) -> list[Record]:
        bench.pump.open()
        return bench.outbox.rows[stream][first - 1 : last]

    bench.outbox.read_run, whole = reading, bench.outbox.read_run  # type: ignore[method-assign]
    await bench.round()
    bench.outbox.read_run = whole  # type: ignore[method-assign]
    assert await bench.round() == [("a/numeric", number) for number in (1, 2, 3, 4)]


async def test_a_hub_that_has_more_than_was_ever_sent_is_reported() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 3)
    await bench.hear("a/numeric", 9)
    assert bench.outbox.acked == {}
    assert bench.pump.ahead == {"a/numeric"}
