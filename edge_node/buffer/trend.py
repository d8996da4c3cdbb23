"""Which values of a set enter the bedside's trends, and the minutes they join (pure)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from edge_node.samples.measurement import Assignment, NumericSet, Origin, Quality

MINUTE_NS = 60 * 10**9
_TEXTS_REMEMBERED = 2048

Minute = tuple[str, str, int]
"""Device, measure, minutes since 1970."""


@dataclass(frozen=True, slots=True)
class TrendRow:
    """One step of the trend of one measure; a step without valid values has no row."""

    measure: str
    at_ns: int
    """Start of the step."""
    low: float
    high: float
    last: float


@dataclass(slots=True)
class Fold:
    """What came in of one minute of one measure of one device."""

    n: int
    low: float
    high: float
    last: float
    last_ns: int

    def take(self, number: float, at_ns: int) -> None:
        """Take one more value."""
        self.n += 1
        if number < self.low:
            self.low = number
        elif number > self.high:
            self.high = number
        if at_ns >= self.last_ns:
            self.last, self.last_ns = number, at_ns

    def joined(self, other: "Fold") -> "Fold":
        """Return both as one."""
        later = self if self.last_ns >= other.last_ns else other
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Fold(self.n + other.n, low, high, later.last, later.last_ns)


@dataclass(slots=True)
class Trends:
    """Minutes that are folded in memory and not written yet; used by the thread that commits alone."""

    folds: dict[Minute, Fold] = field(default_factory=dict)
    is_behind: bool = True
    """Whether the log may hold sets that an earlier run of the node did not come to write."""

    def written(self) -> None:
        """Start anew, after the commit of what was written."""
        self.folds.clear()
        self.is_behind = False

    def take(self, samples: Iterable[NumericSet]) -> None:
        """Fold the values of sets that may be drawn as a trend."""
        for sample in samples:
            for measure, number, at_ns in points(sample):
                key = (sample.device, measure, at_ns // MINUTE_NS)
                known = self.folds.get(key)
                if known is None:
                    self.folds[key] = Fold(1, number, number, number, at_ns)
                else:
                    known.take(number, at_ns)


def steps(minutes: Mapping[Minute, Fold], step_s: int) -> list[TrendRow]:
    """Return minutes of some devices taken together, by measure and time, in steps of whole minutes."""
    step_minutes = max(1, step_s // 60)
    joined: dict[tuple[str, int], Fold] = {}
    for (_, measure, minute), fold in minutes.items():
        key = (measure, minute - minute % step_minutes)
        joined[key] = fold.joined(joined[key]) if key in joined else fold
    return [
        TrendRow(measure, start * MINUTE_NS, fold.low, fold.high, fold.last)
        for (measure, start), fold in sorted(joined.items(), key=lambda item: item[0])
    ]


def packed(values: Mapping[str, Fold]) -> bytes:
    """Return the measures of one minute of one device as they are written down; every float comes back as it was."""
    said = {name: [fold.n, fold.low, fold.high, fold.last, fold.last_ns] for name, fold in values.items()}
    return json.dumps(said, separators=(",", ":")).encode()


def unpacked(body: bytes) -> dict[str, Fold]:
    """Return what was written down; nothing where the disk has made something else of it."""
    try:
        found = {name: sound_fold(values) for name, values in json.loads(body).items()}
    except (ValueError, TypeError, AttributeError):
        return {}
    return {name: fold for name, fold in found.items() if fold is not None}


def sound_fold(values: Sequence[object]) -> Fold | None:
    """Return the minute that five columns hold; None where the disk has changed what one of them is."""
    match values:
        case [int(n), int() | float() as low, int() | float() as high, int() | float() as last, int(last_ns)]:
            return Fold(n, low, high, last, last_ns)
    return None


def points(sample: NumericSet) -> Iterable[tuple[str, float, int]]:
    """Yield (measure, value, time in ns) of the values of a set that may be drawn as a trend.

    Only valid numbers: nothing questionable, no test messages, nothing whose person is in doubt
    (decision 30).  A value stands at its own time, or at its arrival where the device's clock is suspect.
    """
    if sample.origin is Origin.TEST or sample.assignment is not Assignment.BED:
        return
    for value in sample.values:
        number = _number(value.value) if value.quality is Quality.VALID else None
        if number is not None:
            own_ns = value.measured_at_ns or sample.measured_at_ns
            yield value.measure, number, sample.arrived_at_ns if sample.clock_suspect else own_ns


@lru_cache(_TEXTS_REMEMBERED)
def _number(text: str) -> float | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return float(number) if number.is_finite() else None
