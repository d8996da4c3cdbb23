"""One numeric OBX into one value, pure (clinical 3.1, rows OBX-2 to OBX-14)."""

import re
from dataclasses import dataclass

from telemed.measures import BY_MDC, MDC_UNITS, MEASURES, QUALITY_MDC, convert, is_plausible

from edge_node.devices.hl7_monitor.codes import LOCAL_CODING, REFIDS
from edge_node.devices.hl7_monitor.frames import Segment
from edge_node.samples.measurement import Quality, Value

NUMERIC_TYPES = frozenset({"NM", "SN", "ST", "CWE", ""})
_DECIMAL = re.compile(r"[+-]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})", re.ASCII)
"""HL7 NM: no exponent, no comma, no words."""
_STATUSES = frozenset("RFCWD")
_QUALITY_BY_FLAG = {"NAV": Quality.MISSING, "INV": Quality.IMPLAUSIBLE, "QUES": Quality.QUESTIONABLE}


@dataclass(frozen=True, slots=True)
class FieldError:
    """A field that cannot be taken: goes into ERR, and its OBX is left out."""

    segment: str
    sequence: int
    """Which of the message's segments of that name, from 1."""
    field: int
    code: str
    """HL7 table 0357."""
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """OBX-3 as understood."""

    number: int
    refid: str
    disagrees: bool = False
    """Number and reference id name different things; the number won."""


@dataclass(frozen=True, slots=True)
class SignalQuality:
    """MDC_SAT_O2_QUAL: belongs to the saturation of the same set, no measure of its own."""

    fraction: float


def code_of(obx: Segment) -> Code | None:
    """IEEE 11073 code of OBX-3, from its first or its alternate identifier; None where it has none."""
    for first in (1, 4):
        number, refid, system = (obx.component(3, first + step) for step in range(3))
        if system not in ("MDC", LOCAL_CODING, "") or not (number or refid):
            continue
        known = REFIDS.get(refid, 0)
        value = int(number) if number.isascii() and number.isdigit() and len(number) <= 9 else 0
        if value or known or refid:
            return Code(value or known, refid, bool(value and known and value != known))
    return None


def read(obx: Segment, sequence: int, code: Code, own_time_ns: int) -> Value | SignalQuality | FieldError | None:
    """Return what one OBX says; None where its code has no row in the measures table."""
    measure = BY_MDC.get(code.number)
    if measure is None and code.number != QUALITY_MDC:
        return None
    text, comparator = _number_text(obx)
    quality = _flagged(obx)
    status = obx.component(11).upper()
    if not text or status == "X" or quality is Quality.MISSING:
        return _missing(measure, code.number, own_time_ns) if measure else None
    if not _DECIMAL.fullmatch(text):
        return FieldError("OBX", sequence, 5, "102", "Data type error")
    if measure is None:
        return _signal_quality(text)
    unit = unit_of(obx)
    try:
        value = convert(text.removeprefix("+"), unit, measure)
    except ValueError:
        return FieldError("OBX", sequence, 6, "103" if unit else "101", "Unit not taken" if unit else "Unit missing")
    row = MEASURES[measure]
    same = value == text and unit == row.unit
    return Value(
        measure=measure,
        value=value,
        unit=row.unit,
        quality=_quality(quality, status, bool(comparator), is_plausible(measure, value)),
        raw_value="" if same else comparator + text,
        raw_unit="" if same else unit,
        mdc=code.number,
        measured_at_ns=own_time_ns,
        status=status if status in _STATUSES else "R",
    )


def unit_of(obx: Segment) -> str:
    """UCUM unit of OBX-6: from the IEEE code, or UCUM as it stands; empty where it has none."""
    unit = obx.component(6, 1)
    if unit.isascii() and unit.isdigit() and len(unit) <= 9:
        return MDC_UNITS.get(int(unit), unit)
    return unit


def _number_text(obx: Segment) -> tuple[str, str]:
    if obx.component(2).upper() != "SN":
        return obx.component(5, 1), ""
    comparator = obx.component(5, 1)
    return obx.component(5, 2), "" if comparator == "=" else comparator


def _flagged(obx: Segment) -> Quality:
    flags = {flag.strip().upper() for part in obx.repetitions(8) for flag in part.split("^")[:1]}
    return next((quality for flag, quality in _QUALITY_BY_FLAG.items() if flag in flags), Quality.VALID)


def _quality(flagged: Quality, status: str, is_bound: bool, plausible: bool) -> Quality:
    if status in ("W", "D"):
        return Quality.RETRACTED
    if not plausible:
        return Quality.IMPLAUSIBLE
    if flagged is Quality.VALID and is_bound:
        return Quality.QUESTIONABLE
    return flagged


def _missing(measure: str, mdc: int, own_time_ns: int) -> Value:
    return Value(measure, "", MEASURES[measure].unit, Quality.MISSING, mdc=mdc, measured_at_ns=own_time_ns)


def _signal_quality(text: str) -> SignalQuality:
    number = float(text)
    return SignalQuality(max(0.0, min(1.0, number / 100 if number > 1 else number)))
