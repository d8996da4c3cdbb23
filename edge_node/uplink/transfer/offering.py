"""Offers one file to the hub and learns what of it is missing there."""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field

import grpc
from telemed.transfer import chunk_bytes, chunk_count, indexes, kind_number, manifest_hash
from telemed.v1 import transfer_pb2

from edge_node.errors import LinkDown
from edge_node.uplink.transfer.channel import HEARD_LIMIT_S, Hub, translated
from edge_node.uplink.transfer.flow import Flow, Lane
from edge_node.uplink.transfer.parcel import Parcel

AT_ONCE_BYTES = 2048
"""So few hashes go along unasked: a small file is offered in one round trip."""

OfferCall = grpc.aio.StreamStreamCall[transfer_pb2.OfferPart, transfer_pb2.OfferAnswer]


@dataclass(slots=True)
class Outgoing:
    """A file that was offered in this session: what is missing at the hub, and what is under way."""

    parcel: Parcel
    hashes: bytes
    hub_id: str
    missing: deque[int]
    unsettled: set[int] = field(default_factory=set)
    """Sent, and not told durable yet."""
    is_ending: bool = False
    """Nothing is missing any more: the hub is to verify the whole."""
    durable_bytes: int = 0
    has_begun: bool = False
    takes_packed: bool = False
    """Whether the hub takes chunks packed."""
    plain: set[int] = field(default_factory=set)
    """Chunks that go as they are, because they came to nothing once."""

    @property
    def has_more(self) -> bool:
        """Whether there is something to send."""
        return bool(self.missing) or (not self.unsettled and not self.is_ending)

    def note_durable(self, runs: list[transfer_pb2.ChunkRun]) -> None:
        """Take in what the hub has told durable."""
        size_bytes = self.parcel.size_bytes
        for index in indexes(runs, chunk_count(size_bytes)):
            if index in self.unsettled:
                self.unsettled.discard(index)
                self.durable_bytes += chunk_bytes(index, size_bytes)
        if not self.missing and not self.unsettled:
            self.is_ending = True

    def ask_again(self, index: int) -> None:
        """Take in that a chunk is to be sent once more."""
        if index not in self.unsettled and self.durable_bytes:
            self.durable_bytes -= chunk_bytes(index, self.parcel.size_bytes)
        self.unsettled.discard(index)
        self.is_ending = False
        self.plain.add(index)
        self.missing.appendleft(index)


Offered = Outgoing | transfer_pb2.Refusal | None
"""None: the hub has it whole already."""


async def offer(hub: Hub, flow: Flow, parcel: Parcel, hashes: bytes) -> Offered:
    """Offer a file; return what is missing of it, why it is refused, or None where nothing is left to do.

    Raises:
        LinkDown: the hub did not answer.
        HubRefuses: it does not take this node's calls.
    """
    call = hub.stub.Offer(metadata=hub.login.metadata)
    lane = Lane(flow)
    try:
        with translated():
            await call.write(transfer_pb2.OfferPart(head=_head(hub, parcel, hashes)))
        return _outcome(parcel, hashes, await _converse(call, lane, hashes))
    finally:
        lane.ended()
        call.cancel()


async def _converse(call: OfferCall, lane: Lane, hashes: bytes) -> transfer_pb2.OfferAnswer:
    """Send the hashes where they are wanted; return the last answer."""
    sending: asyncio.Task[None] | None = None
    try:
        if len(hashes) <= AT_ONCE_BYTES:
            sending = asyncio.create_task(_send_hashes(call, lane, hashes))
        while True:
            answer = await _read(call)
            lane.received(answer.received_bytes)
            kind = answer.WhichOneof("answer")
            if kind == "hashes_wanted":
                sending = sending or asyncio.create_task(_send_hashes(call, lane, hashes))
            elif kind is not None:
                return answer
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending])


async def _read(call: OfferCall) -> transfer_pb2.OfferAnswer:
    with translated():
        async with asyncio.timeout(HEARD_LIMIT_S):
            answer = await call.read()
        if not isinstance(answer, transfer_pb2.OfferAnswer):
            raise LinkDown("the hub ended the offer without an answer")
    return answer


async def _send_hashes(call: OfferCall, lane: Lane, hashes: bytes) -> None:
    at = 0
    # Where the hub has them already it ends the call meanwhile.
    with contextlib.suppress(LinkDown):
        while at < len(hashes):
            granted = await lane.flow.grant(len(hashes) - at)
            lane.sent(granted)
            with translated():
                await call.write(transfer_pb2.OfferPart(hashes=hashes[at : at + granted]))
            at += granted


def _outcome(parcel: Parcel, hashes: bytes, answer: transfer_pb2.OfferAnswer) -> Offered:
    if answer.HasField("refused"):
        return answer.refused
    if answer.is_complete:
        return None
    count = chunk_count(parcel.size_bytes)
    missing = deque(indexes(answer.lacking.missing, count))
    missing_bytes = sum(chunk_bytes(index, parcel.size_bytes) for index in missing)
    return Outgoing(
        parcel,
        hashes,
        answer.lacking.transfer_id,
        missing,
        durable_bytes=parcel.size_bytes - missing_bytes,
        takes_packed=answer.lacking.takes_packed,
    )


def _head(hub: Hub, parcel: Parcel, hashes: bytes) -> transfer_pb2.FileHead:
    return transfer_pb2.FileHead(
        sha256=bytes.fromhex(parcel.sha256),
        size_bytes=parcel.size_bytes,
        manifest_sha256=manifest_hash(hashes),
        kind=kind_number(parcel.labels.kind),
        name=parcel.labels.name,
        group_id=parcel.labels.group,
        is_preview=parcel.labels.is_preview,
        site=hub.login.address.site,
        node=hub.login.address.node,
    )
