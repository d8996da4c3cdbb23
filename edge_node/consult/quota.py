"""How much a peer of a consult may send to the camera's side: pure (reliability 4.4, row 36).

A browser that watches sends reports, acknowledgements and a few words on the data channel: some kilobytes a second.
The media library itself knows no limit: it decrypts every packet, and gathers the pieces of a message without end.
"""

from dataclasses import dataclass

PACKETS_PER_S = 300
"""Several times what a browser sends while packets get lost: 20 reports a second, and an answer to each message."""
BYTES_PER_S = 128 * 1024


@dataclass(frozen=True, slots=True)
class Inflow:
    """What came from a peer up to a moment."""

    at_s: float
    packets: int
    size_bytes: int


def is_flood(before: Inflow, now: Inflow) -> bool:
    """Return whether a peer sent more between two moments than a browser that watches ever does."""
    # Never by less than half a second: packets that waited while this process stood still come at once.
    span_s = max(now.at_s - before.at_s, 0.5)
    packets, size_bytes = now.packets - before.packets, now.size_bytes - before.size_bytes
    return packets > PACKETS_PER_S * span_s or size_bytes > BYTES_PER_S * span_s
