"""The calls as gRPC sees them: who calls, what becomes of a failure; the work is done beside."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from telemed.topics import NodeAddress
from telemed.transfer import LIST_LIMIT, kind_number, manifest_hash
from telemed.v1 import transfer_pb2, transfer_pb2_grpc

from cloud_hub import errors
from cloud_hub.errors import HubError
from cloud_hub.rpc import fetching, offering
from cloud_hub.rpc.hang_up import hang_up
from cloud_hub.rpc.identity import Caller, Identity
from cloud_hub.rpc.parts import Parts
from cloud_hub.rpc.receiving import Receiving
from cloud_hub.rpc.telling import Telling
from cloud_hub.store import releases, transfers
from cloud_hub.store.releases import Released
from cloud_hub.store.transfers import State

Context = grpc.aio.ServicerContext[Any, Any]

STATUS: dict[type[Exception], grpc.StatusCode] = {
    errors.CallerUnknown: grpc.StatusCode.UNAUTHENTICATED,
    errors.CallerElsewhere: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.PieceMisplaced: grpc.StatusCode.INVALID_ARGUMENT,
    errors.CallWasteful: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.BlobDamaged: grpc.StatusCode.DATA_LOSS,
    errors.StoreFailure: grpc.StatusCode.UNAVAILABLE,
    OSError: grpc.StatusCode.UNAVAILABLE,
}
"""What a node sees of a failure; the text that goes with it is the code alone."""

log = structlog.get_logger(__name__)


class TransferServicer(transfer_pb2_grpc.TransferServicer):
    """Transfer of files; every call begins by finding out who makes it."""

    def __init__(self, parts: Parts, identity: Identity) -> None:
        self._parts = parts
        self._identity = identity

    async def Offer(  # type: ignore[override]  # noqa: N802 - the name of the contract
        self, request_iterator: AsyncIterator[transfer_pb2.OfferPart], context: Context
    ) -> None:
        """Answer what of a file is missing."""
        async with self._judged(context) as call:
            await offering.offer(self._parts, call.address, request_iterator, call.telling.write)

    async def Send(  # type: ignore[override]  # noqa: N802
        self, request_iterator: AsyncIterator[transfer_pb2.Piece], context: Context
    ) -> None:
        """Take pieces and tell what becomes of them."""
        async with self._judged(context) as call:
            await Receiving(self._parts, call.address).run(request_iterator, call.telling.write)

    async def Fetch(  # type: ignore[override]  # noqa: N802
        self, request: transfer_pb2.FetchRequest, context: Context
    ) -> None:
        """Bring chunks of a released file."""
        async with self._judged(context) as call:
            await fetching.fetch(self._parts, call.address, request, call.telling.write)

    async def List(self, request: transfer_pb2.ListRequest, context: Context) -> transfer_pb2.ListAnswer:  # noqa: N802
        """Tell what is released to the node, and what the hub lost."""
        answer = transfer_pb2.ListAnswer()
        async with self._judged(context) as call:
            answer.CopyFrom(await self._list(call.address, request))
        return answer

    async def Withdraw(  # noqa: N802
        self, request: transfer_pb2.WithdrawRequest, context: Context
    ) -> transfer_pb2.WithdrawAnswer:
        """Give up a file that is not complete."""
        answer = transfer_pb2.WithdrawAnswer()
        async with self._judged(context) as call:
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

    def _address(self, context: Context) -> NodeAddress:
        """Return the node that calls.

        Raises:
            CallerUnknown: that is not shown, or it is of another region.
        """
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        address = self._identity.node_of(Caller(metadata, context.auth_context()))
        if address is None or address.region != self._parts.region:
            raise errors.CallerUnknown("who calls is not shown")
        return address

    @contextlib.asynccontextmanager
    async def _judged(self, context: Context) -> AsyncIterator["_Call"]:
        """Hold a call of a known node; a failure of it ends with its status, whatever group of tasks it comes from."""
        telling: Telling[Any] = Telling(context)
        failure: BaseException | None = None
        try:
            address = self._address(context)
            with self._parts.call_of(address):
                yield _Call(address, telling)
        except* (HubError, OSError) as failed:
            failure = _first(failed)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # The call is gone; a group of tasks drops that where one of them failed while it was cancelled.
            raise asyncio.CancelledError
        if failure is not None:
            await self._end(context, telling, failure)

    async def _end(self, context: Context, telling: Telling[Any], failure: BaseException) -> None:
        """End a call with the status of its failure; the connection of a node that does not read is shut down."""
        reason = getattr(failure, "code", "disk")
        self._parts.metrics.faults.labels(reason).inc()
        log.warning("transfer call ended", reason=reason)
        is_stalled = isinstance(failure, errors.ReaderStalled)
        if is_stalled or not await telling.settled(self._parts.config.write_limit_s):
            # No status can be sent: it would wait behind the message that is not read.
            await asyncio.to_thread(hang_up, context.peer())
            raise asyncio.CancelledError
        status = next((status for kind, status in STATUS.items() if isinstance(failure, kind)), None)
        await context.abort(status or grpc.StatusCode.INTERNAL, reason)


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a known node."""

    address: NodeAddress
    telling: Telling[Any]


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    failure = group.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure


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
