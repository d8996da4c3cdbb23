"""The recorded modem: plays drive tests as sights, one recording a SIM slot, for tests and demonstrations."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_node.errors import SimRefused
from edge_node.uplink.modem.drive_test import Moment, read
from edge_node.uplink.modem.port import Tell
from edge_node.uplink.modem.sight import ModemState, RadioSight

SWITCH_S = 20.0
"""How long a modem is away when it changes its SIM, by the recording's clock."""


@dataclass(slots=True)
class RecordedModem:
    """Plays the recording of the slot in use from begin to end, again and again, until cancelled."""

    path: str
    """Name of this way to the hub."""
    recordings: Mapping[int, Path]
    """A drive test for each SIM slot; the lowest slot is in use at first."""
    speed: float = 1.0
    clock_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _slot: int = field(init=False)
    _switched: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._slot = min(self.recordings)

    async def run(self, tell: Tell) -> None:
        """Tell each line of the recording when it is due.

        Raises:
            DriveTestRefused: a file is no drive test.
        """
        while True:
            slot, moments = self._slot, await asyncio.to_thread(read, self.recordings[self._slot])
            self._switched.clear()
            await self._play(moments, slot, tell)
            if self._switched.is_set():
                tell(RadioSight(self.path, ModemState.ABSENT, self.clock_s()))
                await self.sleep(SWITCH_S / self.speed)

    async def use_sim(self, slot: int) -> None:
        """Change to the recording of this slot.

        Raises:
            SimRefused: there is none.
        """
        if slot not in self.recordings:
            raise SimRefused(slot, "no recording for it")
        if slot != self._slot:
            self._slot = slot
            self._switched.set()

    async def _play(self, moments: list[Moment], slot: int, tell: Tell) -> None:
        began_s = self.clock_s()
        has_slots = len(self.recordings) > 1
        for moment in moments:
            await self.sleep(max(0.0, began_s + moment.at_s / self.speed - self.clock_s()))
            if self._switched.is_set():
                return
            tell(replace(moment.sight, path=self.path, at_s=self.clock_s(), sim_slot=slot if has_slots else None))
