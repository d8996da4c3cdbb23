"""Puts the times of alarms right that nodes raised before they knew the hub's clock."""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from cloud_hub.errors import StoreFailure
from cloud_hub.store import boot_clocks, untimed_steps
from cloud_hub.store.engine import Database

EVERY_S = 5.0

log = structlog.get_logger()


class AlarmTimes:
    """Looks every few seconds for steps that wait, and whether the clock of their boot is known by now."""

    def __init__(
        self, care: Database, samples: Database, changed: Callable[[str], None], now_ns: Callable[[], int]
    ) -> None:
        """Do nothing yet; `changed` is told on the event loop of each alarm whose times were corrected."""
        self._care = care
        self._samples = samples
        self._changed = changed
        self._now_ns = now_ns

    async def run(self) -> None:
        """Look until cancelled; a store that is away is asked again."""
        while True:
            try:
                await self.look()
            except StoreFailure as error:
                log.warning("alarm-times-not-corrected", why=str(error))
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Correct what can be by now, all of it.

        Raises:
            StoreFailure: a store cannot be used.
        """
        while waiting := await self._care.read(untimed_steps.boots):
            known = await self._samples.read(partial(boot_clocks.ahead_ns, boots=waiting))
            if not known:
                return
            changed = await self._care.write(partial(untimed_steps.correct, ahead_ns=known, now_ns=self._now_ns()))
            for alarm_id in sorted(changed):
                self._changed(alarm_id)
