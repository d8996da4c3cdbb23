"""One bundle on duty: its worker, started when it is needed, ended when it is idle, restarted within a budget."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

import structlog
from telemed.bundle import Bundle, Refusal

from edge_node.errors import EngineFailed
from edge_node.inference.engine import EVERYWHERE, Choice
from edge_node.inference.worker import Means, Worker

log = structlog.get_logger(__name__)


class RestartBudget(Protocol):
    """How often something may be started again (decision 14)."""

    def wait_s(self, now_s: float, usual_s: float) -> float:
        """Note a restart and return how long to wait before it: `usual_s`, longer where the budget is spent."""


@dataclass(slots=True)
class Slot:
    """A bundle and what runs it."""

    bundle: Bundle
    folder: Path
    choice: Choice
    """By what it shall be run; what runs it now may be the one that is everywhere."""
    budget: RestartBudget
    worker: Worker | None = None
    users: int = 0
    runs: int = 0
    """Without a fault, since it is on duty."""
    used_s: float = 0.0
    """When it was last used, monotonic."""
    is_retired: bool = False
    """Whether another one has taken its place: it ends with its last user."""
    wants_building: bool = False
    """Whether the engine of its choice is lost and may be built anew."""
    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while its worker is looked for or started."""
    _not_before_s: float = 0.0
    _is_choice_lost: bool = False
    """Whether the choice has failed, so that the one that is everywhere serves."""

    @property
    def is_awake(self) -> bool:
        """Whether its worker runs."""
        return self.worker is not None and self.worker.is_alive

    async def awake(self, means: Means, clock_s: Callable[[], float] = monotonic) -> Worker:
        """Return its worker, started where it does not run.

        Raises:
            EngineFailed: it does not start, or was started too often of late.
        """
        self.used_s = clock_s()
        if self.worker is not None and self.worker.is_alive:
            return self.worker
        if self.worker is not None:
            await self.rest()
            self._not_before_s = clock_s() + self.budget.wait_s(clock_s(), 0.0)
        if clock_s() < self._not_before_s:
            left_s = self._not_before_s - clock_s()
            raise EngineFailed(Refusal.ENGINE_FAILED, f"its worker died too often, rests for {left_s:.0f} s")
        self.worker = await self._started(means)
        return self.worker

    async def choose(self, choice: Choice) -> None:
        """Have it run by something else from the next study on; at once where nobody uses it."""
        self.choice, self._is_choice_lost = choice, False
        if self.worker is not None and self.worker.choice != choice and not self.users:
            await self.rest()

    async def rest(self) -> None:
        """End the worker; another is started when it is needed."""
        worker, self.worker = self.worker, None
        if worker is not None:
            await worker.close()

    async def gives_engine_up(self) -> bool:
        """Note a fault; return whether it may be the engine's, so that the one that is everywhere takes over now."""
        self.runs = 0
        if self.worker is None or self.worker.choice == EVERYWHERE:
            return False
        log.warning("engine-given-up", task=self.bundle.manifest.task, engine=str(self.worker.choice))
        self._is_choice_lost = True
        await self.rest()
        return True

    async def _started(self, means: Means) -> Worker:
        choice = EVERYWHERE if self._is_choice_lost else self.choice
        try:
            return await Worker.start(self.bundle, self.folder, choice, means)
        except EngineFailed as failed:
            if choice == EVERYWHERE:
                # So that the next one who asks does not start it at once again.
                self._not_before_s = monotonic() + self.budget.wait_s(monotonic(), 0.0)
                raise
            log.warning("engine-given-up", task=self.bundle.manifest.task, engine=str(choice), reason=failed.reason)
            self._is_choice_lost = self.wants_building = True
            return await Worker.start(self.bundle, self.folder, EVERYWHERE, means)


async def idle_ones_rest(slots: "list[Slot]", idle_s: float, clock_s: Callable[[], float] = monotonic) -> None:
    """End the workers that nobody uses and nobody has used for so long."""
    due = [slot for slot in slots if slot.is_awake and not slot.users and clock_s() - slot.used_s >= idle_s]
    await asyncio.gather(*(slot.rest() for slot in due))
