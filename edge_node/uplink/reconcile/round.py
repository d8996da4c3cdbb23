"""One comparison with the hub, from its beginning to its report; what it finds missing goes again by the usual way."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from telemed.numbers import Run
from telemed.reconcile import BLOCKS_LIMIT, CONFLICTS_LIMIT, Mark, blocks, digest, mark_of, pack
from telemed.topics import STORED, Up
from telemed.v1 import reconcile_pb2
from telemed.wire import Record, encode, is_sound, split

from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.uplink.reconcile.agenda import chosen
from edge_node.uplink.reconcile.calls import Calls

ROWS_AT_ONCE = 256
"""Records read in one go: some milliseconds of a core."""
REST = 4.0
"""So many times as long as a reading took is rested after it: a fifth of a core at most."""
FINISH_EVERY_S, FINISH_WITHIN_S = 2.0, 300.0
"""How often and how long is waited until what was missing is back."""


class Held(Protocol):
    """What a comparison needs of the buffer."""

    def streams(self, up: Up) -> Mapping[StreamKey, StreamState]:
        """Return how far each stream of a class has come."""

    async def first_since(self, up: Up, key: StreamKey, since_ns: int) -> int:
        """Return the lowest number that is still there and came in since then; 0 if there is none."""

    async def read_stored(self, up: Up, key: StreamKey, first: int, last: int) -> list[Record]:
        """Return the records first to last that are in the file."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What to compare."""

    reason: str
    """"nightly" or "asked"."""
    recent_since_ns: int
    """Of what came in since then everything."""
    night: int
    nights: int
    """Of what is older one part in so many."""


@dataclass(slots=True)
class _Block:
    run: Run
    marks: list[Mark] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)

    def hashed(self) -> reconcile_pb2.BlockHash:
        first, last = self.run
        return reconcile_pb2.BlockHash(first=first, last=last, records=len(self.marks), sha256=digest(self.marks))


class Round:
    """One comparison; `run` is called once."""

    def __init__(self, run_id: str, held: Held, calls: Calls) -> None:
        self._run_id = run_id
        self._held = held
        self._calls = calls
        self._conflicts = 0

    async def run(self, scope: Scope) -> reconcile_pb2.ReconcileReport:
        """Compare, and return the hub's report once what was missing is back or FINISH_WITHIN_S are over.

        Raises:
            UplinkError: the hub cannot be reached or refuses; begin another run later.
            BufferFailure: the store cannot be read.
        """
        await self._calls.begin(reconcile_pb2.ReconcileBegin(run_id=self._run_id, reason=scope.reason))
        for up in STORED:
            for state in list(self._held.streams(up).values()):
                if state.acked:
                    await self._compare(up, state, scope)
        return await self._finish()

    async def _compare(self, up: Up, state: StreamState, scope: Scope) -> None:
        key = state.key
        oldest = await self._held.first_since(up, key, 0)
        recent_from = await self._held.first_since(up, key, scope.recent_since_ns)
        held_from = min(oldest or state.acked + 1, state.acked + 1)
        wanted = chosen(blocks(held_from, state.acked), recent_from, scope.night, scope.nights)
        for at in range(0, max(1, len(wanted)), BLOCKS_LIMIT):
            found = {run[0]: await self._read(up, key, run) for run in wanted[at : at + BLOCKS_LIMIT]}
            asked = reconcile_pb2.CompareRequest(
                run_id=self._run_id,
                stream=key.stream,
                epoch=key.epoch,
                held_from=held_from,
                blocks=[block.hashed() for block in found.values()],
                is_first=at == 0,
            )
            for first in await self._calls.compare(asked):
                if first in found:
                    await self._settle(up, key, found[first])

    async def _settle(self, up: Up, key: StreamKey, block: _Block) -> None:
        differing = await self._calls.settle(
            reconcile_pb2.SettleRequest(
                run_id=self._run_id,
                stream=key.stream,
                epoch=key.epoch,
                first=block.run[0],
                last=block.run[1],
                marks=pack(block.marks),
                damaged=block.damaged,
            )
        )
        left = differing[: CONFLICTS_LIMIT - self._conflicts]
        self._conflicts += len(left)
        records = [record for seq in left for record in await self._held.read_stored(up, key, seq, seq)]
        for part in split(records):
            await self._calls.quarantine(reconcile_pb2.QuarantineRequest(run_id=self._run_id, container=encode(part)))

    async def _read(self, up: Up, key: StreamKey, run: Run) -> _Block:
        """Read a block in pieces, resting between them."""
        block = _Block(run)
        for first in range(run[0], run[1] + 1, ROWS_AT_ONCE):
            began_s = time.monotonic()
            for record in await self._held.read_stored(up, key, first, min(run[1], first + ROWS_AT_ONCE - 1)):
                # A copy that is damaged here says nothing about the hub's.
                if is_sound(record):
                    block.marks.append(mark_of(record))
                else:
                    block.damaged.append(record.seq)
            await asyncio.sleep((time.monotonic() - began_s) * REST)
        return block

    async def _finish(self) -> reconcile_pb2.ReconcileReport:
        until_s = time.monotonic() + FINISH_WITHIN_S
        while True:
            is_last = time.monotonic() >= until_s
            report = await self._calls.finish(reconcile_pb2.FinishRequest(run_id=self._run_id, is_last=is_last))
            if is_last or not report.open:
                return report
            await asyncio.sleep(FINISH_EVERY_S)
