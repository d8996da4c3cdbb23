"""The measures table against clinical 1.2 and 1.3, copied here by hand from the specification."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed.measures import (
    BP_PANEL,
    BP_PANEL_LOINC,
    BP_PANEL_MDC,
    BY_MDC,
    CODED,
    MDC_UNITS,
    MEASURES,
    WAVE_BY_MDC,
    WAVES,
    Measure,
    Wave,
    convert,
    is_number,
    is_plausible,
)

# key, LOINC codes, first MDC code, UCUM, plausible low, high, step
TABLE = """
hr        8867-4          147842  /min    20   300  1
pr_oxim   8889-8,8867-4   149530  /min    20   300  1
pr_nibp   8867-4          149546  /min    20   300  1
rr        9279-1          151562  /min    0    80   1
spo2      2708-6,59408-5  150456  %       40   100  1
nibp_sys  8480-6          150021  mm[Hg]  40   300  1
nibp_dia  8462-4          150022  mm[Hg]  20   200  1
nibp_map  8478-0          150023  mm[Hg]  25   250  1
abp_sys   76215-3         150037  mm[Hg]  -20  350  1
abp_dia   76213-8         150038  mm[Hg]  -20  350  1
abp_map   76214-6         150039  mm[Hg]  -20  350  1
temp      8310-5          150364  Cel     25   45   0.1
glu       15074-8         160184  mmol/L  0.6  55   0.1
wt        29463-7         188736  kg      1    350  0.1
ht        8302-2          188740  cm      30   250  0.5
etco2     19891-1         151708  mm[Hg]  0    150  1
fio2      3150-6          0       %       21   100  1
o2_flow   3151-8          0       L/min   0    60   0.5
pain      72514-3         0       {score} 0    10   1
gcs       9269-2          153728  {score} 3    15   1
pi        61006-3         150488  %       0    30   0.1
"""
NAMED: list[Measure | Wave] = [*MEASURES.values(), *WAVES.values()]
ROWS = [line.split() for line in TABLE.strip().splitlines()]
MDC_OF_CLINICAL = {
    150344: "temp",
    150392: "temp",
    151570: "rr",
    151594: "rr",
    150033: "abp_sys",
    150034: "abp_dia",
    150035: "abp_map",
    160368: "glu",
    160020: "glu",
    151728: "etco2",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_measure_is_as_the_specification_says(row: list[str]) -> None:
    key, loinc, mdc, unit, low, high, step = row
    measure = MEASURES[key]
    assert set(measure.loinc) == set(loinc.split(","))
    assert (measure.mdc[0] if measure.mdc else 0) == int(mdc)
    assert (measure.unit, measure.low, measure.high, measure.step) == (unit, float(low), float(high), step)


def test_no_measure_is_left_out() -> None:
    assert {row[0] for row in ROWS} | set(CODED) == set(MEASURES)
    assert all(BY_MDC[code] == key for code, key in MDC_OF_CLINICAL.items())


def test_no_code_means_two_things() -> None:
    codes = [code for row in NAMED for code in row.mdc]
    assert len(codes) == len(set(codes))
    assert len(BY_MDC) + len(WAVE_BY_MDC) == len(codes)
    # Physiological codes stand in partition 2 (clinical 1.1).
    assert all(code >> 16 == 2 for code in codes)


def test_loinc_codes_have_a_right_check_digit() -> None:
    codes = {BP_PANEL_LOINC, *(code for row in MEASURES.values() for code in row.loinc)}
    for code in codes:
        number, check = code.split("-")
        digits = [int(digit) for digit in reversed(number)]
        doubled = [sum(divmod(digit * 2, 10)) if at % 2 == 0 else digit for at, digit in enumerate(digits)]
        # 3150-6 (inhaled oxygen) is published like that, against the rule.
        assert (10 - sum(doubled) % 10) % 10 == int(check) or code == "3150-6", code


def test_every_measure_and_wave_has_both_names() -> None:
    for row in NAMED:
        assert re.search(r"[\u4e00-\u9fff]|^CO₂", row.zh), row.key
        assert re.match(r"[A-Za-z]", row.en), row.key


def test_blood_pressure_is_one_panel() -> None:
    assert (BP_PANEL_LOINC, BP_PANEL_MDC) == ("85354-9", 150020)
    assert [MEASURES[key].loinc[0] for key in BP_PANEL] == ["8480-6", "8462-4", "8478-0"]


@pytest.mark.parametrize(
    ("value", "unit", "measure", "expected"),
    [
        ("120", "mm[Hg]", "nibp_sys", "120"),
        ("38.40", "Cel", "temp", "38.40"),
        ("98.6", "[degF]", "temp", "37.000"),
        ("101.1", "[degF]", "temp", "38.389"),
        ("16", "kPa", "nibp_sys", "120.01"),
        ("5.3", "kPa", "etco2", "39.75"),
        ("100", "mg/dL", "glu", "5.551"),
        ("18.016", "mg/dL", "glu", "1.000"),
        ("150", "[lb_av]", "wt", "68.039"),
        ("72", "bpm", "hr", "72"),
        ("72", "{beats}/min", "hr", "72"),
        ("36.6", "°C", "temp", "36.6"),
    ],
)
def test_units_are_converted_with_the_factors_of_clinical_1_2(
    value: str, unit: str, measure: str, expected: str
) -> None:
    assert convert(value, unit, measure) == expected


@pytest.mark.parametrize(
    ("value", "unit", "measure"),
    [
        ("NaN", "/min", "hr"),
        ("Infinity", "/min", "hr"),
        ("7,2", "/min", "hr"),
        ("", "/min", "hr"),
        ("72", "kPa", "hr"),
        ("1", "furlong", "ht"),
    ],
)
def test_what_cannot_be_converted_is_refused(value: str, unit: str, measure: str) -> None:
    with pytest.raises(ValueError, match=r"number|conversion"):
        convert(value, unit, measure)


@given(st.decimals(min_value=-100, max_value=400, places=3))
def test_a_value_in_its_own_unit_is_never_touched(value: Decimal) -> None:
    assert convert(str(value), "/min", "hr") == str(value)


@given(st.decimals(min_value=0, max_value=40, places=2))
def test_kilopascals_come_back_within_the_digits_kept(value: Decimal) -> None:
    back = Decimal(convert(str(value), "kPa", "nibp_sys")) / Decimal("7.50062")
    assert abs(back - value) < Decimal("0.001")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_plausible_range_includes_its_limits_and_ends_there(row: list[str]) -> None:
    key, low, high = row[0], Decimal(row[4]), Decimal(row[5])
    assert is_plausible(key, str(low))
    assert is_plausible(key, str(high))
    assert not is_plausible(key, str(low - Decimal("0.01")))
    assert not is_plausible(key, str(high + Decimal("0.01")))


def test_coded_measures_know_their_codes_alone() -> None:
    assert all(is_plausible("acvpu", code) for code in "ACVPU")
    assert not is_plausible("acvpu", "X")
    assert not is_plausible("oxygen", "A")


def test_device_units_lead_to_units_of_the_table() -> None:
    units = {row.unit for row in MEASURES.values()}
    assert {MDC_UNITS[code] for code in (264864, 264928, 262688, 266016, 268192, 266866, 263875)} <= units
    assert (MDC_UNITS[265987], MDC_UNITS[264274]) == ("kPa", "mg/dL")


@pytest.mark.parametrize("text", ["0", "-5", "+98.06", ".5", "7.", "1e3", "1E-12", "9" * 40])
def test_a_number_is_what_a_device_may_send(text: str) -> None:
    assert is_number(text)
    assert Decimal(text).is_finite()


@pytest.mark.parametrize("text", ["", "NaN", "inf", "_0", "1_0", "1e999", " 5", "5\n", "\u0663", ".", "9" * 41, "--5"])
def test_words_and_what_only_a_program_reads_are_no_numbers(text: str) -> None:
    assert not is_number(text)
