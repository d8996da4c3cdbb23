"""Lets a line run on an event loop: takes packets in, hands them on when they are due, and notes how late it was."""

import asyncio
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from tests.faults.relay.settings import Settings
from tests.faults.relay.shape import Counts, Flip, Line

Item = TypeVar("Item")
REMEMBERED = 1 << 16


@dataclass(frozen=True, slots=True)
class Timing:
    """How late copies were handed on, over the last 65,536 of them; the time in which they were read is not in it."""

    deliveries: int
    p50_s: float
    p99_s: float
    longest_s: float


class Lateness:
    """Remembers by how much deliveries missed their time."""

    def __init__(self) -> None:
        self._late_s = array("d")
        self._count = 0

    def note(self, late_s: float) -> None:
        """Take one delivery in."""
        if len(self._late_s) < REMEMBERED:
            self._late_s.append(late_s)
        else:
            self._late_s[self._count % REMEMBERED] = late_s
        self._count += 1

    def timing(self) -> Timing:
        """Return the quantiles of what is remembered; zeros before the first delivery."""
        late_s = sorted(self._late_s) or [0.0]
        return Timing(self._count, late_s[len(late_s) // 2], late_s[int(len(late_s) * 0.99)], late_s[-1])


class Pace(Generic[Item]):
    """One line on the running event loop: one timer, whatever number of packets."""

    def __init__(
        self,
        line: Line[Item],
        deliver: Callable[[Item, Flip | None], None],
        lateness: Lateness,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._deliver = deliver
        self._lateness = lateness
        self._now_s = now_s
        self._timer: asyncio.TimerHandle | None = None

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._line.settings

    def offer(self, item: Item, size_bytes: int) -> None:
        """Put one packet to the line; `run_due` must follow, once for as many as came together."""
        self._line.offer(item, size_bytes, self._now_s())

    def run_due(self) -> None:
        """Hand on what is due, and set the timer for what is next."""
        for due_s, item, flip in self._line.take_due(self._now_s()):
            self._deliver(item, flip)
            self._lateness.note(self._now_s() - due_s)
        self._set_timer()

    def change(self, settings: Settings) -> None:
        """Put other settings in force."""
        self._line.change(settings, self._now_s())
        self.run_due()

    def counts(self) -> Counts:
        """Return what happened so far."""
        return self._line.counts(self._now_s())

    def close(self) -> None:
        """Hand nothing on any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self) -> None:
        next_s = self._line.next_due_s
        if self._timer is not None:
            if self._timer.when() == next_s:
                return
            self._timer.cancel()
            self._timer = None
        if next_s != float("inf"):
            # The loop's clock is time.monotonic too, so due times need no translation.
            self._timer = asyncio.get_running_loop().call_at(next_s, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.run_due()
