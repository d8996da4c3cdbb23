"""How fast may be sent: a careful estimate of the link's capacity from acknowledgement delay (pure; reliability 3.2).

What is sent faster than the link carries waits in the modem's queue, and there an alarm waits behind it.  So the
estimate follows the delay of acknowledgements: it grows while they come as quickly as the quickest of the last half
minute, stands still where a queue begins, and falls to a share of what is really acknowledged where one has grown;
until that queue is gone only half is sent.  On a wide link a processor that was busy elsewhere for a moment looks
like a queue; but a queue makes every message late, so there the least late one counts.  What may be under way is
bounded as well: a link that collapses within a second then holds little of ours.  The constants were tried on
constant rates from 32 kbit/s to 20 Mbit/s, on falls and steps, and on traces of mobile links.
"""

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

START_BPS = 128_000.0
"""After a link came up or was handed over: nothing is known of it yet."""
LEAST_BPS, MOST_BPS = 8_000.0, 200_000_000.0
TICK_S = 0.2
"""How often `tick` is to be called."""
QUIET_S, LONG_S = 0.04, 0.1
"""Delay over the quickest round trip that is no queue yet; and that is too long a queue."""
WINDOW_S = 0.08
"""How much more than a round trip's worth may be under way: the longest queue of our own making."""
SAFETY = 0.85
"""Share of the rate acknowledged while a queue stood, which is what the link really carried."""
DRAIN = 0.5
WIDE_BPS = 300_000
"""From here on a queue is told from a processor that was busy elsewhere by the least late acknowledgement."""
RATE_WINDOW_S, LEAST_GAPS = 0.4, 2
BASE_WINDOW_S = 30.0
UNKNOWN_TRIP_S = 0.1
LEAST_WINDOW_BYTES = 1_500
START_GROWTH, GROWTH, MOST_GROWTH = 2.0, 1.05, 2.0
"""A second: until the first queue is seen; after a fall; and at most, where nothing stood in the way for long."""
GROWTH_RISES_AFTER_S, GROWTH_RISES_BY = 2.0, 0.1
BUSY_SHARE = 0.7
"""Of the pace or the window: who sends less than this learns nothing about how much more would go."""


@dataclass(frozen=True, slots=True)
class _Ack:
    at_s: float
    trip_s: float
    size_bytes: int


@dataclass(slots=True)
class Capacity:
    """The estimate of one uplink; told of all that is sent and acknowledged, judged by `tick`; seconds of any clock."""

    estimate_bps: float = START_BPS
    """What the link is believed to carry, headers included."""
    queue_s: float = 0.0
    """How long the queue on the way is, by the newest acknowledgements."""
    under_way_bytes: int = 0
    """Sent and not yet acknowledged."""
    _is_draining: bool = False
    _is_starting: bool = True
    _fell_s: float = float("-inf")
    _sent_bytes: int = 0
    """Since the last tick."""
    _flying: deque[float] = field(default_factory=deque)
    """When what is under way was sent, oldest first."""
    _trips: deque[tuple[float, float]] = field(default_factory=deque)
    """Time and length of the round trips of the last half minute that no later one is shorter than, oldest first."""
    _acks: deque[_Ack] = field(default_factory=deque)

    @property
    def rate_bps(self) -> float:
        """How many bits a second may be sent now, all classes together."""
        return max(LEAST_BPS, self.estimate_bps * (DRAIN if self._is_draining else 1.0))

    @property
    def trip_s(self) -> float:
        """The quickest round trip of the last half minute: the way without a queue."""
        return self._trips[0][1] if self._trips else UNKNOWN_TRIP_S

    @property
    def window_bytes(self) -> int:
        """How much may be under way."""
        return max(LEAST_WINDOW_BYTES, int(self.rate_bps / 8 * (self.trip_s + WINDOW_S)))

    def restart(self, now_s: float, estimate_bps: float = START_BPS) -> None:
        """Begin anew: the link came up, or is another one after a hand-over."""
        self.estimate_bps = min(max(estimate_bps, LEAST_BPS), MOST_BPS)
        self.queue_s, self.under_way_bytes, self._sent_bytes = 0.0, 0, 0
        self._is_draining, self._is_starting, self._fell_s = False, True, now_s
        self._flying.clear()
        self._trips.clear()
        self._acks.clear()

    def sent(self, size_bytes: int, now_s: float) -> None:
        """A message left, of this size with headers; it will be acknowledged, or `lost`."""
        self.under_way_bytes += size_bytes
        self._sent_bytes += size_bytes
        self._flying.append(now_s)

    def acknowledged(self, size_bytes: int, trip_s: float, now_s: float) -> None:
        """A message was acknowledged, so long after it was sent."""
        self.lost(size_bytes)
        while self._trips and self._trips[-1][1] >= trip_s:
            self._trips.pop()
        self._trips.append((now_s, trip_s))
        self._acks.append(_Ack(now_s, trip_s, size_bytes))
        while now_s - self._acks[0].at_s > RATE_WINDOW_S:
            self._acks.popleft()

    def lost(self, size_bytes: int) -> None:
        """A message will not be acknowledged any more, because its connection ended."""
        self.under_way_bytes = max(0, self.under_way_bytes - size_bytes)
        if self._flying:
            self._flying.popleft()

    def tick(self, now_s: float) -> None:
        """Judge what was seen; to be called every TICK_S."""
        while len(self._trips) > 1 and now_s - self._trips[0][0] > BASE_WINDOW_S:
            self._trips.popleft()
        while self._acks and now_s - self._acks[0].at_s > RATE_WINDOW_S:
            self._acks.popleft()
        self.queue_s = max(self._late_s(now_s), self._waits_s(now_s))
        is_busy = self._is_busy()
        self._sent_bytes = 0
        if self.queue_s > LONG_S:
            self._fall(now_s)
        elif self.queue_s > QUIET_S:
            self._is_starting = False
        else:
            self._is_draining = False
            # Below the first guess what is paused could never show that the link has become better.
            if is_busy or self.estimate_bps < START_BPS:
                self._grow(now_s)

    def _late_s(self, now_s: float) -> float:
        """How much longer than the quickest trip the newest ones took, their own length on the wire taken off."""
        newest = [ack for ack in self._acks if now_s - ack.at_s <= TICK_S]
        late_s = [ack.trip_s - ack.size_bytes * 8 / self.estimate_bps - self.trip_s for ack in newest]
        if not late_s:
            return 0.0
        # On a thin link few come in a tick, and waiting for the least late would let the queue grow.
        return max(0.0, min(late_s) if self.estimate_bps >= WIDE_BPS else sum(late_s) / len(late_s))

    def _waits_s(self, now_s: float) -> float:
        """How much longer than the quickest trip the oldest message under way has waited."""
        return now_s - self._flying[0] - self.trip_s if self._flying else 0.0

    def _is_busy(self) -> bool:
        paced = self._sent_bytes * 8 / TICK_S > BUSY_SHARE * self.rate_bps
        return paced or self.under_way_bytes > BUSY_SHARE * self.window_bytes

    def _fall(self, now_s: float) -> None:
        carried_bps = self._carried_bps()
        if carried_bps:
            # Nothing at all acknowledged is a stall: the window holds us back, and what the link carries is unknown.
            self.estimate_bps = max(LEAST_BPS, min(self.estimate_bps, SAFETY * carried_bps))
        self._is_draining, self._is_starting, self._fell_s = True, False, now_s

    def _carried_bps(self) -> float:
        """What the link carried while it was busy; 0 where too little was seen.

        It was busy between two acknowledgements where the later message had left before the earlier one was through.
        """
        behind = [
            (ack.size_bytes, ack.at_s - before.at_s)
            for before, ack in pairwise(self._acks)
            if ack.at_s - ack.trip_s <= before.at_s - self.trip_s
        ]
        span_s = sum(gap_s for _, gap_s in behind)
        if len(behind) < LEAST_GAPS or span_s <= 0:
            return 0.0
        return sum(size_bytes for size_bytes, _ in behind) * 8 / span_s

    def _grow(self, now_s: float) -> None:
        calm_s = max(0.0, now_s - self._fell_s - GROWTH_RISES_AFTER_S)
        growth = START_GROWTH if self._is_starting else min(MOST_GROWTH, GROWTH + GROWTH_RISES_BY * calm_s)
        self.estimate_bps = min(MOST_BPS, self.estimate_bps * growth**TICK_S)
