"""How long one must wait after failed attempts to sign in, per name and address (reliability 4.2)."""

from collections import OrderedDict

FREE_FAILURES = 3
"""Failures before the first delay: people mistype."""
LONGEST_S = 300
FORGET_AFTER_S = 3600
REMEMBERED = 10_000
"""Pairs of name and address kept; the one longest untouched is forgotten first."""


def delay_s(failures: int) -> int:
    """Return the wait in seconds after so many failures in a row: 0, 0, 0, 4, 16, 64 ... LONGEST_S.

    That makes five tries in the first minute.
    """
    over = failures - FREE_FAILURES
    return 0 if over < 0 else min(LONGEST_S, 4 ** min(over + 1, 8))


class Failures:
    """Remembers failed attempts in memory; the same for names that exist and that do not."""

    def __init__(self) -> None:
        self._of: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def wait_s(self, username: str, address: str, now_s: float) -> float:
        """Return how many seconds this pair must still wait; 0 where it may try now."""
        failures, last_s = self._of.get((username, address), (0, 0.0))
        return max(0.0, last_s + delay_s(failures) - now_s)

    def failed(self, username: str, address: str, now_s: float) -> None:
        """Count one failure."""
        failures, last_s = self._of.pop((username, address), (0, now_s))
        if now_s - last_s > FORGET_AFTER_S:
            failures = 0
        self._of[username, address] = (failures + 1, now_s)
        while len(self._of) > REMEMBERED:
            self._of.popitem(last=False)

    def succeeded(self, username: str, address: str) -> None:
        """Forget the failures of this pair."""
        self._of.pop((username, address), None)
