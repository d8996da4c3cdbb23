"""What is under way to the hub: bytes go when the scheduler grants a turn and the window has room."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_node.uplink.transfer.pace import Pace


class Flow:
    """Shared by all calls of one direction; turns are asked for one at a time."""

    def __init__(self, pace: Pace, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.pace = pace
        self.clock_s = clock_s
        self.under_way_bytes = 0
        self._turn = asyncio.Lock()
        self._landed = asyncio.Event()

    async def grant(self, most_bytes: int) -> int:
        """Wait for room and for a turn; return how many bytes may go, as one message and at once."""
        async with self._turn:
            while self.under_way_bytes and self.under_way_bytes >= self.pace.window():
                self._landed.clear()
                await self._landed.wait()
            return max(1, min(most_bytes, await self.pace.turn(most_bytes)))

    def took_off(self, size_bytes: int) -> None:
        """Note that a message left."""
        self.under_way_bytes += size_bytes

    def landed(self, size_bytes: int) -> None:
        """Note that a message was acknowledged, or that its connection ended."""
        self.under_way_bytes -= size_bytes
        self._landed.set()


@dataclass(slots=True)
class Lane:
    """The messages of one call that are not acknowledged yet, oldest first."""

    flow: Flow
    _flying: deque[tuple[int, float]] = field(default_factory=deque)
    _heard_bytes: int = 0
    """Of the messages that are acknowledged whole."""

    def sent(self, size_bytes: int) -> None:
        """Note that a message left on this call; one without content had no turn and is not accounted for."""
        if not size_bytes:
            return
        self._flying.append((size_bytes, self.flow.clock_s()))
        self.flow.took_off(size_bytes)

    def received(self, total_bytes: int) -> None:
        """Take in how many bytes the hub has taken from this call so far."""
        now_s = self.flow.clock_s()
        while self._flying and self._heard_bytes + self._flying[0][0] <= total_bytes:
            size_bytes, sent_s = self._flying.popleft()
            self._heard_bytes += size_bytes
            self.flow.landed(size_bytes)
            self.flow.pace.acked(size_bytes, now_s - sent_s)

    def ended(self) -> None:
        """Give up what is under way: the call is over."""
        while self._flying:
            size_bytes, _ = self._flying.popleft()
            self.flow.landed(size_bytes)
            self.flow.pace.lost(size_bytes)
