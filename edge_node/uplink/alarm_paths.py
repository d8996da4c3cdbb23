"""Gives every alarm that the hub has not receipted to every datagram path, beside the way that everything takes."""

import asyncio
import contextlib
from collections.abc import Iterable

import structlog
from telemed.topics import Up
from telemed.v1 import uplink_pb2

from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.errors import BufferFailure
from edge_node.uplink.datagram import AlarmPath
from edge_node.uplink.pump import Outbox

MOST_AT_ONCE = 64
"""Records read and offered in one go."""
LOOK_S = 1.0
"""How often it is looked for what a path could not take before."""

log = structlog.get_logger(__name__)


class AlarmPaths:
    """All datagram paths of a node; `run` holds them."""

    def __init__(self, outbox: Outbox, paths: Iterable[AlarmPath]) -> None:
        self._outbox = outbox
        self._paths = list(paths)
        self._offered: list[dict[StreamKey, int]] = [{} for _ in self._paths]
        """By path: the last number of each stream that the path took."""
        self._acked: dict[StreamKey, int] = {}
        self._woken = asyncio.Event()

    def stored(self) -> None:
        """Alarms were committed."""
        self._woken.set()

    def take(self, receipts: Iterable[uplink_pb2.Receipt]) -> None:
        """Take in what the hub has, however it was told."""
        told = list(receipts)
        for path in self._paths:
            path.take(told)
        self._woken.set()

    @property
    def paths(self) -> list[AlarmPath]:
        """The paths, for whoever shows how they stand."""
        return self._paths

    async def run(self) -> None:
        """Hold the paths and offer them what is stored, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for path in self._paths:
                group.create_task(path.run(), name="alarm-path")
            if self._paths:
                group.create_task(self._keep(), name="alarm-paths")

    async def _keep(self) -> None:
        failing = False
        while True:
            self._woken.clear()
            try:
                await self.offer()
                failing = False
            except BufferFailure as failure:
                if not failing:
                    log.warning("alarm-paths.buffer-failed", code=failure.code)
                failing = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()

    async def offer(self) -> None:
        """Give the paths what they have not been given, as far as they take it.

        Raises:
            BufferFailure: the buffer cannot be read.
        """
        for state in list(self._outbox.streams(Up.ALARM).values()):
            has_fallen = state.acked < self._acked.get(state.key, 0)
            self._acked[state.key] = state.acked
            for path, offered in zip(self._paths, self._offered, strict=True):
                if has_fallen:  # the hub was restored from a backup: what it lost is offered again
                    offered.pop(state.key, None)
                await self._offer_stream(path, offered, state)

    async def _offer_stream(self, path: AlarmPath, offered: dict[StreamKey, int], state: StreamState) -> None:
        at = max(state.acked, offered.get(state.key, 0))
        while at < state.next_seq - 1:
            last = min(at + MOST_AT_ONCE, state.next_seq - 1)
            records = await self._outbox.read_run(Up.ALARM, state.key, at + 1, last)
            taken = path.send(records)
            if taken == 0:
                return
            at = offered[state.key] = records[taken - 1].seq
