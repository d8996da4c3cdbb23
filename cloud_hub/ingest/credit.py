"""How many records an edge may have under way: less while the store is behind (pure; reliability 2.3.6)."""

FULL_WAIT_S, NO_WAIT_S = 0.5, 10.0
"""The oldest arrival that waits for its commit: up to here the full credit is given, from here on the least."""
FULL_SHARE, NO_SHARE = 0.1, 0.8
"""The same by how full the queue is."""
LEAST = 1
"""Never none at all: a stream that may send nothing would not notice when the hub is well again."""


def window(full: int, waited_s: float, queued_share: float) -> int:
    """Return the credit per stream.

    Args:
        full: credit while nothing waits.
        waited_s: how long the oldest arrival has waited.
        queued_share: how much of the queue is in use, 0 to 1.
    """
    by_wait = _left(waited_s, FULL_WAIT_S, NO_WAIT_S)
    by_share = _left(queued_share, FULL_SHARE, NO_SHARE)
    return max(LEAST, int(full * min(by_wait, by_share)))


def _left(value: float, full_until: float, none_from: float) -> float:
    return min(1.0, max(0.0, (none_from - value) / (none_from - full_until)))
