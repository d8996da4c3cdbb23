"""The measures table (clinical 1.2 and 1.3): one row per measure, its codes, unit, range and names.

Numbers and names come from clinical 1.2, 1.3 of the specification; rows and codes whose certainty is not
"read in a source" carry `certain=False` and are to be confirmed against RTMMS or LOINC before clinical use.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache

TABLE_VERSION = "2026-11-21"


@dataclass(frozen=True, slots=True)
class Measure:
    """A numeric or coded measure."""

    key: str
    zh: str
    en: str
    loinc: tuple[str, ...]
    """First is the code FHIR requires; the others go beside it."""
    mdc: tuple[int, ...]
    """IEEE 11073-10101 codes taken for this measure; the first is the one we write."""
    unit: str
    """UCUM; the only unit in storage."""
    low: float
    high: float
    """Physiologically plausible range, inclusive; a value outside is kept, never scored, never alarms."""
    step: str
    """Precision for display (decision 13), as decimal text."""
    stale_after_s: int
    """Age from which the value is no longer current on screens and in NEWS2 (screens 2.3)."""
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Wave:
    """A waveform."""

    key: str
    zh: str
    en: str
    mdc: tuple[int, ...]
    unit: str
    least_rate_hz: float


_MONITOR_S, _NIBP_S, _TEMP_S = 300, 3600, 4 * 3600

MEASURES: dict[str, Measure] = {
    row.key: row
    for row in (
        Measure("hr", "心率", "Heart rate", ("8867-4",), (147842,), "/min", 20, 300, "1", _MONITOR_S),
        Measure(
            "pr_oxim",
            "脉率(血氧)",
            "Pulse rate, oximeter",
            ("8867-4", "8889-8"),
            (149530,),
            "/min",
            20,
            300,
            "1",
            _MONITOR_S,
        ),
        Measure("pr_nibp", "脉率(袖带)", "Pulse rate, cuff", ("8867-4",), (149546,), "/min", 20, 300, "1", _NIBP_S),
        Measure(
            "rr", "呼吸频率", "Respiratory rate", ("9279-1",), (151562, 151570, 151594), "/min", 0, 80, "1", _MONITOR_S
        ),
        Measure(
            "spo2",
            "血氧饱和度",
            "Oxygen saturation (SpO₂)",
            ("2708-6", "59408-5"),
            (150456,),
            "%",
            40,
            100,
            "1",
            _MONITOR_S,
        ),
        Measure("nibp_sys", "无创收缩压", "NIBP systolic", ("8480-6",), (150021,), "mm[Hg]", 40, 300, "1", _NIBP_S),
        Measure("nibp_dia", "无创舒张压", "NIBP diastolic", ("8462-4",), (150022,), "mm[Hg]", 20, 200, "1", _NIBP_S),
        Measure("nibp_map", "无创平均压", "NIBP mean", ("8478-0",), (150023,), "mm[Hg]", 25, 250, "1", _NIBP_S),
        Measure(
            "abp_sys",
            "有创收缩压",
            "Arterial pressure systolic",
            ("76215-3",),
            (150037, 150033),
            "mm[Hg]",
            -20,
            350,
            "1",
            _MONITOR_S,
        ),
        Measure(
            "abp_dia",
            "有创舒张压",
            "Arterial pressure diastolic",
            ("76213-8",),
            (150038, 150034),
            "mm[Hg]",
            -20,
            350,
            "1",
            _MONITOR_S,
        ),
        Measure(
            "abp_map",
            "有创平均压",
            "Arterial pressure mean",
            ("76214-6",),
            (150039, 150035),
            "mm[Hg]",
            -20,
            350,
            "1",
            _MONITOR_S,
        ),
        Measure(
            "temp", "体温", "Body temperature", ("8310-5",), (150364, 150344, 150392), "Cel", 25, 45, "0.1", _TEMP_S
        ),
        Measure(
            "glu",
            "血糖",
            "Glucose",
            ("15074-8",),
            (160184, 160368, 160020),
            "mmol/L",
            0.6,
            55,
            "0.1",
            _TEMP_S,
            certain=False,
        ),
        Measure("wt", "体重", "Body weight", ("29463-7",), (188736,), "kg", 1, 350, "0.1", 86400, certain=False),
        Measure("ht", "身高", "Height", ("8302-2",), (188740,), "cm", 30, 250, "0.5", 365 * 86400),
        Measure(
            "etco2",
            "呼气末二氧化碳",
            "End-tidal CO₂",
            ("19891-1",),
            (151708, 151728),
            "mm[Hg]",
            0,
            150,
            "1",
            _MONITOR_S,
            certain=False,
        ),
        Measure("fio2", "吸氧浓度", "FiO₂", ("3150-6",), (), "%", 21, 100, "1", _TEMP_S, certain=False),
        Measure("o2_flow", "吸氧流量", "O₂ flow", ("3151-8",), (), "L/min", 0, 60, "0.5", _TEMP_S, certain=False),
        Measure("pain", "疼痛评分", "Pain 0–10", ("72514-3",), (), "{score}", 0, 10, "1", _TEMP_S, certain=False),
        Measure("acvpu", "意识水平", "Consciousness ACVPU", ("67775-7",), (), "{ACVPU}", 0, 0, "1", _TEMP_S, False),
        Measure("oxygen", "吸氧", "Oxygen therapy", (), (), "{O2}", 0, 0, "1", _TEMP_S),
        Measure("gcs", "格拉斯哥评分", "Glasgow coma score", ("9269-2",), (153728,), "{score}", 3, 15, "1", _TEMP_S),
        Measure("pi", "灌注指数", "Perfusion index", ("61006-3",), (150488,), "%", 0, 30, "0.1", _MONITOR_S, False),
    )
}

CODED = {"acvpu": ("A", "C", "V", "P", "U"), "oxygen": ("air", "oxygen")}
"""Measures whose value is a code, and the codes."""

WAVES: dict[str, Wave] = {
    row.key: row
    for row in (
        Wave("ecg_I", "心电 I", "ECG I", (131329,), "mV", 125),
        Wave("ecg_II", "心电 II", "ECG II", (131330, 131328), "mV", 125),
        Wave("ecg_III", "心电 III", "ECG III", (131389,), "mV", 125),
        Wave("ecg_V", "心电 V", "ECG V", (131331,), "mV", 125),
        Wave("ppg", "脉搏容积波", "Pleth", (150452,), "1", 50),
        Wave("resp", "呼吸波", "Respiration", (151552, 151780), "1", 25),
        Wave("abp", "动脉压波", "Arterial pressure", (150036, 150032), "mm[Hg]", 125),
        Wave("eeg", "脑电", "EEG", (153900,), "uV", 200),
        Wave("co2", "CO₂ 波", "Capnogram", (), "mm[Hg]", 25),
    )
}

BP_PANEL = ("nibp_sys", "nibp_dia", "nibp_map")
"""Components of the one blood-pressure Observation 85354-9; a systolic value never stands alone."""
BP_PANEL_LOINC, BP_PANEL_MDC = "85354-9", 150020
QUALITY_MDC = 150320
"""MDC_SAT_O2_QUAL: signal quality of the saturation, not a measure of its own."""

MDC_UNITS: dict[int, str] = {
    264864: "/min",
    264928: "/min",
    262688: "%",
    266016: "mm[Hg]",
    268192: "Cel",
    265987: "kPa",
    264274: "mg/dL",
    266866: "mmol/L",
    263875: "kg",
    268160: "[degF]",
}
"""IEEE 11073 unit codes to UCUM (clinical 1.2; 268160 = MDC_DIM_FAHR, to be confirmed)."""

_CONVERSIONS: dict[tuple[str, str], tuple[Decimal, Decimal]] = {
    ("kPa", "mm[Hg]"): (Decimal(0), Decimal("7.50062")),
    ("[degF]", "Cel"): (Decimal(-32), Decimal(5) / Decimal(9)),
    ("mg/dL", "mmol/L"): (Decimal(0), Decimal(1) / Decimal("18.016")),
    ("[lb_av]", "kg"): (Decimal(0), Decimal("0.45359237")),
}
_SAME = {"bpm": "/min", "mmHg": "mm[Hg]", "°C": "Cel", "{beats}/min": "/min", "{breaths}/min": "/min"}

BY_MDC: dict[int, str] = {code: row.key for row in MEASURES.values() for code in row.mdc}
WAVE_BY_MDC: dict[int, str] = {code: row.key for row in WAVES.values() for code in row.mdc}

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,2})?", re.ASCII)


def is_number(text: str) -> bool:
    """True where a text is what a node may call a number.

    Decimal reads more: words, _0, and 1e999999, which would fail whoever draws it or fill the memory with digits.
    """
    return _NUMBER.fullmatch(text) is not None


def convert(value: str, unit: str, measure: str) -> str:
    """Return `value` in the unit of the measure, as decimal text; unchanged where the unit is already right.

    Factors are those of clinical 1.2; a converted value keeps two decimals more than is displayed.

    Raises:
        ValueError: not a finite decimal number, or no conversion from this unit is known.
    """
    row = MEASURES[measure]
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise ValueError(f"{value!r} is not a decimal number") from error
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    unit = _SAME.get(unit, unit)
    if unit == row.unit:
        return value
    if (unit, row.unit) not in _CONVERSIONS:
        raise ValueError(f"{measure}: no conversion from {unit!r} to {row.unit!r}")
    shift, factor = _CONVERSIONS[unit, row.unit]
    converted = ((number + shift) * factor).quantize(Decimal(row.step) / 100)
    return f"{converted:f}"


def is_plausible(measure: str, value: str) -> bool:
    """True where a number is inside the measure's plausible range, or a code is one of the measure's codes."""
    if measure in CODED:
        return value in CODED[measure]
    low, high = _range(measure)
    return low <= Decimal(value) <= high


@cache
def _range(measure: str) -> tuple[Decimal, Decimal]:
    """Return the plausible range exactly; remembered, because hub and edge ask for it with every value."""
    row = MEASURES[measure]
    return Decimal(str(row.low)), Decimal(str(row.high))
