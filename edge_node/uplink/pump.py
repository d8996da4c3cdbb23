"""Carries the records of one class from the buffer to the hub until the hub's receipts say it has them.

Two lanes, each waiting for its own turns: what came in just now, and the backlog.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

import structlog
from telemed import history, wire
from telemed.numbers import Run, runs
from telemed.topics import Up
from telemed.v1 import uplink_pb2

from edge_node.buffer.delivery import ALARM_WINDOW, BLOCK_S, LARGEST_WINDOW, WINDOW, Delivery, Receipt
from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.errors import BufferFailure
from edge_node.uplink.schedule import WIDE_SEGMENT_BYTES, Ask, Traffic

GATHER_S, WATCHED_GATHER_S, PRESSED_GATHER_S = 0.65, 0.02, 5.0
"""How long measurements wait for others to share a container; hardly at all while somebody looks at this node's beds,
longest where headers cost too much of the link."""
RETRY_S = 1.0
LIVE = {Up.ALARM: Traffic.ALARM, Up.CARE: Traffic.VITALS, Up.VITALS: Traffic.VITALS, Up.WAVES: Traffic.WATCHED}
BACKLOG = {Up.ALARM: Traffic.VITALS, Up.CARE: Traffic.VITALS, Up.VITALS: Traffic.BACKLOG, Up.WAVES: Traffic.BACKLOG}
GUESSED_RECORD_BYTES = 300
WHOLE_FROM, MANY_SHRINK_TO = 16, 0.25
"""Live records in one container from which on they, too, are compressed together, and what is then left of numerics."""
MOST_AT_ONCE_BYTES = wire.CONTAINER_LIMIT_BYTES // 2
"""Of records as they are stored, in one container: it must fit whatever form it takes."""

log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """What the pump needs of the buffer."""

    def streams(self, up: Up) -> Mapping[StreamKey, StreamState]:
        """Return how far each stream of a class has come."""

    async def read_run(self, up: Up, key: StreamKey, first: int, last: int) -> list[wire.Record]:
        """Return the records first to last that are still there, in order; where none is, the next one after them."""

    async def acknowledge(self, up: Up, contigs: Mapping[StreamKey, int]) -> None:
        """Note how far the hub has each stream."""

    async def newest_hour_from(self, up: Up, key: StreamKey) -> int:
        """Return the first unacknowledged number of the newest hour, 0 where all of them are of it."""


class Turns(Protocol):
    """What the pump needs of the node's one scheduler."""

    async def turn(self, traffic: Traffic, most_bytes: int) -> Ask:
        """Wait until this class may send."""

    def settle(self, asked: Ask, sent_bytes: int) -> None:
        """Say how many bytes of a turn were sent."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    delivery: Delivery
    turn: int
    record: wire.Record


@dataclass(slots=True)
class _Lane:
    """One of the two ways records go."""

    traffic: Traffic
    is_live: bool
    keys: dict[StreamKey, None] = field(default_factory=dict)
    """Streams that may have something to send this way, in the order in which they came."""
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    shrinks_to: float = 1.0
    """What records take on the wire, by what they take in the store, of late."""

    def add(self, key: StreamKey) -> None:
        """Look at a stream, now."""
        self.keys[key] = None
        self.woken.set()


class Pump:
    """The pump of one class; woken by new records, receipts and the link."""

    def __init__(
        self,
        up: Up,
        outbox: Outbox,
        publish: Callable[[Up, bytes], bool],
        turns: Turns,
        *,
        resend_after_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._up = up
        self._outbox = outbox
        self._publish = publish
        self._turns = turns
        self._resend_after_s = resend_after_s
        self._now_s = now_s
        self._window = ALARM_WINDOW if up is Up.ALARM else WINDOW
        self._deliveries: dict[StreamKey, Delivery] = {}
        self._live, self._backlog = _Lane(LIVE[up], is_live=True), _Lane(BACKLOG[up], is_live=False)
        self._record_bytes = float(GUESSED_RECORD_BYTES)
        self.is_open = False
        """Whether there is a way to the hub."""
        self.gather_s: Callable[[], float] = lambda: GATHER_S
        """How long measurements gather before they are sent."""
        self.is_watched: Callable[[str], bool] = lambda _stream: True
        """Whether somebody looks at a stream now; one that nobody looks at goes in blocks."""
        self.block_s = BLOCK_S
        """How long what nobody looks at is gathered."""
        self.history_packer = 0
        """The zstd of a hub that takes history containers; 0: it takes none."""
        self.may_send_backlog: Callable[[], bool] = lambda: True
        """Whether nothing more wanted waits elsewhere; asked again with `look_again`."""

    def stored(self, keys: Iterable[StreamKey]) -> None:
        """Records of these streams were committed."""
        states, now_s = self._outbox.streams(self._up), self._now_s()
        for key in keys:
            delivery = self._delivery(key, states[key])
            if delivery.is_live:
                self._live.add(key)
            elif delivery.gather(now_s):
                self._backlog.add(key)

    def look_again(self) -> None:
        """Look for what is overdue, what has become a block, and who looks at what; called every second."""
        now_s = self._now_s()
        for key, state in self._outbox.streams(self._up).items():
            delivery = self._delivery(key, state)
            if delivery.has_overdue(now_s, self._resend_after_s):
                self._live.add(key)
                self._backlog.add(key)
            elif delivery.gather(now_s):
                self._backlog.add(key)
        if self._backlog.keys:
            # Perhaps it was held back by what was more wanted elsewhere.
            self._backlog.woken.set()

    async def open(self) -> None:
        """Begin to send, with all that is not acknowledged; called when the way to the hub is there (again)."""
        # A copy: while one is looked up another may begin.
        for key, state in list(self._outbox.streams(self._up).items()):
            newest_hour_from = await self._outbox.newest_hour_from(self._up, key)
            self._delivery(key, state).restart(newest_hour_from)
            self._backlog.add(key)
        self.is_open = True

    def close(self) -> None:
        """Stop sending: there is no way to the hub."""
        self.is_open = False

    @property
    def has_backlog(self) -> bool:
        """Whether something that may be sent waits behind the live records."""
        return self.is_open and self._wants(self._backlog)

    async def run(self) -> None:
        """Send what is to be sent, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for lane in (self._live, self._backlog):
                group.create_task(self._keep(lane))

    async def round(self, *, live: bool) -> int:
        """Send once what one turn of a lane allows; return how many records went."""
        lane = self._live if live else self._backlog
        if not self._wants(lane):
            return 0
        asked = await self._turns.turn(lane.traffic, WIDE_SEGMENT_BYTES)
        count, sent_bytes = 0, 0
        try:
            chosen = await self._choose(lane, asked.granted_bytes) if self.is_open else []
            count, sent_bytes = self._send(lane, chosen, asked.granted_bytes)
        finally:
            self._turns.settle(asked, sent_bytes)
        return count

    async def take(self, receipts: Iterable[uplink_pb2.Receipt], hub_ns: int, window_hint: int) -> None:
        """Take in what the hub says of the streams of this class; other streams are passed over."""
        streams = self._outbox.streams(self._up)
        if window_hint and self._up is not Up.ALARM:
            self._window = min(LARGEST_WINDOW, window_hint)
        changed = {}
        for receipt in receipts:
            key = StreamKey(receipt.stream, receipt.epoch)
            state = streams.get(key)
            if state is None:
                continue
            delivery = self._delivery(key, state)
            told = receipt_of(receipt, hub_ns)
            if told.max >= state.next_seq:
                # A former self of this node has been there: what is not known here is not for here.
                if not state.is_closed:
                    continue
                told = told.up_to(state.next_seq - 1)
            turn = delivery.turn
            delivery.take(told)
            if delivery.acked != state.acked:
                # Or it changed before, and could not be noted.
                changed[key] = delivery.acked
            if delivery.turn != turn or delivery.has_more:
                self._live.add(key)
                self._backlog.add(key)
        if changed:
            await self._outbox.acknowledge(self._up, changed)

    async def _keep(self, lane: _Lane) -> None:
        failing = False
        while True:
            lane.woken.clear()
            try:
                sent = await self.round(live=lane.is_live) if self.is_open else 0
                failing = False
            except BufferFailure as failure:
                if not failing:
                    log.warning("pump.buffer-failed", stream_class=self._up.value, code=failure.code)
                failing, sent = True, 0
                asyncio.get_running_loop().call_later(RETRY_S, lane.woken.set)
            if sent == 0:
                await lane.woken.wait()
                if lane.is_live and self._up in (Up.VITALS, Up.WAVES):
                    await self._gather()

    async def _gather(self) -> None:
        """Let records gather, no longer than is wanted meanwhile: what pressed the link may be over in a moment."""
        began_s, left_s = self._now_s(), self.gather_s()
        while left_s > 0:
            await asyncio.sleep(min(left_s, GATHER_S))
            left_s = began_s + self.gather_s() - self._now_s()

    def _delivery(self, key: StreamKey, state: StreamState) -> Delivery:
        delivery = self._deliveries.get(key)
        if delivery is None:
            # A stream that begins while the way is open is live from its first record on.
            next_seq = state.acked + 1 if self.is_open else state.next_seq
            is_live = self.is_watched(state.stream)
            delivery = self._deliveries[key] = Delivery(state.acked, next_seq, is_live=is_live, block_s=self.block_s)
        delivery.next_seq = state.next_seq
        delivery.window = self._window
        if delivery.look(self.is_watched(state.stream)):
            self._live.add(key)
            self._backlog.add(key)
        return delivery

    def _plan(self, lane: _Lane, delivery: Delivery) -> list[int]:
        plan = delivery.plan_live if lane.is_live else delivery.plan_backlog
        return plan(self._now_s(), self._resend_after_s)

    def _wants(self, lane: _Lane) -> bool:
        """Whether a lane has something to send; streams that have not are forgotten until something happens to them."""
        if not lane.is_live and not self.may_send_backlog():
            return False
        states = self._outbox.streams(self._up)
        for key in list(lane.keys):
            if key in states and self._plan(lane, self._delivery(key, states[key])):
                return True
            lane.keys.pop(key, None)
        return False

    async def _choose(self, lane: _Lane, room_bytes: int) -> list[_Chosen]:
        """Read what fits into a turn, one record at least, the streams taking turns at being first."""
        chosen: list[_Chosen] = []
        left_bytes = self._stored_bytes(lane, room_bytes)
        states = self._outbox.streams(self._up)
        for key in sorted(lane.keys, key=self._last_s):
            if chosen and left_bytes < self._record_bytes:
                break
            if key not in states:
                continue
            delivery = self._delivery(key, states[key])
            wanted = self._plan(lane, delivery)[: max(1, int(left_bytes / self._record_bytes))]
            for one in await self._read(key, delivery, wanted):
                size_bytes = len(one.record.payload) + wire.HEAD_BYTES
                if chosen and size_bytes > left_bytes:
                    break
                left_bytes -= size_bytes
                chosen.append(one)
        return chosen

    def _stored_bytes(self, lane: _Lane, room_bytes: int) -> float:
        """How much of the store to put into a turn; so much at least that it is worth to be compressed together."""
        stored_bytes = room_bytes / lane.shrinks_to
        many_bytes = WHOLE_FROM * self._record_bytes
        if self.history_packer and many_bytes * MANY_SHRINK_TO <= room_bytes:
            stored_bytes = max(stored_bytes, many_bytes)
        return min(MOST_AT_ONCE_BYTES, stored_bytes)

    def _last_s(self, key: StreamKey) -> float:
        delivery = self._deliveries.get(key)
        return max(delivery.flying.values(), default=0.0) if delivery else 0.0

    async def _read(self, key: StreamKey, delivery: Delivery, wanted: list[int]) -> list[_Chosen]:
        turn = delivery.turn
        found: dict[int, wire.Record] = {}
        gone: list[Run] = []
        for first, last in runs(wanted):
            end = delivery.next_seq
            records = await self._outbox.read_run(self._up, key, first, last)
            found |= {record.seq: record for record in records if record.seq <= last}
            if not records or records[0].seq > last:
                # Given up, perhaps a great many: on with the next one that there is.
                gone.append((first, (records[0].seq if records else end) - 1))
            else:
                gone += runs(seq for seq in range(first, last + 1) if seq not in found)
        if delivery.turn == turn and gone:
            for run in gone:
                delivery.gone(*run)
            self._live.woken.set()
            self._backlog.woken.set()
        return [_Chosen(delivery, turn, found[seq]) for seq in wanted if seq in found]

    def _send(self, lane: _Lane, chosen: list[_Chosen], room_bytes: int) -> tuple[int, int]:
        """Send records in one container; return how many and its bytes, both 0 where there is no connection."""
        if not chosen or not self.is_open:
            return 0, 0
        carried, container = self._pack(lane, chosen, room_bytes)
        if not self._publish(self._up, container):
            return 0, 0
        now_s, stored_bytes = self._now_s(), 0
        for each in carried:
            size_bytes = len(each.record.payload) + wire.HEAD_BYTES
            stored_bytes += size_bytes
            self._record_bytes += 0.05 * (size_bytes - self._record_bytes)
            if each.delivery.turn == each.turn:
                each.delivery.sent([each.record.seq], now_s)
        if container.startswith(history.MAGIC):
            lane.shrinks_to += 0.2 * (min(1.0, len(container) / stored_bytes) - lane.shrinks_to)
        return len(carried), len(container)

    def _pack(self, lane: _Lane, chosen: list[_Chosen], room_bytes: int) -> tuple[list[_Chosen], bytes]:
        """Return one container and what it holds of the chosen records, one at least.

        They were chosen for what they take when they are compressed together; as they are stored fewer have room.
        """
        if self.history_packer:
            # What came to nothing once goes as it is stored: perhaps the hub cannot make it what it was.
            again = [each for each in chosen if each.record.seq in each.delivery.flying]
            if not again and not (lane.is_live and len(chosen) < WHOLE_FROM):
                whole = history.encode([each.record for each in chosen], self.history_packer)
                return chosen[: whole.count], whole.container
            chosen = again or chosen
        plain = _fitting(chosen, room_bytes)
        return plain, wire.encode([each.record for each in plain])


def _fitting(chosen: list[_Chosen], room_bytes: int) -> list[_Chosen]:
    """Return the first records that fit into so many bytes as they are stored, one at least."""
    ends_bytes = accumulate(len(each.record.payload) + wire.HEAD_BYTES for each in chosen)
    return chosen[: max(1, sum(end_bytes <= room_bytes for end_bytes in ends_bytes))]


def receipt_of(message: uplink_pb2.Receipt, hub_ns: int) -> Receipt:
    """Return a receipt off the wire as the delivery states take it."""
    gaps = tuple((gap.first, gap.last) for gap in message.gaps)
    return Receipt(message.contig, message.max, gaps, hub_ns)
