"""The room of the store: measured, told, held back for what matters, and made again when it runs short."""

import asyncio
import contextlib
import shutil
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from telemed.numbers import epoch_text
from telemed.topics import Up

from edge_node.buffer import disk, outbox, retention, shedding
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.disk import Disk
from edge_node.buffer.file import LogFile
from edge_node.buffer.outbox import StreamState
from edge_node.buffer.reserve import Reserve
from edge_node.buffer.schema import VITALS
from edge_node.buffer.shedder import Shedder
from edge_node.buffer.shedding import Window
from edge_node.errors import BufferFailure

RATE_WINDOW_S = 600
RATE_SAMPLE_S = 5
LIMIT_EVERY_S = 1.0
"""How old the limit of the file of measurements may be: others may fill the disk, too."""
AMPLE_BYTES = 64 * 1024 * 1024
"""Where so much may still come in, nobody need look again before the limit is brought up to date."""
SAMPLED_ROWS = 20
ROW_BYTES = 150
"""What a record takes beside its payload: the head, and its entries in the indexes."""
SELECT_MEAN_BYTES = (
    "SELECT coalesce(avg(length(payload)), 0) FROM "
    "(SELECT payload FROM log WHERE stream = ? AND epoch = ? ORDER BY seq DESC LIMIT ?)"
)


def free_bytes(folder: Path) -> int:
    """Return what the file system has left for us."""
    return shutil.disk_usage(folder).free


@dataclass(slots=True)
class Room:
    """How much room the files of a folder have; used on the event loop alone."""

    folder: Path
    files: Mapping[str, LogFile]
    reserve: Reserve
    limit_bytes: int
    clock: NodeClock
    free: Callable[[Path], int] = free_bytes
    droppable_bytes: int = 0
    """What of the measurements the hub has: it can go without loss; an estimate of the last upkeep."""
    _growth: deque[tuple[float, int]] = field(default_factory=deque)
    _limited_s: float = 0.0
    _ample_until_s: float = 0.0

    def disk(self) -> Disk:
        """Return the room as it is now; cheap."""
        sizes = [file.size for file in self.files.values()]
        reserve = (self.reserve.size_bytes, self.reserve.goal_bytes)
        return disk.measured(self.limit_bytes, self.free(self.folder), reserve, sizes)

    def used_share(self) -> float:
        """Return how much of the room is in use, 0 to 1."""
        return self.disk().used_share

    def held_share(self) -> float:
        """Return how much of the room is held by what cannot go without loss, 0 to 1."""
        return self.disk().held_share(self.droppable_bytes)

    def may_take(self) -> bool:
        """Return whether measurements are taken; brings the limit of their file up to date now and then."""
        now_s, file = time.monotonic(), self.files[VITALS]
        if now_s < self._ample_until_s:
            return True
        there = self.disk()
        if now_s - self._limited_s >= LIMIT_EVERY_S:
            self._limited_s = now_s
            file.most_pages_bytes = disk.most_pages_bytes(there, file.size)
        if there.growth_bytes >= AMPLE_BYTES:
            self._ample_until_s = now_s + LIMIT_EVERY_S
        return disk.takes_measurements(there, file.size)

    def _look_again(self) -> None:
        """Have the limit brought up to date by the next question: the room has just changed."""
        self._limited_s = self._ample_until_s = float("-inf")

    def holds_downloads(self) -> bool:
        """Return whether nothing large may be fetched from the hub now."""
        return self.held_share() >= retention.COPIES_SHARE

    def hours_left(self) -> float | None:
        """Return how long it is at the present rate until something unsent is given up; None until that is known."""
        now_s = time.monotonic()
        if not self._growth or now_s - self._growth[-1][0] >= RATE_SAMPLE_S:
            self._growth.append((now_s, sum(file.grown_bytes for file in self.files.values())))
        while now_s - self._growth[0][0] > RATE_WINDOW_S:
            self._growth.popleft()
        (first_s, first), (last_s, last) = self._growth[0], self._growth[-1]
        left_bytes = self.disk().until_loss_bytes(self.droppable_bytes)
        return retention.hours_left(left_bytes, last - first, last_s - first_s)

    async def keep(self, near: Callable[[], Awaitable[list[Window]]]) -> int:
        """Take the reserve back, and make room where there is too little; return how many records went.

        Args:
            near: times near alarms; asked only when young waves may have to go.

        Raises:
            BufferFailure: the file of measurements cannot be read or written.
        """
        for file in self.files.values():
            # Trouble in one file must not let another fill the disk; its size is then that of the last look.
            with contextlib.suppress(BufferFailure):
                await file.look()
        file = self.files[VITALS]
        self._look_again()
        if not self.may_take():
            await file.shrink()
        states = [state for up in (Up.VITALS, Up.WAVES) for state in file.streams[up].values()]
        share = await file.read(partial(droppable_share, states=states))
        self.droppable_bytes = int(share * file.size.content_bytes)
        if self.used_share() <= retention.COPIES_SHARE:
            await asyncio.to_thread(self.reserve.fill, self.disk().refill_bytes())
            self._look_again()
            return 0
        shedder = Shedder(file, self.clock, self.used_share)
        is_tight = self.used_share() > retention.SHED_SHARE
        gone = await shedder.run(await near() if is_tight else [])
        await asyncio.to_thread(self.reserve.fill, self.disk().refill_bytes())
        return gone


def droppable_share(connection: sqlite3.Connection, states: Iterable[StreamState]) -> float:
    """Estimate how much of the measurements, by size, is copies of what the hub has, 0 to 1."""
    copies = total = 0.0
    for state in states:
        where = (state.stream, epoch_text(state.epoch))
        (mean,) = connection.execute(SELECT_MEAN_BYTES, (*where, SAMPLED_ROWS)).fetchone()
        first, last = connection.execute(outbox.SELECT_ENDS, (*where, 0)).fetchone()
        if first is None:
            continue
        acked = max(0, min(state.acked, last) - first + 1)
        copies += acked * (mean + ROW_BYTES) if state.key.kind in shedding.COPIED_KINDS else 0
        total += (acked + max(0, state.waiting)) * (mean + ROW_BYTES)
    return copies / total if total else 0.0
