"""How long to wait before trying again (pure)."""

from collections.abc import Callable


def wait_s(failures: int, first_s: float, longest_s: float, draw: Callable[[], float]) -> float:
    """Return the wait after so many failures in a row (1, 2, ...): full jitter up to a doubling bound.

    Full jitter keeps a thousand nodes from coming back in step after the hub restarts.  `draw` gives a
    number from 0 to 1.
    """
    doublings = min(max(failures, 1) - 1, 30)
    bound_s = min(longest_s, first_s * (1 << doublings))
    return bound_s * draw()
