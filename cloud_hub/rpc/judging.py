"""Who calls, and what becomes of a call's failure; the same for every service of the hub's gRPC face."""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import structlog
from telemed.topics import NodeAddress

from cloud_hub import errors
from cloud_hub.errors import HubError
from cloud_hub.rpc.hang_up import hang_up
from cloud_hub.rpc.identity import Caller, Identity, node_of_region
from cloud_hub.rpc.parts import Parts
from cloud_hub.rpc.telling import Telling

Context = grpc.aio.ServicerContext[Any, Any]

STATUS: dict[type[Exception], grpc.StatusCode] = {
    errors.CallerUnknown: grpc.StatusCode.UNAUTHENTICATED,
    errors.CallerElsewhere: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.PieceMisplaced: grpc.StatusCode.INVALID_ARGUMENT,
    errors.TalkUnreadable: grpc.StatusCode.INVALID_ARGUMENT,
    errors.CallWasteful: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.BlobDamaged: grpc.StatusCode.DATA_LOSS,
    errors.StoreFailure: grpc.StatusCode.UNAVAILABLE,
    OSError: grpc.StatusCode.UNAVAILABLE,
}
"""What a node sees of a failure; the text that goes with it is the code alone."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a known node."""

    address: NodeAddress
    telling: Telling[Any]


class Judge:
    """Finds out who makes a call, and ends it with its status where it fails."""

    def __init__(self, parts: Parts, identity: Identity) -> None:
        self._parts = parts
        self._identity = identity
        self._peers: dict[NodeAddress, Counter[str]] = defaultdict(Counter)
        """From where each node has calls open, and how many."""

    def cut(self, address: NodeAddress) -> None:
        """Shut down the connections on which a node has calls open; returns at once."""
        for peer in self._peers.get(address, ()):
            self._parts.disk.later(partial(_hang_up, peer))

    @contextlib.asynccontextmanager
    async def judged(self, context: Context) -> AsyncIterator[Call]:
        """Hold a call of a known node; a failure of it ends with its status, whatever group of tasks it comes from."""
        telling: Telling[Any] = Telling(context)
        failure: BaseException | None = None
        try:
            address = self._address(context)
            with self._parts.call_of(address), self._open_from(address, context.peer()):
                yield Call(address, telling)
        except* (HubError, OSError) as failed:
            failure = _first(failed)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # The call is gone; a group of tasks drops that where one of them failed while it was cancelled.
            raise asyncio.CancelledError
        if failure is not None:
            await self._end(context, telling, failure)

    @contextlib.contextmanager
    def _open_from(self, address: NodeAddress, peer: str) -> Iterator[None]:
        peers = self._peers[address]
        peers[peer] += 1
        try:
            yield
        finally:
            peers[peer] -= 1
            if not peers[peer]:
                del peers[peer]
            if not peers:
                self._peers.pop(address, None)

    def _address(self, context: Context) -> NodeAddress:
        """Return the node that calls.

        Raises:
            CallerUnknown: that is not shown, or it is of another region.
        """
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        return node_of_region(self._identity, self._parts.region, Caller(metadata, context.auth_context()))

    async def _end(self, context: Context, telling: Telling[Any], failure: BaseException) -> None:
        """End a call with the status of its failure; the connection of a node that does not read is shut down."""
        reason = getattr(failure, "code", "disk")
        self._parts.metrics.faults.labels(reason).inc()
        log.warning("call ended", reason=reason)
        is_stalled = isinstance(failure, errors.ReaderStalled)
        if is_stalled or not await telling.settled(self._parts.config.write_limit_s):
            # No status can be sent: it would wait behind the message that is not read.
            await asyncio.to_thread(hang_up, context.peer())
            raise asyncio.CancelledError
        status = next((status for kind, status in STATUS.items() if isinstance(failure, kind)), None)
        await context.abort(status or grpc.StatusCode.INTERNAL, reason)


def _hang_up(peer: str) -> None:
    hang_up(peer)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    failure = group.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
