"""Where what is to be stored waits for others to share a synced commit; on the event loop alone."""

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from edge_node.buffer.company import Company

MOST_HELD = 64
"""Jobs in one commit at most."""
UPKEEP_WAITS_S = 1.0
"""How long what can be done any time waits for the next message of a monitor."""
J = TypeVar("J")


class Lobby(Generic[J]):
    """Hands what came in over in groups; whatever does not wait takes along what does."""

    def __init__(self, hand_over: Callable[[list[J]], None]) -> None:
        """Hold nothing yet; `hand_over` is given each group, in the order in which it came."""
        self.company = Company(0)
        """Whose messages come here: their pace says how long one may wait."""
        self._hand_over = hand_over
        self._held: list[J] = []
        self._until_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, job: J, patience_s: float) -> None:
        """Take one more; 0: it and all that wait go at once."""
        self._held.append(job)
        if patience_s > 0 and len(self._held) < MOST_HELD:
            self._let_go_in(patience_s)
        else:
            self.let_go()

    def let_go(self) -> None:
        """Hand over all that waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self.company.gone(time.monotonic())
            held, self._held = self._held, []
            self._hand_over(held)

    def upkeep_patience_s(self) -> float:
        """Return how long what can be done any time may wait; 0 where no message is expected soon."""
        return self.company.next_s(time.monotonic(), UPKEEP_WAITS_S)

    def _let_go_in(self, patience_s: float) -> None:
        until_s = time.monotonic() + patience_s
        if self._timer is not None:
            if until_s >= self._until_s:
                return
            self._timer.cancel()
        self._until_s = until_s
        self._timer = asyncio.get_running_loop().call_later(patience_s, self.let_go)
