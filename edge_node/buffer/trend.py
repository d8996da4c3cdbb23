"""Which values of a set enter the bedside's trends, and where (pure)."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from edge_node.samples.measurement import Assignment, NumericSet, Origin, Quality

MINUTE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True)
class TrendRow:
    """One step of the trend of one measure; a step without valid values has no row."""

    measure: str
    at_ns: int
    """Start of the step."""
    low: float
    high: float
    last: float


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One value that enters the trends."""

    device: str
    measure: str
    at_ns: int
    value: float


def points(sample: NumericSet) -> list[TrendPoint]:
    """Return the values of a set that may be drawn as a trend.

    Only valid numbers: nothing questionable, no test messages, nothing whose person is in doubt
    (decision 30).  A value stands at its own time, or at its arrival where the device's clock is suspect.
    """
    if sample.origin is Origin.TEST or sample.assignment is not Assignment.BED:
        return []
    found = []
    for value in sample.values:
        number = _number(value.value)
        if value.quality is not Quality.VALID or number is None:
            continue
        own_ns = value.measured_at_ns or sample.measured_at_ns
        at_ns = sample.arrived_at_ns if sample.clock_suspect else own_ns
        found.append(TrendPoint(sample.device, value.measure, at_ns, number))
    return found


def _number(text: str) -> float | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return float(number) if number.is_finite() else None
