"""Keeps the modem on the SIM that `sim_choice` chooses: looks once a second, asks the modem once for each change."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from edge_node.errors import ModemUnreachable, SimRefused
from edge_node.uplink.modem.port import Modem
from edge_node.uplink.modem.sight import RadioSight
from edge_node.uplink.modem.sim_choice import SimChoice, SimPolicy, begin, refused, sample_of, step

LOOK_EVERY_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class SimKeeper:
    """One modem with two SIMs; `run` keeps it, `choice` says what was chosen and why."""

    modem: Modem
    policy: SimPolicy
    last_sight: Callable[[], RadioSight | None]
    """What the modem told last; None: nothing yet."""
    hub_silent_s: Callable[[], float]
    """How long the hub has not been heard by this way; since the start where it never was."""
    clock_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    choice: SimChoice = field(init=False)

    def __post_init__(self) -> None:
        self.choice = begin(self.policy, self.clock_s())

    async def run(self) -> None:
        """Look and change until cancelled."""
        while True:
            await self.sleep(LOOK_EVERY_S)
            sight = self.last_sight()
            if sight is not None:
                await self._look(sight)

    async def _look(self, sight: RadioSight) -> None:
        before = self.choice
        sample = sample_of(sight, self.clock_s(), self.hub_silent_s())
        self.choice = step(self.policy, before, sample)
        if self.choice.slot not in (before.slot, sample.slot):
            await self._change(sample.slot or before.slot)

    async def _change(self, slot_in_use: int) -> None:
        wanted = self.choice
        log.warning("modem.sim", slot=wanted.slot, before=slot_in_use, reason=wanted.reason.value)
        try:
            await self.modem.use_sim(wanted.slot)
        except SimRefused as refusal:
            log.warning("modem.sim-refused", slot=refusal.slot, reason=str(refusal))
            self.choice = refused(wanted, slot_in_use, self.clock_s())
        except ModemUnreachable as failure:
            # Whether it changed the next sights tell; where it did not, it counts as chosen by hand in a while.
            log.warning("modem.sim-unknown", slot=wanted.slot, reason=str(failure))
