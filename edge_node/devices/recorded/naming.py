"""Names of signals in recordings to rows of the measures table; pure."""

from decimal import Decimal

_WAVES = {
    "I": "ecg_I",
    "II": "ecg_II",
    "MLII": "ecg_II",
    "III": "ecg_III",
    "V": "ecg_V",
    "V1": "ecg_V",
    "V5": "ecg_V",
    "PLETH": "ppg",
    "RESP": "resp",
    "ABP": "abp",
    "ART": "abp",
    "CO2": "co2",
}
_NUMERICS = {
    "HR": "hr",
    "PULSE": "pr_oxim",
    "RESP": "rr",
    "SPO2": "spo2",
    "NBPSYS": "nibp_sys",
    "NBPDIAS": "nibp_dia",
    "NBPMEAN": "nibp_map",
    "ABPSYS": "abp_sys",
    "ABPDIAS": "abp_dia",
    "ABPMEAN": "abp_map",
    "TEMP": "temp",
    "ETCO2": "etco2",
}
_UNITS = {"mmHg": "mm[Hg]", "NU": "1", "µV": "uV", "bpm": "/min", "pm": "/min", "degC": "Cel", "": "1"}
UNKNOWN = "mdc:0"
"""A wave without a row in the table: kept, told by its label."""


def wave_measures(names: list[str]) -> list[str]:
    """Measure of each wave of a record; a row is given once, further leads of its kind keep only their label."""
    given: list[str] = []
    for name in names:
        measure = "eeg" if name.upper().startswith("EEG") else _WAVES.get(name.strip().upper(), UNKNOWN)
        given.append(UNKNOWN if measure in given else measure)
    return given


def numeric_measure(name: str) -> str | None:
    """Measure of a numeric signal, None where it has no row."""
    return _NUMERICS.get(name.replace(" ", "").upper())


def unit_of(unit: str) -> str:
    """UCUM unit of a unit as recordings write it; unknown ones stay as they are."""
    return _UNITS.get(unit, unit)


def exact_text(digit: int, baseline: int, gain: float) -> str:
    """Decimal text of (digit - baseline) / gain, exact where the gain allows, else to six places."""
    value = Decimal(digit - baseline) / Decimal(str(gain))
    return f"{round(value, 6).normalize():f}"
