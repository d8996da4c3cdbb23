"""Imaging that care does not wait for: where folder or catalogue cannot be used, it is tried again until they can."""

import asyncio
from collections.abc import Callable, Iterator

import structlog
from telemed.errors import Code

from edge_node.errors import CatalogueFailure, ImagingError
from edge_node.imaging.arriving import Arriving
from edge_node.imaging.node import Imaging
from edge_node.imaging.study import Study

log = structlog.get_logger(__name__)


class Images:
    """What the node has of imaging; `receive`, `deliver` and `keep` are its stages."""

    def __init__(self, make: Callable[[], Imaging]) -> None:
        """Open folder and catalogue if they can be used, but no port; blocking.

        Args:
            make: opens them; raises ImagingError where that cannot be done.
        """
        self._make = make
        self._imaging: Imaging | None = None
        self._is_open, self._has_failed = asyncio.Event(), asyncio.Event()
        try:
            self._imaging = make()
        except ImagingError as failure:
            self._has_failed.set()
            log.error("imaging-not-opened", code=failure.code, reason=str(failure))

    async def open(self) -> None:
        """Open the port.

        Raises:
            ConfigRefused: somebody else has it.
        """
        if self._imaging is not None:
            await self._imaging.open()

    async def receive(self) -> None:
        """Receive images until cancelled.

        Raises:
            ImagingError: folder or catalogue cannot be used.
            ConfigRefused: the port cannot be opened.
        """
        try:
            if self._imaging is None:
                self._imaging = await asyncio.to_thread(self._make)
            await self._imaging.open()
            self._is_open.set()
            await self._imaging.receive()
        finally:
            self._has_failed.set()

    async def deliver(self) -> None:
        """Look after the studies until cancelled."""
        await (await self.opened()).delivery.run()

    async def keep(self) -> None:
        """Let go what the hub has, in time, until cancelled."""
        await (await self.opened()).retention.run()

    async def opened(self) -> Imaging:
        """Return what is open, as soon as it is."""
        await self._is_open.wait()
        return self._there()

    async def settled(self) -> None:
        """Return once receivers listen, or could not be started."""
        events = [self._has_failed] if self._imaging is None else [self._has_failed, self._imaging.host.is_listening]
        waits = [asyncio.ensure_future(each.wait()) for each in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    @property
    def is_awaited(self) -> bool:
        """Whether receivers are to listen and do not; never where care goes on without them."""
        return self._imaging is not None and not self._imaging.host.is_listening.is_set()

    async def listed(self, limit: int, after: str = "") -> list[Study]:
        """Return at most so many studies, the newest first; of those behind one, where that is named.

        Raises:
            CatalogueFailure: they cannot be read.
        """
        return await self._there().listed(limit, after)

    async def found(self, study_id: str) -> Study | None:
        """Return one study; None where there is none.

        Raises:
            CatalogueFailure: it cannot be read.
        """
        return await self._there().found(study_id)

    async def assign(self, study_id: str, person_id: str, by: str) -> bool:
        """Note a person's decision whose a study is; False where there is no such study.

        Raises:
            CatalogueFailure: it is not noted.
        """
        return await self._there().assign(study_id, person_id, by)

    def arriving(self, sender: str, study_uid: str) -> Arriving:
        """Return a file that is to come piece by piece.

        Raises:
            CatalogueFailure: imaging is not open.
        """
        return self._there().arriving(sender, study_uid)

    def stuck(self) -> Iterator[tuple[str, str]]:
        """Yield what somebody must look at: a code of `telemed.errors`, and how many."""
        if self._imaging is None:
            yield Code.IMAGES_CLOSED, ""
        else:
            yield from self._imaging.stuck()

    def close(self) -> None:
        """Close port and catalogue; idempotent, blocking."""
        if self._imaging is not None:
            self._imaging.close()

    def _there(self) -> Imaging:
        if self._imaging is None:
            raise CatalogueFailure("imaging is not open")
        return self._imaging
