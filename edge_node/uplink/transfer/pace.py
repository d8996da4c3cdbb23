"""The port to the node's scheduler: all bytes of the node pass one scheduler, which is not here (reliability 3.2)."""

from typing import Protocol

WIDE_WINDOW_BYTES = 1024 * 1024


class Pace(Protocol):
    """What one class of traffic asks of the scheduler; one turn at a time is asked for."""

    async def turn(self, most_bytes: int) -> int:
        """Wait until this class may send; return how many bytes may go now, 1 to `most_bytes`.

        What is granted is sent as one message, at once.
        """

    def acked(self, sent_bytes: int, delay_s: float) -> None:
        """A message of so many bytes was acknowledged, so long after it was sent."""

    def lost(self, sent_bytes: int) -> None:
        """A message of so many bytes will not be acknowledged: its connection ended."""

    def window(self) -> int:
        """Return how many bytes may be under way."""


class Unlimited:
    """Everything may go at once; for tests, and for a node whose line is nobody else's."""

    def __init__(self, window_bytes: int = WIDE_WINDOW_BYTES, segment_bytes: int = 16 * 1024) -> None:
        self.window_bytes = window_bytes
        self.segment_bytes = segment_bytes
        self.acked_bytes = 0
        self.longest_delay_s = 0.0
        self.lost_bytes = 0

    async def turn(self, most_bytes: int) -> int:
        """Grant a segment."""
        return min(most_bytes, self.segment_bytes)

    def acked(self, sent_bytes: int, delay_s: float) -> None:
        """Count."""
        self.acked_bytes += sent_bytes
        self.longest_delay_s = max(self.longest_delay_s, delay_s)

    def lost(self, sent_bytes: int) -> None:
        """Count."""
        self.lost_bytes += sent_bytes

    def window(self) -> int:
        """Return a window that stands."""
        return self.window_bytes
