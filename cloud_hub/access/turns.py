"""Turns at work that strangers may ask for: so many at once for each address; who comes later waits a moment.

Many clinics share one address of their carrier.  A growing wait for it would let one of them shut out all others, so
an address has a share of the work instead: nobody is refused for what a neighbour did before.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from cloud_hub.errors import TooManyAttempts

LONGEST_WAIT_S = 5.0
LONGEST_LINE = 64
"""Waiting for one address; who comes then is told at once to come back, so that a flood fills no memory."""
MOST_LINES = 256
"""Addresses at work or waiting: about as many hashes as are done in LONGEST_WAIT_S, for all of them share the machine.
A new address is told to come back then; addresses are cheap where somebody has many, and would fill memory too."""


@dataclass(slots=True)
class _Line:
    free: asyncio.Semaphore
    here: int = 0
    """At work or waiting."""


class Turns:
    """Gives out turns; all methods on the event loop."""

    def __init__(self, at_once: int, longest_wait_s: float = LONGEST_WAIT_S) -> None:
        self._at_once, self._longest_wait_s = at_once, longest_wait_s
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Hold a turn of this address.

        Raises:
            TooManyAttempts: the line is full, or too many addresses have one, or no turn came in time; nothing was
                looked at.
        """
        if address not in self._lines and len(self._lines) >= MOST_LINES:
            raise TooManyAttempts("too many at once", self._longest_wait_s)
        line = self._lines.setdefault(address, _Line(asyncio.Semaphore(self._at_once)))
        if line.here >= self._at_once + LONGEST_LINE:
            raise TooManyAttempts("too many at once", self._longest_wait_s)
        line.here += 1
        with ExitStack() as leaving:
            leaving.callback(self._leave, address, line)
            await self._wait(line)
            leaving.callback(line.free.release)
            yield

    def _leave(self, address: str, line: _Line) -> None:
        line.here -= 1
        if not line.here:
            del self._lines[address]

    async def _wait(self, line: _Line) -> None:
        try:
            async with asyncio.timeout(self._longest_wait_s):
                await line.free.acquire()
        except TimeoutError as error:
            raise TooManyAttempts("too many at once", self._longest_wait_s) from error
