"""How long one must wait after failed attempts to sign in, per name and address (reliability 4.2)."""

from collections import OrderedDict

FREE_FAILURES = 3
"""Failures before the first delay: people mistype."""
LONGEST_S = 300
FORGET_AFTER_S = 3600
CROWD, LEAK_S, PACE_S = 30, 120.0, 1.0
"""From 30 failures on (one is forgotten every two minutes) a source gets an attempt a second, whatever the names."""
REMEMBERED = 10_000
"""Pairs of name and address kept; the one longest untouched is forgotten first."""


def delay_s(failures: int) -> int:
    """Return the wait in seconds after so many failures in a row: 0, 0, 0, 4, 16, 64 ... LONGEST_S.

    That makes five tries in the first minute.
    """
    over = failures - FREE_FAILURES
    return 0 if over < 0 else min(LONGEST_S, 4 ** min(over + 1, 8))


class Crowds:
    """Counts what failed of late from each source, whatever the names: one name after another is a crowd, too."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def failed(self, source: str, now_s: float) -> None:
        """Count one failure."""
        level = self._level(source, now_s)
        self._of.pop(source, None)
        self._of[source] = (level + 1, now_s)
        while len(self._of) > REMEMBERED:
            self._of.popitem(last=False)

    def pace_s(self, source: str, now_s: float) -> float:
        """Return how long each attempt from there takes its turn beside its own work; 0 while few fail."""
        return PACE_S if self._level(source, now_s) >= CROWD else 0.0

    def _level(self, source: str, now_s: float) -> float:
        level, at_s = self._of.get(source, (0.0, now_s))
        return max(0.0, level - (now_s - at_s) / LEAK_S)


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
