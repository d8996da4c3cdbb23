"""Capacity of a link over time, and readers of the recordings it is taken from (pure but for opening the file).

All recordings become one type: steps of constant rate that repeat for ever.
"""

import csv
import gzip
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, groupby, pairwise
from math import isfinite
from pathlib import Path
from typing import TextIO

OPPORTUNITY_BITS = 1500 * 8
"""What one line of a mahimahi recording lets through."""
MAHIMAHI_PERIOD_S = 0.001
ROUNDING_BITS = 0.01
"""Times and bits of a day fit into a float with less error than this."""
UPLINK_SHARE = 0.2
"""Uplink capacity as a share of the downlink's, for recordings whose uplink only carried acknowledgements."""
IDLE = "I"
CSV_TIME = "%Y.%m.%d_%H.%M.%S"


@dataclass(frozen=True, slots=True)
class Capacity:
    """Steps of constant rate, one after the other, repeated for ever.

    Raises ValueError for no steps, a duration that is not above 0, or a rate that is negative or not finite.
    """

    durations_s: tuple[float, ...]
    rates_bps: tuple[float, ...]
    _ends_s: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _end_bits: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.durations_s or len(self.durations_s) != len(self.rates_bps):
            raise ValueError("a capacity needs steps, each with a duration and a rate")
        if not all(isfinite(duration_s) and duration_s > 0 for duration_s in self.durations_s):
            raise ValueError("a step lasts longer than 0 s and ends")
        if not all(isfinite(rate_bps) and rate_bps >= 0 for rate_bps in self.rates_bps):
            raise ValueError("a rate is 0 or more bits per second")
        bits = (duration_s * rate_bps for duration_s, rate_bps in zip(self.durations_s, self.rates_bps, strict=True))
        object.__setattr__(self, "_ends_s", tuple(accumulate(self.durations_s)))
        object.__setattr__(self, "_end_bits", tuple(accumulate(bits)))

    @property
    def period_s(self) -> float:
        """How long it takes until the steps begin anew."""
        return self._ends_s[-1]

    @property
    def mean_bps(self) -> float:
        """Mean rate over one period."""
        return self._end_bits[-1] / self.period_s

    def at_bps(self, at_s: float) -> float:
        """Return the rate at a time, counted from the beginning of the first step."""
        return self.rates_bps[min(bisect_right(self._ends_s, at_s % self.period_s), len(self._ends_s) - 1)]

    def bits_until(self, at_s: float) -> float:
        """Return how many bits the link can have carried from 0 to a time."""
        periods, rest_s = divmod(at_s, self.period_s)
        step = min(bisect_right(self._ends_s, rest_s), len(self._ends_s) - 1)
        began_s, began_bits = self._begin(step)
        return periods * self._end_bits[-1] + began_bits + (rest_s - began_s) * self.rates_bps[step]

    def carried_at_s(self, bits: float) -> float:
        """Return the first time by which so many bits can have been carried since 0; infinite if that is never."""
        if bits <= 0:
            return 0.0
        if self._end_bits[-1] == 0:
            return float("inf")
        periods, rest_bits = divmod(bits, self._end_bits[-1])
        # A rounding error must not send the last bit before a hole to the other side of it.
        if rest_bits < ROUNDING_BITS and periods > 0:
            periods, rest_bits = periods - 1, self._end_bits[-1]
        step = bisect_left(self._end_bits, max(rest_bits - ROUNDING_BITS, min(rest_bits, ROUNDING_BITS)))
        began_s, began_bits = self._begin(step)
        within_s = min((rest_bits - began_bits) / self.rates_bps[step], self.durations_s[step])
        return periods * self.period_s + began_s + within_s

    def scaled(self, factor: float) -> "Capacity":
        """Return the same course with every rate multiplied."""
        return Capacity(self.durations_s, tuple(rate_bps * factor for rate_bps in self.rates_bps))

    def at_least(self, floor_bps: float) -> "Capacity":
        """Return the same course without holes: no rate is below the floor."""
        return Capacity(self.durations_s, tuple(max(floor_bps, rate_bps) for rate_bps in self.rates_bps))

    def starting_at(self, start_s: float) -> "Capacity":
        """Return the same course begun at another moment of its period."""
        start_s %= self.period_s
        step = min(bisect_right(self._ends_s, start_s), len(self._ends_s) - 1)
        before_s = start_s - self._begin(step)[0]
        if step == 0 and before_s == 0:
            return self
        steps = list(zip(self.durations_s, self.rates_bps, strict=True))
        duration_s, rate_bps = steps[step]
        head = [(duration_s - before_s, rate_bps), *steps[step + 1 :], *steps[:step]]
        return stepped([*head, (before_s, rate_bps)] if before_s > 0 else head)

    def _begin(self, step: int) -> tuple[float, float]:
        return (self._ends_s[step - 1], self._end_bits[step - 1]) if step else (0.0, 0.0)


def constant(rate_bps: float) -> Capacity:
    """Return a capacity that never changes; 0 holds everything back for as long as it is set."""
    return Capacity((1.0,), (rate_bps,))


def stepped(steps: Iterable[tuple[float, float]]) -> Capacity:
    """Return a capacity of (duration in seconds, rate in bits per second); neighbours of one rate become one step."""
    merged: list[tuple[float, float]] = []
    for rate_bps, same in groupby(steps, key=lambda step: step[1]):
        merged.append((sum(duration_s for duration_s, _ in same), rate_bps))
    return Capacity(tuple(duration_s for duration_s, _ in merged), tuple(rate_bps for _, rate_bps in merged))


def read_mahimahi(path: Path) -> Capacity:
    """Read a mahimahi recording (.up or .down, or either with .gz): one line per 1500 bytes, in milliseconds.

    The last line is the period.  What may pass by millisecond n is spread over the millisecond before it; a line 0
    counts for the first.  Raises ValueError for a line that is no number, and for a recording of no length.
    """
    with _opened(path) as lines:
        stamps = Counter(max(1, int(line)) for line in lines if line.strip())
    steps: list[tuple[float, float]] = []
    done_ms = 0
    for stamp_ms, count in sorted(stamps.items()):
        if stamp_ms - 1 > done_ms:
            steps.append(((stamp_ms - 1 - done_ms) * MAHIMAHI_PERIOD_S, 0.0))
        steps.append((MAHIMAHI_PERIOD_S, count * OPPORTUNITY_BITS / MAHIMAHI_PERIOD_S))
        done_ms = stamp_ms
    return stepped(steps)


def read_hsdpa(path: Path) -> Capacity:
    """Read a Norwegian 3G recording: time in seconds, blanks, Mbit/s measured since the line before.

    The first line's rate has no beginning and is left out.  Raises ValueError for a broken line, and for times that
    do not rise.
    """
    with _opened(path) as lines:
        rows = [(float(time_s), float(rate_mbps)) for time_s, rate_mbps in (line.split() for line in lines)]
    return stepped((later[0] - earlier[0], later[1] * 1e6) for earlier, later in pairwise(rows))


def read_ucc5g(path: Path) -> Capacity:
    """Read the downlink of an Irish 4G/5G recording (CSV, about one line a second, kbit/s).

    Lines of an idle radio say nothing of what it could have carried and are passed over; lines of one second are
    averaged; a second holds until the next one that was recorded.  Only the recordings of a download ask for all
    there is: those of films show what the player asked for.  Raises ValueError or KeyError for another format.
    """
    with _opened(path) as lines:
        rows = [(row["Timestamp"], float(row["DL_bitrate"])) for row in csv.DictReader(lines) if row["State"] != IDLE]
    seconds: list[tuple[datetime, float]] = []
    for stamp, same in groupby(rows, key=lambda row: row[0]):
        rates_kbps = [rate_kbps for _, rate_kbps in same]
        # Only differences are used, so the zone that the recording does not name cannot matter.
        seconds.append((datetime.strptime(stamp, CSV_TIME), sum(rates_kbps) / len(rates_kbps)))  # noqa: DTZ007
    steps = [((later[0] - now[0]).total_seconds(), now[1] * 1000) for now, later in pairwise(seconds)]
    return stepped([*steps, (1.0, seconds[-1][1] * 1000)] if seconds else [])


def read_ucc5g_uplink(path: Path) -> Capacity:
    """Read an Irish recording as an uplink: a fifth of its downlink, for its own uplink only carried answers."""
    return read_ucc5g(path).scaled(UPLINK_SHARE)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="ascii", newline="") as compressed:
            yield compressed
    else:
        with path.open(encoding="ascii", newline="") as plain:
            yield plain
