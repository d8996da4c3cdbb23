"""What the live picture has to ask a database, one thing after the other; what fails is done again until it succeeds.

Used on the event loop alone.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from cloud_hub.errors import HubError

log = structlog.get_logger()
Work = Callable[..., Awaitable[None]]
"""Does one thing as it stands then, so that it may be done again, and once for several who asked for it."""
_Job = tuple[Work, tuple[str, ...]]


class Jobs:
    """A queue in which nothing stands twice."""

    def __init__(self) -> None:
        self._waiting: dict[_Job, None] = {}
        self._failed: dict[_Job, None] = {}
        self._arrived = asyncio.Event()

    def put(self, work: Work, *about: str) -> None:
        """Have something done; a bound method and what it is about."""
        self._waiting[work, about] = None
        self._arrived.set()

    def again(self) -> None:
        """Have what failed tried again: a page that shows yesterday's patient in a bed is not mended by waiting."""
        if self._failed:
            self._waiting |= self._failed
            self._arrived.set()

    async def run(self) -> None:
        """Do what waits until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self.work_off()

    async def work_off(self) -> None:
        """Do what waits now; what fails is left for `again`."""
        while self._waiting:
            job = next(iter(self._waiting))
            del self._waiting[job]
            work, about = job
            try:
                await work(*about)
            except HubError as error:
                if job not in self._failed:
                    log.error("live picture not brought up to date", code=error.code)
                self._failed[job] = None
            else:
                self._failed.pop(job, None)
