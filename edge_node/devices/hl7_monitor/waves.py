"""OBX of value type NA with its facets into a channel, pure (IHE PCD WCM; decision 20).

The facets are OBX rows whose OBX-4 is that of the wave plus one level.  Digits stay the integers the device
sent, so that a replay is bit-exact; a device that sends decimals gets digits in its last decimal place.
"""

import math
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import numpy as np
import numpy.typing as npt
from telemed.measures import WAVE_BY_MDC

from edge_node.devices.hl7_monitor.codes import (
    BASELINE_FACET,
    FACET_BY_CODE,
    INVALID_FACET,
    LABEL_FACET,
    RATE_FACET,
    RESOLUTION_FACET,
    WAVE_FACETS,
    WAVE_UNITS,
)
from edge_node.devices.hl7_monitor.frames import Segment
from edge_node.devices.hl7_monitor.numerics import Code, FieldError
from edge_node.devices.hl7_monitor.timestamps import Stamp
from edge_node.samples.measurement import Channel

FACETS = frozenset(WAVE_FACETS) | {BASELINE_FACET, LABEL_FACET}
_LARGEST_RATE_HZ = 100_000.0
_GAIN_DIGITS = 12


@dataclass(slots=True)
class WaveRow:
    """One NA row while its facets are gathered."""

    obx: Segment
    sequence: int
    code: Code
    starts: Stamp | None
    """Time of the first sample, where the row has its own."""
    facets: dict[str, str] = field(default_factory=dict)
    """By name; components joined with "^"."""


def facet_of(code: Code) -> str | None:
    """Name of the facet that OBX-3 names, None where it is none."""
    if code.refid in FACETS:
        return code.refid
    return FACET_BY_CODE.get(code.number)


def channel_of(row: WaveRow) -> Channel | FieldError:
    """Return the channel, or what is wrong with it."""
    unit_code = row.obx.component(6, 1)
    unit = WAVE_UNITS.get(int(unit_code), "1") if unit_code.isdigit() and len(unit_code) <= 9 else unit_code or "1"
    try:
        rate_hz = _positive(row.facets.get(RATE_FACET, ""))
    except ValueError:
        return FieldError("OBX", row.sequence, 5, "101", "Wave without a sample rate")
    if rate_hz > _LARGEST_RATE_HZ:
        return FieldError("OBX", row.sequence, 5, "102", "Sample rate out of range")
    try:
        digits, places = digits_of(row.obx.raw(5), row.obx.separators.component)
        gain = _gain(row.facets.get(RESOLUTION_FACET, ""), places)
        baseline = _finite(float(row.facets.get(BASELINE_FACET) or "0"))
        invalid = _invalid_digits(row.facets.get(INVALID_FACET, ""))
    except (ValueError, InvalidOperation, OverflowError):
        return FieldError("OBX", row.sequence, 5, "102", "Data type error")
    number = row.code.number
    return Channel(
        measure=WAVE_BY_MDC.get(number, f"mdc:{number}"),
        rate_hz=rate_hz,
        digits=digits,
        gain=gain,
        baseline=baseline,
        unit=unit,
        label=row.facets.get(LABEL_FACET, ""),
        invalid_digits=invalid,
    )


def digits_of(text: str, separator: str) -> tuple[npt.NDArray[np.int32], int]:
    """Return the samples as integers and the number of decimal places they were shifted by.

    Raises:
        ValueError: not a list of plain decimals, or beyond 32 bits.
    """
    if text.strip(f"0123456789-{separator}"):
        return _decimals(text.split(separator))
    wide = np.array(text.split(separator), dtype=np.int64) if text else np.zeros(0, np.int64)
    return _as_int32(wide), 0


def _decimals(parts: list[str]) -> tuple[npt.NDArray[np.int32], int]:
    if any(part.strip("0123456789+-. ") for part in parts):
        raise ValueError("a sample is no plain decimal")
    numbers = [Decimal(part.strip()) for part in parts]
    places = max(0, *(-int(number.as_tuple().exponent) for number in numbers))
    return _as_int32(np.array([int(number.scaleb(places)) for number in numbers], dtype=np.int64)), places


def _as_int32(wide: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    limits = np.iinfo(np.int32)
    if wide.size == 0 or int(wide.min()) < limits.min or int(wide.max()) > limits.max:
        raise ValueError("no samples, or a sample beyond 32 bits")
    return wide.astype(np.int32)


def _gain(resolution: str, places: int) -> float:
    if not resolution:
        return float(10**places)
    # 1/200 is exact as 0.005; 1/7247 is not, but comes back as 7247 within twelve digits.
    return _finite(float(f"{10**places / _positive(resolution):.{_GAIN_DIGITS}g}"))


def _invalid_digits(text: str) -> tuple[int, ...]:
    told = [part for part in text.split("^") if part]
    return tuple(_as_int32(np.array(told, dtype=np.int64)).tolist()) if told else ()


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _positive(text: str) -> float:
    if not text or text.strip("0123456789.eE+-"):
        raise ValueError("no decimal number")
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError("not a positive number")
    return number
