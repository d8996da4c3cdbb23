"""How the transfer of files asks the node's one scheduler: files up by turns, bundles down when nothing is pressed."""

import asyncio
from collections.abc import Callable

from edge_node.uplink.gate import HEADER_BYTES, Gate
from edge_node.uplink.schedule import Traffic

SEGMENT_BYTES = 64 * 1024
LOOK_S = 1.0


class FilesUp:
    """Turns of the class of images, or of another, a message each."""

    def __init__(self, gate: Gate, traffic: Traffic = Traffic.IMAGE) -> None:
        self._gate, self._traffic = gate, traffic

    async def turn(self, most_bytes: int) -> int:
        """Wait until a message may go; return its bytes, 1 to `most_bytes`."""
        asked = await self._gate.turn(self._traffic, most_bytes)
        granted_bytes = max(1, min(most_bytes, asked.granted_bytes - HEADER_BYTES))
        self._gate.settle(asked, granted_bytes)
        return granted_bytes

    def acked(self, sent_bytes: int, delay_s: float) -> None:
        """A message was acknowledged, so long after it was sent."""
        self._gate.acknowledged(sent_bytes, delay_s)

    def lost(self, sent_bytes: int) -> None:
        """A message will not be acknowledged: its connection ended."""
        self._gate.lost(sent_bytes)

    def window(self) -> int:
        """Return how many bytes may be under way; the gate holds back by itself."""
        return self._gate.capacity.window_bytes


class FilesDown:
    """What comes down takes no turns: it waits while the link is needed for people."""

    def __init__(self, gate: Gate, is_held: Callable[[], bool] = lambda: False) -> None:
        """Hold nothing yet; `is_held` says whether the store of measurements has no room to spare for it."""
        self._gate = gate
        self._is_held = is_held

    async def turn(self, most_bytes: int) -> int:
        """Wait while a call goes on, the measurements are pressed or their store is tight; return the bytes to ask."""
        while self._must_wait():  # noqa: ASYNC110 - there is no event for any of it
            await asyncio.sleep(LOOK_S)
        return min(most_bytes, SEGMENT_BYTES)

    def _must_wait(self) -> bool:
        return self._gate.scheduler.is_call or self._gate.scheduler.is_pressed or self._is_held()

    def acked(self, sent_bytes: int, delay_s: float) -> None:
        """Take no notice: the estimate is of the way up."""

    def lost(self, sent_bytes: int) -> None:
        """Take no notice."""

    def window(self) -> int:
        """Return how many bytes may be asked for at once."""
        return SEGMENT_BYTES
