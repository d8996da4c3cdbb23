"""What is done about keys while a store is open: rows are sealed anew, keys are changed, and given up for good."""

import asyncio
import time
from collections.abc import Callable, Mapping

from edge_node.buffer import erasing
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.erasing import Stretch
from edge_node.buffer.file import LogFile
from edge_node.buffer.keyring import DAY_NS
from edge_node.buffer.resealing import Resealer
from edge_node.buffer.schema import VITALS
from edge_node.errors import BufferFailure, KeyUnavailable, NotYetSent

RENEW_AGAIN_S = 3600.0
"""How long after keys could not be changed that is tried again."""
PREPARE_AGAIN_S = 300.0
"""How long after new keys could not be made that is tried again, unless somebody new needs one."""


class KeyCare:
    """The keys of the files of one store; used on the event loop alone."""

    def __init__(
        self,
        files: Mapping[str, LogFile],
        clock: NodeClock,
        *,
        has_room: Callable[[], bool],
        may_forget: Callable[[], bool],
    ) -> None:
        """Do nothing yet.

        Args:
            files: of the store.
            clock: tells how old keys are.
            has_room: whether rows may become larger.
            may_forget: whether keys may go that no row of the files needs.
        """
        self.sealing = files[VITALS].sealing
        """Hides what the files hold of patients."""
        self._files, self._clock, self._has_room = files, clock, has_room
        self._renew_from_s = self._prepare_from_s = 0.0
        self._resealer = Resealer(files, self.sealing, clock, may_forget)

    async def reseal(self) -> int:
        """Seal for a moment what is not sealed as it would be now, where there is room; return how many rows.

        Raises:
            BufferFailure: a file cannot be read or written.
        """
        return await self._resealer.round() if self._has_room() else 0

    async def reseal_all(self) -> None:
        """Seal everything that is not sealed as it would be now, however long that takes.

        Raises:
            KeyUnavailable: encryption is switched off, so that nothing would be sealed.
            BufferFailure: a file cannot be read or written.
        """
        self._must_be_on()
        await self._resealer.whole()

    async def prepare(self) -> None:
        """Have the keys of the next day made ahead of time; does not wait for them."""
        if self.sealing.owes_keys and time.monotonic() < self._prepare_from_s:
            return
        self._prepare_from_s = time.monotonic() + PREPARE_AGAIN_S
        self.sealing.prepare(self._clock.now_ns())

    async def renew(self) -> None:
        """Change all keys where they are old and something is sealed at all; raises BufferFailure."""
        made_ns, age_ns = self.sealing.made_ns, self.sealing.days * DAY_NS
        is_old = self.sealing.is_on and made_ns and self._clock.now_ns() - made_ns > age_ns
        if is_old and time.monotonic() >= self._renew_from_s:
            self._renew_from_s = time.monotonic() + RENEW_AGAIN_S
            await self.change()

    async def change(self) -> None:
        """Begin new keys at once; what is stored is sealed anew in the background.

        Raises:
            KeyUnavailable: encryption is switched off: under the old keys everything would stay, and they would go.
            BufferFailure: the keys are as they were.
        """
        self._must_be_on()
        await self._of_ring(lambda: self.sealing.rotate(self._clock.now_ns()))
        self._resealer.walk_soon()

    async def erase(self, stretch: Stretch) -> int:
        """Erase for good what a device measured in a stretch of time; return how many records went.

        Alarms and the site's events stay: they have a time of keeping of their own.

        Raises:
            NotYetSent: the hub does not have all of it; nothing was erased.
            KeyUnavailable: what is stored is not sealed, or not all of its keys are there; nothing was erased.
            BufferFailure: it is not done, or not to the end; asked again it goes on.
        """
        if self.sealing.reason or not (self.sealing.is_on and self.sealing.has_keys):
            raise KeyUnavailable(self.sealing.reason or "the store is not encrypted: it cannot be erased for good")
        file = self._files[VITALS]
        waiting = await erasing.unsent(file, stretch)
        if waiting:
            raise NotYetSent(waiting)
        # Given up first: once the rows are gone nobody can tell under which keys they stood.
        key_ids = await erasing.key_ids(file, stretch)
        await self._of_ring(lambda: self.sealing.give_up(stretch.places, key_ids))
        count = await erasing.delete(file, stretch)
        await self._resealer.whole_for_good()
        await self._of_ring(self.sealing.destroy_former)
        await file.shrink()
        return count

    def _must_be_on(self) -> None:
        if not self.sealing.is_on:
            raise KeyUnavailable("the store is not encrypted any more: its keys are left as they are")

    async def _of_ring(self, work: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            raise BufferFailure(f"keyring: {error.strerror}") from error
