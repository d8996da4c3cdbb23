"""One bundle on duty: its worker, started when it is needed, ended when it is idle, restarted within a budget."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

import structlog
from telemed.bundle import Bundle, Refusal

from edge_node.errors import EngineFailed
from edge_node.inference.engine import EVERYWHERE, Choice
from edge_node.inference.worker import Means, Worker

LOSSES_LIMIT = 3
"""So often the engine of a choice is made anew; then the one that is everywhere serves until the node's next start."""

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
    builder: asyncio.Event
    """Wakes whoever builds engines."""
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
    _losses: int = 0

    @property
    def is_awake(self) -> bool:
        """Whether its worker runs."""
        return self.worker is not None and self.worker.is_alive

    async def awake(self, means: Means) -> Worker:
        """Return its worker, started where it does not run; by its choice of now where nobody else uses it.

        Raises:
            EngineFailed: it does not start, or was started too often of late.
        """
        self.used_s = monotonic()
        if self.worker is not None and self.worker.is_alive and (self.users > 1 or self.worker.choice == self._wanted):
            return self.worker
        if self.worker is not None:
            if not self.worker.is_alive and not self.worker.is_dismissed:
                self._not_before_s = monotonic() + self.budget.wait_s(monotonic(), 0.0)
            await self.rest()
        if monotonic() < self._not_before_s:
            left_s = self._not_before_s - monotonic()
            raise EngineFailed(Refusal.ENGINE_FAILED, f"its worker died too often, rests for {left_s:.0f} s")
        self.worker = await self._started(means)
        return self.worker

    async def choose(self, choice: Choice) -> None:
        """Have it run by something else from the next study on that has it for itself; at once where nobody uses it."""
        self.choice, self._is_choice_lost = choice, False
        if self.worker is not None and self.worker.choice != choice and not self.users:
            await self.rest()

    async def rest(self) -> None:
        """End the worker; another is started when it is needed."""
        worker = self.let_go()
        if worker is not None:
            await worker.close()

    def let_go(self) -> Worker | None:
        """Return the worker, for the caller to end; nobody is given it from now on."""
        worker, self.worker = self.worker, None
        return worker

    def may_blame(self, worker: Worker | None) -> bool:
        """Return whether what failed tells of this bundle: it did not start, or serves here, not dismissed."""
        return worker is None or (worker is self.worker and not worker.is_dismissed)

    async def gives_engine_up(self, worker: Worker | None) -> bool:
        """Note a fault; return whether it may be the engine's, so that the one that is everywhere takes over now."""
        self.runs = 0
        if worker is None or worker.choice == EVERYWHERE:
            return False
        log.warning("engine-given-up", task=self.bundle.manifest.task, engine=str(worker.choice))
        self._lose_choice()
        await self.rest()
        return True

    @property
    def _wanted(self) -> Choice:
        return EVERYWHERE if self._is_choice_lost else self.choice

    def _lose_choice(self) -> None:
        self._is_choice_lost = True
        self._losses += 1
        if self._losses <= LOSSES_LIMIT:
            self.wants_building = True
            self.builder.set()

    async def _started(self, means: Means) -> Worker:
        choice = self._wanted
        try:
            return await Worker.start(self.bundle, self.folder, choice, means)
        except EngineFailed as failed:
            if choice == EVERYWHERE:
                # So that the next one who asks does not start it at once again.
                self._not_before_s = monotonic() + self.budget.wait_s(monotonic(), 0.0)
                raise
            log.warning("engine-given-up", task=self.bundle.manifest.task, engine=str(choice), reason=failed.reason)
            self._lose_choice()
            return await Worker.start(self.bundle, self.folder, EVERYWHERE, means)


async def idle_ones_rest(slots: "list[Slot]", idle_s: float) -> None:
    """End the workers that nobody uses and nobody has used for so long."""
    due = [slot for slot in slots if slot.is_awake and not slot.users and monotonic() - slot.used_s >= idle_s]
    # All before the first wait: meanwhile a study may ask for one of them.
    workers = [slot.let_go() for slot in due]
    await asyncio.gather(*(worker.close() for worker in workers if worker is not None))
