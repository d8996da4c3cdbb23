"""One Send call to the hub, for as long as there is something to send.

Four things go on at once: the next files are offered ahead, pieces are written in the order of the agenda, progress is
heard at once (its delay is what the scheduler measures), and what was heard is written down.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from telemed.errors import Code
from telemed.transfer import CHUNK_BYTES, chunk_bytes, chunk_hash, packed
from telemed.v1 import transfer_pb2

from edge_node.buffer.failpoint import reach
from edge_node.errors import LinkDown
from edge_node.uplink.transfer import rows
from edge_node.uplink.transfer.agenda import Agenda
from edge_node.uplink.transfer.channel import HEARD_LIMIT_S, Hub, translated
from edge_node.uplink.transfer.flow import Flow, Lane
from edge_node.uplink.transfer.metrics import TransferMetrics
from edge_node.uplink.transfer.offering import Outgoing, offer
from edge_node.uplink.transfer.parcel import Parcel
from edge_node.uplink.transfer.spool import Spool
from edge_node.uplink.transfer.states import Step

AHEAD = 2
"""So many files are offered before their turn comes, so that no round trip is waited for between them."""
NS = 10**9

SendCall = grpc.aio.StreamStreamCall[transfer_pb2.Piece, transfer_pb2.Progress]


@dataclass(frozen=True, slots=True)
class Means:
    """What a session works with."""

    agenda: Agenda
    spool: Spool
    flow: Flow
    metrics: TransferMetrics


class Session:
    """Made for one Send call, run once."""

    def __init__(self, hub: Hub, means: Means) -> None:
        self._hub = hub
        self._means = means
        self._agenda = means.agenda
        self._outgoing: dict[str, Outgoing] = {}
        self._over: set[str] = set()
        """Files that are done, refused or put off: not touched again on this call."""
        self._put_off: set[str] = set()
        self._changed, self._wanted = asyncio.Event(), asyncio.Event()
        self._notes: asyncio.Queue[transfer_pb2.Progress | None] = asyncio.Queue()
        self._last_hub_id = ""
        self._has_ended = False
        """Nothing more is written on this call."""

    async def run(self) -> None:
        """Send what may be sent; return once there is nothing more and all is dealt with.

        Raises:
            LinkDown: the connection ended; what the hub has told durable stays so.
            HubRefuses: it does not take this node's calls.
            BufferFailure: the queue cannot be written.
        """
        lane = Lane(self._means.flow)
        call = self._hub.stub.Send(metadata=self._hub.login.metadata)
        self._agenda.listeners += [self._changed, self._wanted]
        try:
            async with asyncio.TaskGroup() as group:
                hearing = group.create_task(self._hear(call, lane))
                noting = group.create_task(self._note_all())
                offering = group.create_task(self._offer_ahead())
                await self._write_all(call, lane)
                offering.cancel()
                self._has_ended = True
                with translated():
                    await call.done_writing()
                await hearing
                self._notes.put_nowait(None)
                await noting
        finally:
            for event in (self._changed, self._wanted):
                self._agenda.listeners.remove(event)
            lane.ended()
            call.cancel()

    async def _write_all(self, call: SendCall, lane: Lane) -> None:
        while not self._is_over():
            self._changed.clear()
            outgoing = self._first()
            if outgoing is None:
                await self._changed.wait()
                continue
            if not outgoing.has_begun:
                outgoing.has_begun = True
                await self._step(outgoing.parcel, Step.BEGIN)
            if outgoing.missing:
                await self._send_chunk(call, lane, outgoing)
            else:
                outgoing.is_ending = True
                await self._send(call, lane, outgoing, transfer_pb2.Piece())

    def _is_over(self) -> bool:
        """Whether everything is dealt with: nothing to send, to offer, or to hear about."""
        if any(each.unsettled or each.is_ending for each in self._outgoing.values()):
            return False
        return self._must_begin_anew() or not (
            self._first() or any(parcel.parcel_id not in self._known() for parcel in self._agenda.ready)
        )

    def _must_begin_anew(self) -> bool:
        """Whether a file that was put off may go again: it needs a call of its own."""
        return any(parcel.parcel_id in self._put_off for parcel in self._agenda.ready)

    def _known(self) -> set[str]:
        return self._over | self._outgoing.keys()

    def _first(self) -> Outgoing | None:
        """Return the file that goes next, among those that were offered."""
        if self._must_begin_anew():
            return None
        for parcel in self._agenda.ready:
            outgoing = self._outgoing.get(parcel.parcel_id)
            if outgoing is not None and outgoing.has_more and self._may_go(outgoing):
                return outgoing
        return None

    def _may_go(self, outgoing: Outgoing) -> bool:
        if not outgoing.missing:
            return True
        least_bytes = chunk_bytes(outgoing.missing[0], outgoing.parcel.size_bytes)
        return self._agenda.judge(outgoing.parcel, least_bytes).most_bytes > 0

    async def _send_chunk(self, call: SendCall, lane: Lane, outgoing: Outgoing) -> None:
        index = outgoing.missing.popleft()
        outgoing.unsettled.add(index)
        data, packed_bytes = await asyncio.to_thread(self._read, outgoing, index)
        if data is None:
            await self._give_up(outgoing, Code.FILE_CHANGED)
            return
        at = 0
        while at < len(data):
            granted = await lane.flow.grant(len(data) - at)
            piece = transfer_pb2.Piece(
                offset=index * CHUNK_BYTES + at, data=data[at : at + granted], packed_bytes=packed_bytes
            )
            await self._send(call, lane, outgoing, piece)
            at += granted
        self._wanted.set()

    def _read(self, outgoing: Outgoing, index: int) -> tuple[bytes | None, int]:
        """Return a chunk as it goes, None where it is not what was queued, and its length if packed; blocking."""
        parcel, right_hash = outgoing.parcel, chunk_hash(outgoing.hashes, index)
        plain = self._means.spool.read_if_right(parcel.sha256, index, parcel.size_bytes, right_hash)
        if plain is None or not outgoing.takes_packed or index in outgoing.plain:
            return plain, 0
        short = packed(plain)
        return (plain, 0) if short is None else (short, len(short))

    async def _send(self, call: SendCall, lane: Lane, outgoing: Outgoing, piece: transfer_pb2.Piece) -> None:
        size_bytes = len(piece.data)
        piece.transfer_id = "" if outgoing.hub_id == self._last_hub_id else outgoing.hub_id
        self._last_hub_id = outgoing.hub_id
        # Before the write: what was granted is under way from here on, and lost where the write fails.
        lane.sent(size_bytes)
        with translated():
            await call.write(piece)
        reach("piece-sent")
        kind = outgoing.parcel.labels.kind
        self._agenda.spend(kind, size_bytes)
        self._means.metrics.bytes.labels(kind, "sent").inc(size_bytes)

    async def _offer_ahead(self) -> None:
        while True:
            self._wanted.clear()
            parcel = self._next_to_offer()
            if parcel is None:
                await self._wanted.wait()
                continue
            await self._offer(parcel)
            self._changed.set()

    def _next_to_offer(self) -> Parcel | None:
        open_ones = [
            parcel
            for parcel in self._agenda.ready
            if parcel.parcel_id not in self._over
            and (parcel.parcel_id not in self._outgoing or self._outgoing[parcel.parcel_id].has_more)
        ]
        return next((parcel for parcel in open_ones[:AHEAD] if parcel.parcel_id not in self._outgoing), None)

    async def _offer(self, parcel: Parcel) -> None:
        hashes = await self._agenda.ledger.read(lambda c: rows.chunk_hashes(c, parcel.parcel_id))
        found = await offer(self._hub, self._means.flow, parcel, hashes)
        reach("offer-answered")
        await self._reached()
        if isinstance(found, Outgoing):
            self._outgoing[parcel.parcel_id] = found
            await self._write(lambda c: rows.note_offered(c, parcel.parcel_id, found.hub_id, found.durable_bytes))
        elif found is None:
            await self._arrived(parcel)
        else:
            await self._refused(parcel, found)

    async def _reached(self) -> None:
        """The hub answers: whatever was held because it did not, is not any more."""
        if self._agenda.outage:
            self._agenda.outage = ""
            await self._agenda.refresh()

    async def _hear(self, call: SendCall, lane: Lane) -> None:
        """Hear progress until the hub ends the call."""
        while True:
            with translated():
                async with asyncio.timeout(HEARD_LIMIT_S):
                    progress = await call.read()
            if not isinstance(progress, transfer_pb2.Progress):
                if not self._has_ended:
                    raise LinkDown("the hub ended the call")
                return
            lane.received(progress.received_bytes)
            if progress.durable or progress.complete or progress.corrupt or progress.refused:
                self._notes.put_nowait(progress)

    async def _note_all(self) -> None:
        while (progress := await self._notes.get()) is not None:
            reach("progress-heard")
            by_hub_id = {each.hub_id: each for each in self._outgoing.values()}
            for durable in progress.durable:
                if outgoing := by_hub_id.get(durable.transfer_id):
                    await self._durable(outgoing, list(durable.chunks))
            for corrupt in progress.corrupt:
                if outgoing := by_hub_id.get(corrupt.transfer_id):
                    outgoing.ask_again(corrupt.chunk)
                    kind = outgoing.parcel.labels.kind
                    size_bytes = chunk_bytes(corrupt.chunk, outgoing.parcel.size_bytes)
                    self._means.metrics.bytes.labels(kind, "corrupt").inc(size_bytes)
            for complete in progress.complete:
                if outgoing := by_hub_id.get(complete.transfer_id):
                    await self._arrived(outgoing.parcel)
            for refused in progress.refused:
                if outgoing := by_hub_id.get(refused.transfer_id):
                    await self._refused(outgoing.parcel, refused.refusal)
            self._changed.set()
            self._wanted.set()

    async def _durable(self, outgoing: Outgoing, runs: list[transfer_pb2.ChunkRun]) -> None:
        before_bytes = outgoing.durable_bytes
        outgoing.note_durable(runs)
        parcel, now_bytes = outgoing.parcel, outgoing.durable_bytes
        await self._write(lambda c: rows.note_durable(c, parcel.parcel_id, now_bytes))
        reach("durable-noted")
        self._means.metrics.bytes.labels(parcel.labels.kind, "durable").inc(now_bytes - before_bytes)

    async def _arrived(self, parcel: Parcel) -> None:
        self._end(parcel)
        await self._write(lambda c: rows.note_durable(c, parcel.parcel_id, parcel.size_bytes))
        if await self._step(parcel, Step.ARRIVED):
            self._means.metrics.files.labels(parcel.labels.kind, "done").inc()
        reach("done-noted")
        self._agenda.drop(parcel)

    async def _refused(self, parcel: Parcel, refusal: transfer_pb2.Refusal) -> None:
        self._end(parcel)
        self._agenda.drop(parcel)
        if refusal.retry_after_s:
            self._put_off.add(parcel.parcel_id)
            resume_ns = self._agenda.clock_ns() + refusal.retry_after_s * NS
            await self._step(parcel, Step.HOLD, refusal.code, resume_ns)
        elif await self._step(parcel, Step.REFUSE, refusal.code):
            self._means.metrics.files.labels(parcel.labels.kind, "refused").inc()
        await self._agenda.refresh()

    async def _give_up(self, outgoing: Outgoing, code: str) -> None:
        """Refuse a file here: its content in the spool is not what was queued."""
        await self._refused(outgoing.parcel, transfer_pb2.Refusal(code=code))

    def _end(self, parcel: Parcel) -> None:
        self._over.add(parcel.parcel_id)
        self._outgoing.pop(parcel.parcel_id, None)

    async def _step(self, parcel: Parcel, what: Step, code: str = "", resume_ns: int = 0) -> bool:
        return await self._agenda.ledger.write(lambda c: rows.step(c, parcel.parcel_id, what, code, resume_ns))

    async def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do a piece of work on the queue, and write down what was spent together with it."""
        spend = self._agenda.take_unsaved()

        def both(connection: sqlite3.Connection) -> None:
            work(connection)
            spend(connection)

        await self._agenda.ledger.write(both)
