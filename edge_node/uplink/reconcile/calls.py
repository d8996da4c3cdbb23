"""The calls of one comparison: each takes its turn at the node's scheduler before it goes."""

from collections.abc import Awaitable
from typing import Protocol, TypeVar

from google.protobuf.message import Message
from telemed.v1 import reconcile_pb2, reconcile_pb2_grpc

from edge_node.uplink.transfer.channel import HEARD_LIMIT_S, Login, translated
from edge_node.uplink.transfer.pace import Pace

Q_contra = TypeVar("Q_contra", bound=Message, contravariant=True)
A_co = TypeVar("A_co", covariant=True)
Q = TypeVar("Q", bound=Message)
A = TypeVar("A")


class Method(Protocol[Q_contra, A_co]):
    """One call of the contract."""

    def __call__(self, request: Q_contra, *, metadata: tuple[tuple[str, str], ...], timeout: float) -> Awaitable[A_co]:
        """Make the call."""


class Calls:
    """The hub as a comparison sees it.  Every call may raise LinkDown and HubRefuses."""

    def __init__(self, login: Login, stub: "reconcile_pb2_grpc.ReconcileAsyncStub", pace: Pace) -> None:
        self._login = login
        self._stub = stub
        self._pace = pace

    async def begin(self, message: reconcile_pb2.ReconcileBegin) -> None:
        """Open a run."""
        await self._call(self._stub.Begin, message)

    async def compare(self, message: reconcile_pb2.CompareRequest) -> list[int]:
        """Return the first numbers of the blocks to settle."""
        return list((await self._call(self._stub.Compare, message)).differing)

    async def settle(self, message: reconcile_pb2.SettleRequest) -> list[int]:
        """Tell every record of a block; return the numbers that differ."""
        return list((await self._call(self._stub.Settle, message)).differing)

    async def quarantine(self, message: reconcile_pb2.QuarantineRequest) -> None:
        """Bring records that differ."""
        await self._call(self._stub.Quarantine, message)

    async def finish(self, message: reconcile_pb2.FinishRequest) -> reconcile_pb2.ReconcileReport:
        """Ask how far the healing is."""
        return await self._call(self._stub.Finish, message)

    async def _call(self, method: Method[Q, A], message: Q) -> A:
        turns: list[int] = []
        try:
            while (left_bytes := message.ByteSize() - sum(turns)) > 0:
                turns.append(await self._pace.turn(left_bytes))
            with translated():
                return await method(message, metadata=self._login.metadata, timeout=HEARD_LIMIT_S)
        finally:
            # The answer is late by what the hub has to look up: it says nothing of the link.
            for size_bytes in turns:
                self._pace.lost(size_bytes)
