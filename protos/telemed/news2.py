"""NEWS2, exactly as clinical 2.1 has it: the one scorer of edge and hub, pure.

A missing or stale input never counts as 0: its part has no points, the total is then a lower bound, and the
score may raise an alert but never clear one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Literal

from telemed.measures import MEASURES

Scale = Literal[1, 2]
"""Oxygen scale; 2 only where a clinician recorded hypercapnic failure with target 88-92 %."""

_ACVPU_HOME_S = 12 * 3600
_Bands = tuple[tuple[Decimal, int], ...]


def _bands(*rows: tuple[str, int]) -> _Bands:
    return tuple((Decimal(upper), points) for upper, points in rows)


# Upper bound (inclusive) of each band and its points, from low to high: the table of clinical 2.1.
_RR = _bands(("8", 3), ("11", 1), ("20", 0), ("24", 2), ("Infinity", 3))
_SPO2_1 = _bands(("91", 3), ("93", 2), ("95", 1), ("Infinity", 0))
_SPO2_2_LOW = _bands(("83", 3), ("85", 2), ("87", 1), ("92", 0))
_SPO2_2_ON_OXYGEN = _bands(("94", 1), ("96", 2), ("Infinity", 3))
_SBP = _bands(("90", 3), ("100", 2), ("110", 1), ("219", 0), ("Infinity", 3))
_PULSE = _bands(("40", 3), ("50", 1), ("90", 0), ("110", 1), ("130", 2), ("Infinity", 3))
_TEMP = _bands(("35.0", 3), ("36.0", 1), ("38.0", 0), ("39.0", 1), ("Infinity", 2))


class Part(StrEnum):
    """The seven parts, in the order of the chart."""

    RR = "rr"
    SPO2 = "spo2"
    OXYGEN = "oxygen"
    SBP = "sbp"
    PULSE = "pulse"
    ACVPU = "acvpu"
    TEMP = "temp"


SOURCES: dict[Part, tuple[str, ...]] = {
    Part.RR: ("rr",),
    Part.SPO2: ("spo2",),
    Part.OXYGEN: ("oxygen",),
    Part.SBP: ("nibp_sys", "abp_sys"),
    Part.PULSE: ("hr", "pr_oxim", "pr_nibp"),
    Part.ACVPU: ("acvpu",),
    Part.TEMP: ("temp",),
}
"""Measures that can stand for each part; the first one that is valid and current is taken."""


@dataclass(frozen=True, slots=True)
class Sign:
    """One valid value that may enter the score."""

    value: str
    """Decimal text in the unit of the measures table, or the code of a coded measure."""
    measured_at_ns: int
    """When it was measured, nanoseconds since the epoch (arrival where the device's clock is not believed)."""


Inputs = Mapping[Part, Sign]
"""Current inputs by part; a part that is missing or stale is not in it."""


@dataclass(frozen=True, slots=True)
class PartScore:
    """One part of a score; `points` is None where its value is missing or stale, never 0 then."""

    part: Part
    sign: Sign | None
    points: int | None


@dataclass(frozen=True, slots=True)
class Score:
    """A NEWS2 score with its seven parts."""

    total: int
    """Sum of the known points: a lower bound unless `is_complete`."""
    is_complete: bool
    has_single_three: bool
    risk: Literal["low", "low-medium", "medium", "high", "unknown"]
    scale: Scale
    parts: tuple[PartScore, ...]

    @property
    def is_known(self) -> bool:
        """True where at least one part has points."""
        return any(part.points is not None for part in self.parts)


def score(inputs: Inputs, scale: Scale = 1) -> Score:
    """Return the score of the inputs given; parts that are not given stay without points.

    Values are rounded half up before they are compared: temperature to 0.1, everything else to whole numbers.
    """
    parts = tuple(PartScore(part, inputs.get(part), _points(part, inputs, scale)) for part in Part)
    known = [part.points for part in parts if part.points is not None]
    total, complete, three = sum(known), len(known) == len(parts), 3 in known
    return Score(total, complete, three, _risk(total, is_complete=complete, has_three=three), scale, parts)


def current(signs: Mapping[str, Sign], now_ns: int, *, is_home: bool = False) -> dict[Part, Sign]:
    """Return the inputs for the score out of the newest valid value of each measure.

    Args:
        signs: newest valid value by measure; values of quality other than valid must not be in it.
        now_ns: time against which ages are judged, on the clock of the signs.
        is_home: ACVPU then stays current for 12 h instead of 4 h.
    """
    inputs = {}
    for part, measures in SOURCES.items():
        for measure in measures:
            sign = signs.get(measure)
            if sign is not None and now_ns - sign.measured_at_ns < _stale_after_s(measure, is_home) * 10**9:
                inputs[part] = sign
                break
    return inputs


def refusal(age_years: int | None, *, is_pregnant: bool = False) -> str | None:
    """Return why NEWS2 does not apply to this person ("under-16", "pregnancy"), None where it does."""
    if age_years is not None and age_years < 16:
        return "under-16"
    return "pregnancy" if is_pregnant else None


def _stale_after_s(measure: str, is_home: bool) -> int:
    if is_home and measure == "acvpu":
        return _ACVPU_HOME_S
    return MEASURES[measure].stale_after_s


def _points(part: Part, inputs: Inputs, scale: Scale) -> int | None:
    sign = inputs.get(part)
    if sign is None:
        return None
    match part:
        case Part.OXYGEN:
            return {"air": 0, "oxygen": 2}.get(sign.value)
        case Part.ACVPU:
            return {"A": 0, "C": 3, "V": 3, "P": 3, "U": 3}.get(sign.value)
        case Part.TEMP:
            return _band(_TEMP, _rounded(sign, "0.1"))
        case Part.SPO2:
            return _spo2_points(_rounded(sign, "1"), inputs.get(Part.OXYGEN), scale)
        case Part.RR:
            return _band(_RR, _rounded(sign, "1"))
        case Part.SBP:
            return _band(_SBP, _rounded(sign, "1"))
        case Part.PULSE:
            return _band(_PULSE, _rounded(sign, "1"))


def _spo2_points(percent: Decimal, oxygen: Sign | None, scale: Scale) -> int | None:
    if scale == 1:
        return _band(_SPO2_1, percent)
    if percent <= 92:
        return _band(_SPO2_2_LOW, percent)
    if oxygen is None:
        return None  # 93 or more is 0 on air and up to 3 on oxygen: not to be guessed
    return _band(_SPO2_2_ON_OXYGEN, percent) if oxygen.value == "oxygen" else 0


def _rounded(sign: Sign, step: str) -> Decimal:
    return Decimal(sign.value).quantize(Decimal(step), rounding=ROUND_HALF_UP)


def _band(bands: _Bands, value: Decimal) -> int:
    return next(points for upper, points in bands if value <= upper)


def _risk(
    total: int, *, is_complete: bool, has_three: bool
) -> Literal["low", "low-medium", "medium", "high", "unknown"]:
    if total >= 7:
        return "high"
    if total >= 5:
        return "medium"
    if has_three:
        return "low-medium"
    return "low" if is_complete else "unknown"
