"""What the repeats of alarms may use of a link that stands open beside them (pure).

The alarms' own bucket is small, because on a thin link more would push everything else aside.  Where packets are lost
in numbers it is too small: an alarm then goes four times and more until its receipt, while TCP stands still and leaves
the link empty.  The estimate of the uplink cannot tell that from a full link, because both make acknowledgements late.
The round trip of a ping can: it is answered at once and by its own name, so it is late only where a queue stands.  One
goes along with every datagram of alarms, so that any that comes through tells, however often its alarms went before.
"""

from dataclasses import dataclass

LEAST_BPS, FIRST_BPS, MOST_BPS = 2_000.0, 64_000.0, 256_000.0
"""Without any sign of an open link; from the first sign on; and at most."""
QUEUE_S = 0.1
"""A round trip so much longer than the quickest stood in a queue."""
FRESH_S = 1.0
"""How long a quick round trip counts: while a link falls, a longer trust would fill its queue with repeats."""
GROWTH, DECAY, BACK_OFF = 4.0, 0.95, 0.5
"""A second while more is wanted; a second while nothing is; and at each round trip that stood in a queue."""
DRIFT = 1.02
"""By how much the quickest round trip is forgotten a second, so that a longer way is found out."""
FORGOTTEN_S = 600.0
"""After this nothing of it is left, and the power of a longer silence would be too large a number."""
LEAST_BURST_BYTES, BURST_S, LONGEST_STEP_S = 1_500, 0.1, 1.0


@dataclass(slots=True)
class Spare:
    """The budget of one path's datagrams beyond the alarms' own bucket; seconds of one steady clock."""

    rate_bps: float = LEAST_BPS
    _tokens: float = float(LEAST_BURST_BYTES)
    _at_s: float | None = None
    _quickest_s: float = float("inf")
    _told_s: float = 0.0
    _quick_at_s: float = float("-inf")
    _is_wanted: bool = False

    def told(self, trip_s: float, now_s: float) -> None:
        """A ping was answered so long after it was sent."""
        self._fill(now_s)
        self._quickest_s = min(trip_s, self._quickest_s * DRIFT ** min(FORGOTTEN_S, now_s - self._told_s))
        self._told_s = now_s
        if trip_s > self._quickest_s + QUEUE_S:
            self.rate_bps = max(LEAST_BPS, self.rate_bps * BACK_OFF)
            self._quick_at_s = float("-inf")
            return
        if not self.is_open(now_s):
            self.rate_bps = max(self.rate_bps, FIRST_BPS)
        self._quick_at_s = now_s

    def take(self, size_bytes: int, now_s: float) -> bool:
        """Take so many bytes; False: too much now."""
        self._fill(now_s)
        self._is_wanted = self._tokens < size_bytes
        if not self._is_wanted:
            self._tokens -= size_bytes
        return not self._is_wanted

    def restart(self) -> None:
        """Forget what was seen: the path leads another way."""
        self.rate_bps, self._quickest_s, self._quick_at_s = LEAST_BPS, float("inf"), float("-inf")

    def _fill(self, now_s: float) -> None:
        step_s = 0.0 if self._at_s is None else min(LONGEST_STEP_S, max(0.0, now_s - self._at_s))
        self._at_s = now_s
        self._tokens = min(
            max(LEAST_BURST_BYTES, self.rate_bps / 8 * BURST_S), self._tokens + self.rate_bps / 8 * step_s
        )
        if now_s - self._quick_at_s > FRESH_S and self._quick_at_s > float("-inf"):
            self.rate_bps, self._quick_at_s = LEAST_BPS, float("-inf")
        elif self._is_wanted and self.is_open(now_s):
            self.rate_bps = min(MOST_BPS, self.rate_bps * GROWTH**step_s)
        else:
            self.rate_bps = max(LEAST_BPS, self.rate_bps * DECAY**step_s)

    def is_open(self, now_s: float) -> bool:
        """Whether the newest round trip was a quick one, not long ago."""
        return now_s - self._quick_at_s <= FRESH_S
