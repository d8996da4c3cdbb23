"""Goes through the store in the background and seals what is not sealed as it would be now.

Once at each start, then every day, and at once after the keys were changed.  In pieces of one transaction each, so that
a power cut at any moment leaves every row readable as it was or as it will be, and no measurement waits long.  After a
whole walk the keys that no row was met under are forgotten.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import structlog

from edge_node.buffer import shelves
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.file import LogFile
from edge_node.buffer.schema import VITALS
from edge_node.buffer.sealing import Sealing, day_of
from edge_node.buffer.shelves import SHELVES
from edge_node.errors import BufferFailure

ROUND_S = 0.2
"""How long one round takes at most: with one every five seconds a twenty-fifth of a core."""
EVERY_S = 24 * 3600.0
KEPT_DAYS = 2
"""Keys of the last days stay, whether rows were met under them or not."""
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Resealer:
    """Walks through all files of a store; used on the event loop alone."""

    files: Mapping[str, LogFile]
    sealing: Sealing
    clock: NodeClock
    may_forget: Callable[[], bool]
    """Whether keys that no row was met under may go; not where a damaged file was kept that has rows of its own."""
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    _shelf: int = 0
    _after: int = 0
    _met: set[int] = field(default_factory=set)
    _sealed: int = 0
    """Whether this walk has changed anything, and about how much."""
    _due_s: float = 0.0

    def walk_soon(self) -> None:
        """Begin a walk with the next round."""
        self._shelf, self._after, self._due_s = 0, 0, 0.0

    async def round(self) -> int:
        """Go on for a moment; return how many rows were sealed.

        Raises:
            BufferFailure: a file cannot be read or written; the next round tries again.
        """
        until_s = time.monotonic() + ROUND_S
        count = 0
        async with self._busy:
            while time.monotonic() < until_s and time.monotonic() >= self._due_s:
                count += await self._piece()
        return count

    async def whole(self) -> None:
        """Walk through everything now.

        Raises:
            BufferFailure: a file cannot be read or written.
        """
        async with self._busy:
            await self._walk()
            await self._finish()

    async def whole_for_good(self) -> None:
        """Walk through everything now, and forget what no row needs whatever else may be kept of it.

        Raises:
            BufferFailure: a file cannot be read or written, or the keys are not forgotten.
        """
        async with self._busy:
            await self._walk()
            await self._end()
            await self._forget()

    async def _walk(self) -> None:
        """Look at all rows; the end of the walk is the caller's."""
        self.walk_soon()
        while not self._is_through:
            await self._piece()

    @property
    def _is_through(self) -> bool:
        return self._shelf > (len(SHELVES) if self.sealing.is_on else 0)

    async def _piece(self) -> int:
        if self._is_through:
            await self._finish()
            return 0
        if self._shelf == 0:
            await self._move_old_trends()
            return 0
        shelf = SHELVES[self._shelf - 1]
        file = self.files[shelf.file]
        looked = await file.read(partial(shelves.look, shelf=shelf, after=self._after, sealing=self.sealing))
        self._met |= looked.met
        count = 0
        if looked.todo:
            count, left = await file.write(partial(shelves.seal, shelf=shelf, rows=looked.todo))
            self._met |= left
        self._sealed += count
        self._after = looked.last
        if not looked.last:
            self._shelf += 1
        return count

    async def _move_old_trends(self) -> None:
        """Move some of what an earlier version folded; the walk through the rest begins when there is no more."""
        self._after = await self.files[VITALS].write(partial(shelves.move_old_trend, after=self._after))
        if self._after:
            self._sealed += 1
        else:
            self.sealing.begin_walk()
            for file in self.files.values():
                # What was sealed before that is committed, and seen on the way.
                await file.look()
            self._shelf, self._met = 1, set()

    async def _finish(self) -> None:
        """End a walk, and forget the keys that nothing needs."""
        await self._end()
        if self.may_forget():
            try:
                await self._forget()
            except BufferFailure as failure:
                log.warning("store.keys-not-forgotten", why=str(failure))

    async def _end(self) -> None:
        """Begin the next walk tomorrow, and let the plain text go that the write-ahead logs still hold."""
        self._shelf, self._after, self._due_s = 0, 0, time.monotonic() + EVERY_S
        if self.sealing.is_on and self._sealed:
            log.info("store.sealed-anew", rows=self._sealed)
            self._sealed = 0
            for file in self.files.values():
                await file.shrink()

    async def _forget(self) -> None:
        if not self.sealing.is_on:
            # Nothing was walked through: rows may stand under any key.
            return
        before_day = day_of(self.clock.now_ns()) - KEPT_DAYS
        try:
            await asyncio.to_thread(self.sealing.forget_unused, self._met, before_day)
        except OSError as error:
            raise BufferFailure(f"keyring: {error.strerror}") from error
