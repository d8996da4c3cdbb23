"""The stand-in for ModemManager as a test holds it, and what the adapter tells."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from edge_node.uplink.modem.sight import RadioSight

ROOT = Path(__file__).resolve().parents[2]


class StandIn:
    """A running stand-in for ModemManager."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, do: str, **what: object) -> Any:
        """Have something happen to it; returns once it has."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
        return json.loads(await self._process.stdout.readline())

    async def kill(self) -> None:
        """End it as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        # Read to its end, so that the pipe is closed with the process.
        await self._process.communicate()


@contextlib.asynccontextmanager
async def standing_in(address: str, *words: str) -> AsyncIterator[StandIn]:
    """Run a stand-in on this bus while the block runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.modem_manager", "--bus", address, *words,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    stand_in = StandIn(process)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield stand_in
    finally:
        await stand_in.kill()


class Sights:
    """What was told, and waiting for more of it."""

    def __init__(self) -> None:
        self.all: list[RadioSight] = []
        self._told = asyncio.Event()

    @property
    def last(self) -> RadioSight:
        return self.all[-1]

    def tell(self, sight: RadioSight) -> None:
        self.all.append(sight)
        self._told.set()

    async def until(self, wanted: Callable[[RadioSight], bool], within_s: float = 30) -> RadioSight:
        """Return the first sight that is wanted, of those told from now on or the last one before."""
        seen = max(0, len(self.all) - 1)
        async with asyncio.timeout(within_s):
            while True:
                for sight in self.all[seen:]:
                    if wanted(sight):
                        return sight
                seen = len(self.all)
                self._told.clear()
                await self._told.wait()


@contextlib.asynccontextmanager
async def watching(run: Callable[[Callable[[RadioSight], None]], Any]) -> AsyncIterator[Sights]:
    """Run a modem while the block runs."""
    sights = Sights()
    task = asyncio.ensure_future(run(sights.tell))
    try:
        yield sights
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
