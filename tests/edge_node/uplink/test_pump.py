"""The pump of one class, against a buffer and a link in memory, with a clock the test turns."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from telemed import history, wire
from telemed.history import PACKER
from telemed.topics import Up
from telemed.v1 import uplink_pb2
from telemed.wire import Record

from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.errors import BufferFailure
from edge_node.uplink.pump import PRESSED_GATHER_S, WHOLE_FROM, Pump
from edge_node.uplink.schedule import Ask, Traffic
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
    granted_bytes: int = 64 * 1024
    asked: list[Traffic] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    pump: Pump = field(init=False)

    def __post_init__(self) -> None:
        self.pump = Pump(self.up, self.outbox, self.publish, self, resend_after_s=5, now_s=lambda: self.now_s)
        self.pump.is_open = True

    async def turn(self, traffic: Traffic, most_bytes: int) -> Ask:
        self.asked.append(traffic)
        return Ask(traffic, most_bytes, self.granted_bytes)

    def settle(self, asked: Ask, sent_bytes: int) -> None:
        self.settled.append(sent_bytes)

    def publish(self, what: Up, container: bytes) -> bool:
        if self.is_up:
            self.containers.append(container)
            is_history = container.startswith(history.MAGIC)
            records = [record for record, _ in history.decode(container)] if is_history else wire.decode(container)
            self.sent += [(record.stream, record.seq) for record in records]
        return self.is_up

    async def round(self) -> list[tuple[str, int]]:
        """Send once in each lane."""
        self.sent.clear()
        self.pump.stored(self.outbox.streams(self.up))
        self.pump.look_again()
        await self.pump.round(live=True)
        await self.pump.round(live=False)
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


async def test_a_turn_sends_what_fits_into_it_but_one_record_at_least() -> None:
    bench = Bench(granted_bytes=50_000)
    bench.outbox.store("a/numeric", 10, payload=b"x" * 20_000)
    assert await bench.round() == [("a/numeric", 1), ("a/numeric", 2)]
    bench.granted_bytes = 1
    assert await bench.round() == [("a/numeric", 3)]
    assert bench.settled == [len(container) for container in bench.containers]


async def test_a_turn_that_sends_nothing_is_given_back() -> None:
    bench = Bench(is_up=False)
    bench.outbox.store("a/numeric")
    await bench.round()
    assert bench.settled == [0]


async def test_live_records_and_backlog_wait_for_turns_of_their_own_class() -> None:
    for up, live, backlog in (
        (Up.ALARM, Traffic.ALARM, Traffic.VITALS),
        (Up.VITALS, Traffic.VITALS, Traffic.BACKLOG),
        (Up.WAVES, Traffic.WATCHED, Traffic.BACKLOG),
    ):
        bench = Bench(up)
        bench.outbox.store("a/numeric", 2)
        await bench.pump.open()
        await bench.round()
        bench.outbox.store("a/numeric")
        await bench.round()
        assert bench.asked == [backlog, live], up


async def test_streams_take_turns_where_a_turn_is_small() -> None:
    bench = Bench(granted_bytes=1)
    for stream in ("a/numeric", "b/numeric", "c/numeric"):
        bench.outbox.store(stream, 2)
    sent = []
    for bench.now_s in range(1, 5):
        sent += await bench.round()
    assert sent == [("a/numeric", 1), ("b/numeric", 1), ("c/numeric", 1), ("a/numeric", 2)]


async def test_backlog_waits_while_something_more_wanted_waits_elsewhere() -> None:
    bench = Bench(Up.WAVES)
    bench.outbox.store("a/wave", 2)
    await bench.pump.open()
    bench.pump.may_send_backlog = lambda: False
    assert await bench.round() == []
    bench.outbox.store("a/wave")
    assert await bench.round() == [("a/wave", 3)]


async def test_when_the_way_opens_the_newest_hour_goes_first() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 5)
    bench.outbox.hour_from = 4
    await bench.pump.open()
    assert [seq for _, seq in await bench.round()] == [4, 5, 1, 2, 3]


@dataclass
class GrowingOutbox(MemoryOutbox):
    """Shows its own states, as the store does, and begins a stream while it is asked for something."""

    states: dict[StreamKey, StreamState] = field(default_factory=dict)

    def streams(self, up: Up) -> Mapping[StreamKey, StreamState]:
        self.states.update(super().streams(up))
        return self.states

    async def newest_hour_from(self, up: Up, key: StreamKey) -> int:
        self.store(f"{key[0]}-2")
        self.streams(up)
        return await super().newest_hour_from(up, key)


async def test_a_stream_that_begins_while_the_way_opens_does_not_keep_it_shut() -> None:
    bench = Bench(outbox=GrowingOutbox())
    bench.outbox.store("a/numeric")
    await bench.pump.open()
    assert sorted(await bench.round()) == [("a/numeric", 1), ("a/numeric-2", 1)]


async def test_the_hub_can_set_the_window_but_not_that_of_alarms() -> None:
    # Half of a window is for the backlog.
    for up, credit, most in ((Up.VITALS, 4, 2), (Up.VITALS, 5000, 512), (Up.ALARM, 4, 16)):
        bench = Bench(up)
        bench.outbox.store("a/numeric", 700)
        await bench.pump.open()
        await bench.hear("a/numeric", 0, window=credit)
        sent = [len(await bench.round()) for _ in range(4)]
        assert sum(sent) == most, up


async def test_a_restart_in_the_middle_of_a_round_leaves_out_nothing() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 3)
    await bench.round()
    bench.outbox.store("a/numeric")

    async def reading(up: Up, key: StreamKey, first: int, last: int) -> list[Record]:
        await bench.pump.open()
        return bench.outbox.rows[key[0]][first - 1 : last]

    bench.outbox.read_run, whole = reading, bench.outbox.read_run  # type: ignore[method-assign]
    await bench.round()
    bench.outbox.read_run = whole  # type: ignore[method-assign]
    assert await bench.round() == [("a/numeric", number) for number in (1, 2, 3, 4)]


async def test_a_hub_that_has_more_than_was_ever_given_out_acknowledges_nothing() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 3)
    await bench.hear("a/numeric", 9)
    assert bench.outbox.acked == {}


async def test_a_stream_that_begins_while_the_way_is_open_is_live_from_its_first_record() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric")
    assert await bench.round() == [("a/numeric", 1)]
    assert bench.asked == [Traffic.VITALS]


async def test_what_nobody_looks_at_is_sent_when_somebody_begins_to() -> None:
    bench, looks = Bench(Up.WAVES), False
    bench.pump.is_watched = lambda _stream: looks
    bench.outbox.store("a/wave", 2)
    assert await bench.round() == []
    looks = True
    assert await bench.round() == [("a/wave", 1), ("a/wave", 2)]
    bench.outbox.store("a/wave")
    assert await bench.round() == [("a/wave", 3)]
    assert bench.asked == [Traffic.BACKLOG, Traffic.WATCHED]


async def test_what_nobody_looks_at_goes_as_one_block() -> None:
    bench = Bench(Up.WAVES)
    bench.pump.is_watched = lambda _stream: False
    bench.outbox.store("a/wave", 59)
    assert await bench.round() == []
    bench.outbox.store("a/wave")
    # Half of the window at first.
    assert len(await bench.round()) == 32
    assert len(bench.containers) == 1


async def test_records_that_gather_go_as_soon_as_the_link_is_no_longer_pressed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_node.uplink.pump.GATHER_S", 0.001)
    bench = Bench()
    asked: list[float] = []

    def gather_s() -> float:
        asked.append(PRESSED_GATHER_S if len(asked) < 5 else 0.0)
        return asked[-1]

    bench.pump.gather_s = gather_s
    running = asyncio.create_task(bench.pump.run())
    for _ in range(5):
        await asyncio.sleep(0)  # both lanes wait
    bench.outbox.store("a/numeric")
    bench.pump.stored(bench.outbox.streams(bench.up))
    async with asyncio.timeout(PRESSED_GATHER_S / 2):
        while not bench.sent:  # noqa: ASYNC110 - the pump tells nobody
            await asyncio.sleep(0.001)
    assert asked[:6] == [PRESSED_GATHER_S] * 5 + [0.0]
    running.cancel()
    await asyncio.wait([running])


async def test_a_receipt_that_could_not_be_noted_is_noted_with_the_next() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 3)
    await bench.round()
    bench.outbox.is_failing = True
    with pytest.raises(BufferFailure):
        await bench.hear("a/numeric", 2, hub_ns=1)
    bench.outbox.is_failing = False
    await bench.hear("a/numeric", 2, hub_ns=2)
    assert bench.outbox.acked == {"a/numeric": 2}


async def test_backlog_goes_compressed_to_a_hub_that_can_read_it_and_live_records_as_ever() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 50, payload=b"97 percent, as before")
    await bench.pump.open()
    bench.pump.history_packer = PACKER
    await bench.round()
    bench.outbox.store("a/numeric")
    await bench.round()
    assert [container[:4] for container in bench.containers] == [history.MAGIC, wire.MAGIC]
    assert len(bench.containers[0]) < 500
    assert bench.sent == [("a/numeric", 51)]


async def test_live_records_go_compressed_where_there_are_many_in_one_container() -> None:
    for count, magic in ((WHOLE_FROM - 1, wire.MAGIC), (WHOLE_FROM, history.MAGIC)):
        bench = Bench()
        bench.pump.history_packer = PACKER
        for number in range(count):
            bench.outbox.store(f"bed-{number}/numeric", payload=b"97 percent, as before")
        assert len(await bench.round()) == count
        assert [container[:4] for container in bench.containers] == [magic]


async def test_a_small_turn_takes_as_many_small_live_records_as_are_worth_compressing() -> None:
    bench = Bench(granted_bytes=1024)
    bench.pump.history_packer = PACKER
    sent = []
    for _ in range(30):
        for number in range(20):
            bench.outbox.store(f"bed-{number}/numeric", payload=bytes(150))
        sent.append(len(await bench.round()))
    assert sent[0] < WHOLE_FROM
    assert min(sent[-5:]) >= WHOLE_FROM
    assert max(bench.settled[-5:]) <= 1024


async def test_a_hub_that_knows_no_history_is_sent_none() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 5)
    await bench.pump.open()
    await bench.round()
    assert [container[:4] for container in bench.containers] == [wire.MAGIC]


async def test_what_is_sent_again_goes_as_it_is_stored() -> None:
    bench = Bench()
    bench.outbox.store("a/numeric", 5)
    await bench.pump.open()
    bench.pump.history_packer = PACKER
    await bench.round()
    bench.now_s = 5
    bench.outbox.store("b/numeric", 5)
    assert [seq for _, seq in await bench.round()][-5:] == [1, 2, 3, 4, 5]
    assert bench.containers[-1].startswith(wire.MAGIC)


async def test_the_more_records_shrink_the_more_go_in_a_turn() -> None:
    bench = Bench(granted_bytes=2000)
    bench.pump.history_packer = PACKER
    bench.outbox.store("a/numeric", 300, payload=b"97 percent, as before, and no more than that")
    await bench.hear("a/numeric", 0, window=1024)
    await bench.pump.open()
    counts = [len(await bench.round()) for _ in range(7)]
    assert counts == sorted(counts)
    stored_bytes = wire.HEAD_BYTES + 44
    assert counts[-1] * stored_bytes > 2 * bench.granted_bytes
    assert max(bench.settled) < 3000


async def test_what_is_sent_again_keeps_to_its_turn_however_well_records_shrank_before() -> None:
    bench = Bench(granted_bytes=1024)
    bench.pump.history_packer = PACKER
    bench.outbox.store("a/numeric", 300, payload=b"97 percent, as before, and no more than that")
    await bench.hear("a/numeric", 0, window=1024)
    await bench.pump.open()
    while await bench.round():
        pass
    bench.now_s, bench.settled = 5, []
    again = [seq for _ in range(40) for _, seq in await bench.round()]
    assert len(again) > 100
    assert max(bench.settled) <= bench.granted_bytes + 100, "names of streams and the head of the container come on top"


async def test_large_records_never_make_a_container_that_is_refused() -> None:
    bench = Bench(granted_bytes=16_000)
    bench.pump.history_packer = PACKER
    bench.outbox.store("a/numeric", 60, payload=bytes(30_000))
    await bench.hear("a/numeric", 0, window=1024)
    await bench.pump.open()
    for bench.now_s in (0, 5):
        sent = [bench.sent[:] for _ in range(90) if await bench.round()]
        assert sorted(seq for records in sent for _, seq in records) == list(range(1, 61))
