"""Takes rows out of the file of measurements when the store fills up, chunk by chunk, in the order of `shedding`."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import structlog
from telemed.numbers import epoch_text, runs
from telemed.shed import Reason
from telemed.topics import CLASS_OF
from telemed.wire import Record, is_sound

from edge_node.buffer import maintenance, outbox, shedding, thinning, tombstone
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.file import LogFile
from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.buffer.payload import device_of
from edge_node.buffer.shedding import Step, Window
from edge_node.buffer.thinning import Reduced
from edge_node.buffer.tombstone import GivenUp

CHUNK_RECORDS = 300
"""Looked at in one go, so that no measurement waits long behind it."""
ROUND_S = 2.0
"""How long one round takes at most."""
SELECT_FROM = f"SELECT {outbox.COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq >= ? ORDER BY seq LIMIT ?"  # noqa: S608

log = structlog.get_logger(__name__)


class _Chunk(NamedTuple):
    """A look at a stream."""

    goes: list[Record]
    reduced: list[Reduced]
    next_seq: int
    """Where the next look begins; 0 = there is nothing more of that age."""


class _Look(NamedTuple):
    """Where to look, and for what."""

    key: StreamKey
    first: int
    step: Step
    before_ns: int
    spared: list[Window]

    def read(self, connection: sqlite3.Connection) -> _Chunk:
        """Return which of the next records go, and what is left of them."""
        where = (self.key.stream, epoch_text(self.key.epoch), self.first, CHUNK_RECORDS)
        records = [outbox.record_of(row) for row in connection.execute(SELECT_FROM, where)]
        old = [record for record in records if record.stamp.wall_ns < self.before_ns]
        goes = [record for record in old if is_sound(record) and not self._is_spared(record)]
        next_seq = records[-1].seq + 1 if len(old) == CHUNK_RECORDS else 0
        if not goes or not self.step.is_thinned:
            return _Chunk(goes, [], next_seq)
        if self.step.kind == "wave":
            return _Chunk(goes, thinning.envelopes(goes), next_seq)
        reduced, taken = thinning.minutes(goes)
        left = set(taken)
        return _Chunk([record for record in goes if record.seq in left], reduced, next_seq)

    def _is_spared(self, record: Record) -> bool:
        return shedding.is_spared(device_of(self.key.stream), record.stamp.wall_ns, self.spared)


@dataclass(slots=True)
class Shedder:
    """Makes room in one file; used on the event loop alone."""

    file: LogFile
    clock: NodeClock
    used_share: Callable[[], float]

    async def run(self, near: list[Window]) -> int:
        """Make room as long as there is too little, for a moment at most; return how many records went.

        Args:
            near: times near alarms, whose young waves stay.

        Raises:
            BufferFailure: the file cannot be read or written.
        """
        until_s = time.monotonic() + ROUND_S
        total = 0
        for step in shedding.steps(self.used_share()):
            count = await (self._copies(step, until_s) if step.is_copy else self._unsent(step, near, until_s))
            total += count
            if count and not step.is_copy:
                log.warning("buffer.shed", kind=step.kind, records=count, thinned=step.is_thinned)
            if time.monotonic() >= until_s:
                break
        return total

    async def _copies(self, step: Step, until_s: float) -> int:
        before_ns = self.clock.now_ns() - step.older_than_ns
        total = 0
        waiting = await self._by_age(step)
        while waiting and time.monotonic() < until_s and not shedding.is_enough(self.used_share(), step):
            state = self.file.state(waiting.pop(0))
            last = await self.file.read(partial(_last_before, state=state, before_ns=before_ns))
            delete = partial(maintenance.delete_run, state=state, last=last)
            count = await self.file.write(delete, may_use_reserve=True)
            total += count
            if count:
                waiting.append(state.key)
        return total

    async def _by_age(self, step: Step) -> list[StreamKey]:
        keys = [state.key for state in shedding.candidates(self._states(step), step)]
        ages = await self.file.read(lambda connection: {key: outbox.arrived_ns(connection, key, 0) for key in keys})
        return sorted(keys, key=lambda key: ages[key])

    async def _unsent(self, step: Step, near: list[Window], until_s: float) -> int:
        before_ns = self.clock.now_ns() - step.older_than_ns
        spared = near if step.spares_alarms else []
        total = 0
        waiting = [
            _Look(state.key, state.acked + 1, step, before_ns, spared)
            for state in shedding.candidates(self._states(step), step)
        ]
        while waiting and time.monotonic() < until_s and not shedding.is_enough(self.used_share(), step):
            look = waiting.pop(0)
            chunk = await self.file.read(look.read)
            if chunk.goes:
                await self._give_up(look.key, chunk)
                total += len(chunk.goes)
            if chunk.next_seq:
                waiting.append(look._replace(first=chunk.next_seq))
        return total

    async def _give_up(self, key: StreamKey, chunk: _Chunk) -> None:
        stamp = self.clock.stamp()
        given_up = GivenUp(
            key,
            runs(record.seq for record in chunk.goes),
            Reason.DISK,
            self.file.state(key).acked,
            chunk.goes[0].stamp.wall_ns,
            chunk.goes[-1].stamp.wall_ns,
        )
        await self.file.write(lambda batch: tombstone.shed(batch, stamp, given_up, chunk.reduced), may_use_reserve=True)

    def _states(self, step: Step) -> list[StreamState]:
        return list(self.file.streams[CLASS_OF[step.kind]].values())


def _last_before(connection: sqlite3.Connection, state: StreamState, before_ns: int) -> int:
    """Return the last acknowledged number of what came in before a time."""
    first_kept = outbox.first_since(connection, state.key, 0, before_ns)
    return min(state.acked, first_kept - 1) if first_kept else state.acked
