"""NEWS2 at the edge: the whole table against an independent one, the vectors of the specification, refusals."""

import itertools
from collections.abc import Iterator

import pytest
from telemed.news2 import Part, Sign

from edge_node.alarms.news2 import ScaleTwoOrder, Subject, score

NS = 1_000_000_000
NOW_NS = 1_800_000_000 * NS
ORDER = ScaleTwoOrder("zhang", NOW_NS, "hypercapnic failure confirmed, target 88-92 %")
ON_ONE, ON_TWO = Subject(age_years=70), Subject(age_years=70, scale_two=ORDER)

# Columns of the chart, written out value by value: an independent form of the same table.
RR = dict.fromkeys(range(9), 3) | dict.fromkeys(range(9, 12), 1) | dict.fromkeys(range(12, 21), 0)
RR |= dict.fromkeys(range(21, 25), 2) | dict.fromkeys(range(25, 81), 3)
SPO2_ONE = dict.fromkeys(range(40, 92), 3) | {92: 2, 93: 2, 94: 1, 95: 1} | dict.fromkeys(range(96, 101), 0)
SPO2_TWO = dict.fromkeys(range(40, 84), 3) | {84: 2, 85: 2, 86: 1, 87: 1} | dict.fromkeys(range(88, 93), 0)
SPO2_TWO_AIR = SPO2_TWO | dict.fromkeys(range(93, 101), 0)
SPO2_TWO_OXYGEN = SPO2_TWO | {93: 1, 94: 1, 95: 2, 96: 2} | dict.fromkeys(range(97, 101), 3)
SBP = dict.fromkeys(range(40, 91), 3) | dict.fromkeys(range(91, 101), 2) | dict.fromkeys(range(101, 111), 1)
SBP |= dict.fromkeys(range(111, 220), 0) | dict.fromkeys(range(220, 301), 3)
PULSE = dict.fromkeys(range(20, 41), 3) | dict.fromkeys(range(41, 51), 1) | dict.fromkeys(range(51, 91), 0)
PULSE |= dict.fromkeys(range(91, 111), 1) | dict.fromkeys(range(111, 131), 2) | dict.fromkeys(range(131, 301), 3)
TEMP_TENTHS = dict.fromkeys(range(250, 351), 3) | dict.fromkeys(range(351, 361), 1)
TEMP_TENTHS |= dict.fromkeys(range(361, 381), 0) | dict.fromkeys(range(381, 391), 1)
TEMP_TENTHS |= dict.fromkeys(range(391, 451), 2)
ACVPU = {"A": 0, "C": 3, "V": 3, "P": 3, "U": 3}

NORMAL = {"rr": "16", "spo2": "97", "oxygen": "air", "nibp_sys": "125", "hr": "72", "acvpu": "A", "temp": "36.8"}
VECTORS = [
    ((16, 97, "N", 125, 72, "A", 36.8, 1), 0, False),
    ((22, 93, "N", 105, 112, "A", 38.4, 1), 8, False),
    ((8, 97, "N", 125, 72, "A", 36.8, 1), 3, True),
    ((25, 90, "Y", 88, 131, "C", 39.1, 1), 19, True),
    ((18, 90, "N", 130, 80, "A", 37.0, 2), 0, False),
    ((18, 97, "Y", 130, 80, "A", 37.0, 2), 5, True),
    ((18, 97, "N", 130, 80, "A", 37.0, 2), 0, False),
    ((12, 96, "N", 111, 51, "A", 36.1, 1), 0, False),
    ((20, 96, "N", 219, 90, "A", 38.0, 1), 0, False),
    ((18, 98, "N", 186, 84, "C", 36.9, 1), 3, True),
]


def signs(**values: str) -> dict[str, Sign]:
    return {measure: Sign(value, NOW_NS) for measure, value in (NORMAL | values).items()}


def points(part: Part, subject: Subject, **values: str) -> int | None:
    found = score(signs(**values), subject, NOW_NS)
    return next(row.points for row in found.parts if row.part is part)


def every_single_value() -> Iterator[tuple[Part, Subject, dict[str, str], int]]:
    for subject in (ON_ONE, ON_TWO):
        for measure, part, table in (
            ("rr", Part.RR, RR),
            ("nibp_sys", Part.SBP, SBP),
            ("hr", Part.PULSE, PULSE),
        ):
            yield from ((part, subject, {measure: str(value)}, expected) for value, expected in table.items())
        for tenths, expected in TEMP_TENTHS.items():
            yield Part.TEMP, subject, {"temp": f"{tenths / 10:.1f}"}, expected
        for code, expected in ACVPU.items():
            yield Part.ACVPU, subject, {"acvpu": code}, expected
    for oxygen, subject, table in (
        ("air", ON_ONE, SPO2_ONE),
        ("oxygen", ON_ONE, SPO2_ONE),
        ("air", ON_TWO, SPO2_TWO_AIR),
        ("oxygen", ON_TWO, SPO2_TWO_OXYGEN),
    ):
        yield Part.OXYGEN, subject, {"oxygen": oxygen}, 2 if oxygen == "oxygen" else 0
        for value, expected in table.items():
            yield Part.SPO2, subject, {"oxygen": oxygen, "spo2": str(value)}, expected


def test_every_value_of_every_part_scores_as_the_chart_says_on_both_scales() -> None:
    wrong = [case for case in every_single_value() if points(case[0], case[1], **case[2]) != case[3]]
    assert wrong == []


def test_every_combination_of_band_edges_adds_up() -> None:
    edges = {
        "rr": (8, 9, 11, 12, 20, 21, 24, 25),
        "spo2": (83, 84, 87, 88, 91, 92, 93, 95, 96, 97),
        "hr": (40, 41, 90, 91, 130, 131),
        "acvpu": ("A", "C"),
        "oxygen": ("air", "oxygen"),
    }
    for subject in (ON_ONE, ON_TWO):
        for rr, spo2, hr, acvpu, oxygen in itertools.product(*edges.values()):
            table = SPO2_ONE if subject is ON_ONE else SPO2_TWO_AIR if oxygen == "air" else SPO2_TWO_OXYGEN
            single = [RR[int(rr)], table[int(spo2)], PULSE[int(hr)], ACVPU[str(acvpu)]]
            expected = sum(single) + (2 if oxygen == "oxygen" else 0)
            found = score(
                signs(rr=str(rr), spo2=str(spo2), hr=str(hr), acvpu=str(acvpu), oxygen=str(oxygen)), subject, NOW_NS
            )
            assert (found.total, found.complete, found.single_three) == (expected, True, 3 in single)


@pytest.mark.parametrize(("row", "total", "three"), VECTORS)
def test_the_vectors_of_the_specification(row: tuple[object, ...], total: int, three: bool) -> None:
    rr, spo2, oxygen, sbp, hr, acvpu, temp, scale = row
    given = {
        "rr": str(rr),
        "spo2": str(spo2),
        "oxygen": "oxygen" if oxygen == "Y" else "air",
        "nibp_sys": str(sbp),
        "hr": str(hr),
        "acvpu": str(acvpu),
        "temp": str(temp),
    }
    found = score(signs(**given), ON_TWO if scale == 2 else ON_ONE, NOW_NS)
    assert (found.total, found.single_three, found.complete) == (total, three, True)


@pytest.mark.parametrize(
    ("measure", "text", "part", "expected"),
    [
        ("temp", "38.04", Part.TEMP, 0),
        ("temp", "38.05", Part.TEMP, 1),
        ("temp", "35.049", Part.TEMP, 3),
        ("temp", "35.05", Part.TEMP, 1),
        ("rr", "20.5", Part.RR, 2),
        ("rr", "20.4", Part.RR, 0),
        ("spo2", "95.5", Part.SPO2, 0),
        ("spo2", "95.4", Part.SPO2, 1),
        ("nibp_sys", "219.5", Part.SBP, 3),
        ("hr", "90.5", Part.PULSE, 1),
    ],
)
def test_values_are_compared_after_rounding(measure: str, text: str, part: Part, expected: int) -> None:
    assert points(part, ON_ONE, **{measure: text}) == expected


@pytest.mark.parametrize("missing", sorted(NORMAL))
def test_a_missing_input_is_never_zero_points(missing: str) -> None:
    given = signs()
    del given[missing]
    found = score(given, ON_ONE, NOW_NS)
    assert not found.complete
    assert found.risk == "unknown"
    assert [row.points for row in found.parts].count(None) == 1


@pytest.mark.parametrize(
    ("measure", "limit_s"),
    [("rr", 300), ("spo2", 300), ("hr", 300), ("nibp_sys", 3600), ("temp", 4 * 3600), ("acvpu", 4 * 3600)],
)
def test_a_value_counts_until_it_is_stale(measure: str, limit_s: int) -> None:
    for age_s, complete in ((limit_s - 1, True), (limit_s, False)):
        given = signs()
        given[measure] = Sign(NORMAL[measure], NOW_NS - age_s * NS)
        assert score(given, ON_ONE, NOW_NS).complete is complete


def test_at_home_consciousness_stays_current_for_twelve_hours() -> None:
    given = signs()
    given["acvpu"] = Sign("A", NOW_NS - 11 * 3600 * NS)
    assert score(given, Subject(home=True), NOW_NS).complete
    assert not score(given, Subject(), NOW_NS).complete


def test_scale_two_needs_the_clinician_and_the_reason_of_its_order() -> None:
    with pytest.raises(ValueError, match="scale 2 needs"):
        ScaleTwoOrder("", NOW_NS, "because")
    with pytest.raises(ValueError, match="scale 2 needs"):
        ScaleTwoOrder("zhang", NOW_NS, "")
    assert score(signs(spo2="90"), ON_ONE, NOW_NS).scale == 1


@pytest.mark.parametrize(
    ("subject", "reason"), [(Subject(age_years=15), "under-16"), (Subject(pregnant=True), "pregnancy")]
)
def test_children_and_pregnant_women_are_not_scored(subject: Subject, reason: str) -> None:
    found = score(signs(rr="40"), subject, NOW_NS)
    assert (found.refused, found.parts, found.risk) == (reason, (), "unknown")


def test_the_chest_lead_is_preferred_to_the_oximeter_and_that_to_nothing() -> None:
    given = signs(pr_oxim="140")
    assert next(row.points for row in score(given, ON_ONE, NOW_NS).parts if row.part is Part.PULSE) == 0
    given["hr"] = Sign("72", NOW_NS - 301 * NS)
    assert next(row.points for row in score(given, ON_ONE, NOW_NS).parts if row.part is Part.PULSE) == 3
