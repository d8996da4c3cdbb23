"""Control of a running relay, line by line in JSON: one order in, one answer out.

Orders: {"do": "set", "direction": "up", "settings": {...}}, {"do": "cut"}, {"do": "heal"}, {"do": "counts"},
{"do": "reset"}, {"do": "stop"}.  Without a direction, cut and heal mean both.  The answer holds "done", or "refused"
with the reason.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from tests.faults.relay.carrier import DIRECTIONS, Carrier, Direction
from tests.faults.relay.profile import DirectionProfile, Section

LONGEST_LINE_BYTES = 64 * 1024 * 1024
"""A recording sent as steps is a long line."""


class Order(Section):
    """One line to a relay."""

    do: Literal["set", "cut", "heal", "counts", "reset", "stop"] = Field(description="What to do.")
    direction: Direction | None = Field(default=None, description="Which way; both if left out.")
    settings: DirectionProfile | None = Field(default=None, description="What to set; left-out parts do nothing.")


class Control:
    """Follows orders for one relay."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.stopped = asyncio.Event()
        """Set when a relay was told to stop."""

    def follow(self, line: bytes) -> dict[str, Any]:
        """Do what a line says and return the answer; what cannot be done changes nothing."""
        try:
            order = Order.model_validate_json(line)
            answer = self._do(order)
        except (ValidationError, ValueError, OSError) as error:
            return {"refused": str(error)}
        return {"done": order.do, **answer}

    def _do(self, order: Order) -> dict[str, Any]:
        directions = DIRECTIONS if order.direction is None else (order.direction,)
        if order.do == "set":
            self._set(order, directions)
        elif order.do in ("cut", "heal"):
            for direction in directions:
                self._carrier.cut(direction, is_cut=order.do == "cut")
        elif order.do == "counts":
            return asdict(self._carrier.report())
        elif order.do == "reset":
            self._carrier.reset()
        else:
            self.stopped.set()
        return {}

    def _set(self, order: Order, directions: tuple[Direction, ...]) -> None:
        if order.settings is None:
            raise ValueError("set needs settings")
        settings = order.settings.settings()
        for direction in directions:
            self._carrier.change(direction, settings)


async def converse(control: Control, reader: asyncio.StreamReader, answer: Callable[[str], Awaitable[None]]) -> None:
    """Follow line after line until the other side has no more to say."""
    while line := await reader.readline():
        if line.strip():
            await answer(json.dumps(control.follow(line)) + "\n")


async def listen(control: Control, path: Path) -> asyncio.Server:
    """Take orders on a unix socket too, from any number of callers."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def answer(text: str) -> None:
            writer.write(text.encode())
            await writer.drain()

        try:
            await converse(control, reader, answer)
        finally:
            writer.close()

    return await asyncio.start_unix_server(greet, path, limit=LONGEST_LINE_BYTES)
