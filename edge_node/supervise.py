"""Keeps the stages of the node running: restarts what crashes, gives up slowly on drivers that cannot work."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 1.0
STEADY_S = 10.0
"""A stage that ran this long is started again without a longer wait."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Budget:
    """How often a driver may be restarted before it is left alone for a while (decision 14)."""

    restarts: int = 5
    within_s: float = 60
    rest_s: float = 60
    _at_s: deque[float] = field(default_factory=deque)

    def wait_s(self, now_s: float, usual_s: float) -> float:
        """Return how long to wait before the next start: `usual_s`, or `rest_s` where the budget is spent."""
        while self._at_s and now_s - self._at_s[0] > self.within_s:
            self._at_s.popleft()
        self._at_s.append(now_s)
        return self.rest_s if len(self._at_s) > self.restarts else usual_s


async def keep(
    name: str,
    run: Callable[[], Awaitable[None]],
    budget: Budget | None = None,
    clock_s: Callable[[], float] = time.monotonic,
) -> None:
    """Run a stage until cancelled, and again whenever it ends or fails; logged once until it is steady again."""
    wait_s = FIRST_WAIT_S
    is_failing = False
    while True:
        started_s = clock_s()
        try:
            await run()
            reason = "ended"
        except Exception as error:  # the one supervisor: whatever a stage dies of, the others go on
            reason = type(error).__name__
            if not is_failing:
                log.exception("stage failed", stage=name)
        now_s = clock_s()
        if now_s - started_s >= STEADY_S:
            wait_s, is_failing = FIRST_WAIT_S, False
        if not is_failing:
            log.warning("stage restarts", stage=name, reason=reason)
        is_failing = True
        await asyncio.sleep(wait_s if budget is None else budget.wait_s(now_s, wait_s))
        wait_s = min(wait_s * 2, LONGEST_WAIT_S)
