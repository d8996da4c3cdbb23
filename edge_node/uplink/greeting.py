"""When a greeting that the hub has not answered is said again (pure).

A greeting that came before the hub listened is lost without a trace, and measurements wait for its answer.
"""

from collections.abc import Callable

FIRST_S = 0.5
STEADY_SHARE = 0.5
"""Of a wait; the rest is drawn, so that a thousand nodes that greet a new hub together do not repeat together."""


def wait_s(unanswered: int, longest_s: float, draw: Callable[[], float]) -> float:
    """Return how long to wait after so many repeats (0, 1, ...): 0.5, 1, 2 s and so on up to the longest, less a share.

    `draw` gives a number from 0 to 1.
    """
    bound_s = min(longest_s, FIRST_S * (1 << min(unanswered, 30)))
    return bound_s * (STEADY_SHARE + (1 - STEADY_SHARE) * draw())
