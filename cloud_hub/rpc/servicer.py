"""The calls of the transfer as gRPC sees them; the work is done beside."""

from collections.abc import AsyncIterator

from telemed.topics import NodeAddress
from telemed.transfer import LIST_LIMIT, kind_number, manifest_hash
from telemed.v1 import transfer_pb2, transfer_pb2_grpc

from cloud_hub.rpc import fetching, offering
from cloud_hub.rpc.judging import Context, Judge
from cloud_hub.rpc.parts import Parts
from cloud_hub.rpc.receiving import Receiving
from cloud_hub.store import releases, transfers
from cloud_hub.store.releases import Released
from cloud_hub.store.transfers import State


class TransferServicer(transfer_pb2_grpc.TransferServicer):
    """Transfer of files; every call begins by finding out who makes it."""

    def __init__(self, parts: Parts, judge: Judge) -> None:
        self._parts = parts
        self._judge = judge

    async def Offer(  # type: ignore[override]  # noqa: N802 - the name of the contract
        self, request_iterator: AsyncIterator[transfer_pb2.OfferPart], context: Context
    ) -> None:
        """Answer what of a file is missing."""
        async with self._judge.judged(context) as call:
            await offering.offer(self._parts, call.address, request_iterator, call.telling.write)

    async def Send(  # type: ignore[override]  # noqa: N802
        self, request_iterator: AsyncIterator[transfer_pb2.Piece], context: Context
    ) -> None:
        """Take pieces and tell what becomes of them."""
        async with self._judge.judged(context) as call:
            await Receiving(self._parts, call.address).run(request_iterator, call.telling.write)

    async def Fetch(  # type: ignore[override]  # noqa: N802
        self, request: transfer_pb2.FetchRequest, context: Context
    ) -> None:
        """Bring chunks of a released file."""
        async with self._judge.judged(context) as call:
            await fetching.fetch(self._parts, call.address, request, call.telling.write)

    async def List(self, request: transfer_pb2.ListRequest, context: Context) -> transfer_pb2.ListAnswer:  # noqa: N802
        """Tell what is released to the node, and what the hub lost."""
        answer = transfer_pb2.ListAnswer()
        async with self._judge.judged(context) as call:
            answer.CopyFrom(await self._list(call.address, request))
        return answer

    async def Withdraw(  # noqa: N802
        self, request: transfer_pb2.WithdrawRequest, context: Context
    ) -> transfer_pb2.WithdrawAnswer:
        """Give up a file that is not complete."""
        answer = transfer_pb2.WithdrawAnswer()
        async with self._judge.judged(context) as call:
            answer.is_withdrawn = await self._withdraw(call.address, request.transfer_id)
        return answer

    async def _list(self, address: NodeAddress, asked: transfer_pb2.ListRequest) -> transfer_pb2.ListAnswer:
        held = [each.hex() for each in asked.held[:LIST_LIMIT]]
        sent = [each.hex() for each in asked.sent[:LIST_LIMIT]]
        now_ns, care = self._parts.clock(), self._parts.care
        if held:
            await care.write(lambda c: releases.note_held(c, address, held, now_ns))
        found = await care.read(lambda c: releases.released_to(c, address))
        lost = await care.read(lambda c: transfers.lost(c, address, sent)) if sent else []
        return transfer_pb2.ListAnswer(
            released=[_head(each, address) for each in found], lost=[bytes.fromhex(each) for each in lost]
        )

    async def _withdraw(self, address: NodeAddress, transfer_id: str) -> bool:
        now_ns, care = self._parts.clock(), self._parts.care
        async with self._parts.lock_of(transfer_id):
            found = await care.read(lambda c: transfers.find(c, address, transfer_id))
            if found is None:
                return True
            is_withdrawn = await care.write(lambda c: transfers.withdraw(c, address, transfer_id, now_ns))
            if is_withdrawn:
                await self._parts.disk.call(self._parts.disk.blobs.drop, transfer_id)
                if found.state is State.RECEIVING:
                    self._parts.metrics.files.labels(found.facts.kind, "withdrawn").inc()
        return is_withdrawn


def _head(found: Released, address: NodeAddress) -> transfer_pb2.FileHead:
    return transfer_pb2.FileHead(
        sha256=bytes.fromhex(found.sha256),
        size_bytes=found.size_bytes,
        manifest_sha256=manifest_hash(found.chunk_hashes),
        kind=kind_number(found.kind),
        name=found.name,
        site=address.site,
        node=address.node,
    )
