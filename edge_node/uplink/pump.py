"""Carries the records of one class from the buffer to the hub until the hub's receipts say it has them."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog
from telemed import wire
from telemed.topics import Up
from telemed.v1 import uplink_pb2

from edge_node.buffer.delivery import ALARM_WINDOW, LARGEST_WINDOW, WINDOW, Delivery, Receipt, runs
from edge_node.buffer.outbox import StreamState
from edge_node.errors import BufferFailure

LOOK_AGAIN_S = 1.0
"""How often overdue records are looked for while some are under way."""
GATHER_S = 0.02
"""How long measurements wait for others to share a container; alarms and events never wait."""
CONTAINER_BYTES = 64 * 1024
"""Aim for containers: small enough that an alarm on another connection does not wait long behind one."""

log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """What the pump needs of the buffer."""

    def streams(self, up: Up) -> Mapping[str, StreamState]:
        """Return how far each stream of a class has come."""

    async def read_run(self, up: Up, stream: str, first: int, last: int) -> list[wire.Record]:
        """Return the records first to last that are still there, in order."""

    async def acknowledge(self, up: Up, contigs: Mapping[str, int]) -> None:
        """Note how far the hub has each stream."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    delivery: Delivery
    turn: int
    record: wire.Record


class Pump:
    """The pump of one class; woken by new records, receipts and the link."""

    def __init__(
        self,
        up: Up,
        outbox: Outbox,
        publish: Callable[[Up, bytes], bool],
        *,
        resend_after_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._up = up
        self._outbox = outbox
        self._publish = publish
        self._resend_after_s = resend_after_s
        self._now_s = now_s
        self._window = ALARM_WINDOW if up is Up.ALARM else WINDOW
        self._deliveries: dict[str, Delivery] = {}
        self._woken = asyncio.Event()
        self.is_open = False
        """Whether there is a way to the hub."""
        self.ahead: set[str] = set()
        """Streams of which the hub has numbers that were never given out here: a copied or set-back disk."""

    def wake(self) -> None:
        """Look for something to send."""
        self._woken.set()

    def open(self) -> None:
        """Begin to send, with all that is not acknowledged; called when the way to the hub is there (again)."""
        for stream, state in self._outbox.streams(self._up).items():
            self._delivery(stream, state).restart()
        self.is_open = True
        self.wake()

    def close(self) -> None:
        """Stop sending: there is no way to the hub."""
        self.is_open = False

    async def run(self) -> None:
        """Send what is to be sent, until cancelled."""
        failing = False
        while True:
            self._woken.clear()
            try:
                sent = await self.round() if self.is_open else 0
                failing = False
            except BufferFailure as failure:
                if not failing:
                    log.warning("pump.buffer-failed", stream_class=self._up.value, code=failure.code)
                failing, sent = True, 0
            if sent == 0:
                await self._rest()

    async def round(self) -> int:
        """Send once what the windows allow; return how many records went."""
        now_s = self._now_s()
        chosen: list[_Chosen] = []
        for stream, state in self._outbox.streams(self._up).items():
            chosen += await self._choose(stream, self._delivery(stream, state), now_s)
        return self._send(chosen, now_s)

    async def take(self, receipts: Iterable[uplink_pb2.Receipt], hub_ns: int, window_hint: int) -> None:
        """Take in what the hub says of the streams of this class; other streams are passed over."""
        streams = self._outbox.streams(self._up)
        if window_hint and self._up is not Up.ALARM:
            self._window = min(LARGEST_WINDOW, window_hint)
        changed = {}
        for receipt in receipts:
            state = streams.get(receipt.stream)
            if state is None or state.epoch != receipt.epoch:
                continue
            delivery = self._delivery(receipt.stream, state)
            self._watch(state, receipt.contig)
            if delivery.take(receipt_of(receipt, hub_ns)):
                changed[receipt.stream] = delivery.acked
        if changed:
            await self._outbox.acknowledge(self._up, changed)
        self.wake()

    def _watch(self, state: StreamState, contig: int) -> None:
        if contig >= state.next_seq and state.stream not in self.ahead:
            self.ahead.add(state.stream)
            log.error("pump.hub-ahead", stream=state.stream, next_seq=state.next_seq, hub_contig=contig)

    def _delivery(self, stream: str, state: StreamState) -> Delivery:
        delivery = self._deliveries.get(stream)
        if delivery is None:
            delivery = self._deliveries[stream] = Delivery(state.acked, state.next_seq)
        delivery.next_seq = state.next_seq
        delivery.window = self._window
        return delivery

    async def _choose(self, stream: str, delivery: Delivery, now_s: float) -> "list[_Chosen]":
        wanted, turn = delivery.plan(now_s, self._resend_after_s), delivery.turn
        found: dict[int, wire.Record] = {}
        for first, last in runs(wanted):
            for record in await self._outbox.read_run(self._up, stream, first, last):
                found[record.seq] = record
        if delivery.turn == turn:
            delivery.gone(seq for seq in wanted if seq not in found)
        return [_Chosen(delivery, turn, found[seq]) for seq in wanted if seq in found]

    def _send(self, chosen: "list[_Chosen]", now_s: float) -> int:
        sent = 0
        for run in wire.split((each.record for each in chosen), CONTAINER_BYTES):
            if not self.is_open or not self._publish(self._up, wire.encode(run)):
                break
            for each in chosen[sent : sent + len(run)]:
                if each.delivery.turn == each.turn:
                    each.delivery.sent([each.record.seq], now_s)
            sent += len(run)
        return sent

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(LOOK_AGAIN_S):
                await self._woken.wait()
        except TimeoutError:
            return
        if self._up in (Up.VITALS, Up.WAVES):
            await asyncio.sleep(GATHER_S)


def receipt_of(message: uplink_pb2.Receipt, hub_ns: int) -> Receipt:
    """Return a receipt off the wire as the delivery states take it."""
    gaps = tuple((gap.first, gap.last) for gap in message.gaps)
    return Receipt(message.contig, message.max, gaps, hub_ns)
