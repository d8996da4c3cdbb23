"""NEWS2 against the table and vectors of clinical 2.1."""

import pytest
from telemed import news2
from telemed.news2 import Part, Sign

AT_NS = 1_700_000_000 * 10**9
HOUR_NS = 3600 * 10**9

VECTORS = [
    ("16 97 N 125 72 A 36.8", 1, 0, [0, 0, 0, 0, 0, 0, 0]),
    ("22 93 N 105 112 A 38.4", 1, 8, [2, 2, 0, 1, 2, 0, 1]),
    ("8 97 N 125 72 A 36.8", 1, 3, [3, 0, 0, 0, 0, 0, 0]),
    ("25 90 Y 88 131 C 39.1", 1, 19, [3, 3, 2, 3, 3, 3, 2]),
    ("18 90 N 130 80 A 37.0", 2, 0, [0, 0, 0, 0, 0, 0, 0]),
    ("18 97 Y 130 80 A 37.0", 2, 5, [0, 3, 2, 0, 0, 0, 0]),
    ("18 97 N 130 80 A 37.0", 2, 0, [0, 0, 0, 0, 0, 0, 0]),
    ("12 96 N 111 51 A 36.1", 1, 0, [0, 0, 0, 0, 0, 0, 0]),
    ("20 96 N 219 90 A 38.0", 1, 0, [0, 0, 0, 0, 0, 0, 0]),
    ("18 98 N 186 84 C 36.9", 1, 3, [0, 0, 0, 0, 0, 3, 0]),
]
EDGES = {
    Part.RR: "8:3 9:1 11:1 12:0 20:0 21:2 24:2 25:3 20.4:0 20.5:2",
    Part.SPO2: "91:3 92:2 93:2 94:1 95:1 96:0 91.4:3 91.5:2",
    Part.SBP: "90:3 91:2 100:2 101:1 110:1 111:0 219:0 220:3",
    Part.PULSE: "40:3 41:1 50:1 51:0 90:0 91:1 110:1 111:2 130:2 131:3",
    Part.TEMP: "35.0:3 35.1:1 36.0:1 36.1:0 38.0:0 38.1:1 39.0:1 39.1:2 35.04:3 35.05:1",
    Part.ACVPU: "A:0 C:3 V:3 P:3 U:3",
    Part.OXYGEN: "air:0 oxygen:2",
}
SCALE_2 = "83:3 84:2 85:2 86:1 87:1 88:0 92:0"


def _inputs(row: str) -> dict[Part, Sign]:
    rr, spo2, oxygen, sbp, pulse, acvpu, temp = row.split()
    texts = (rr, spo2, "oxygen" if oxygen == "Y" else "air", sbp, pulse, acvpu, temp)
    return {part: Sign(text, AT_NS) for part, text in zip(Part, texts, strict=True)}


@pytest.mark.parametrize(("row", "scale", "total", "points"), VECTORS)
def test_the_vectors_of_the_specification_hold(row: str, scale: news2.Scale, total: int, points: list[int]) -> None:
    result = news2.score(_inputs(row), scale)

    assert (result.total, [part.points for part in result.parts]) == (total, points)
    assert result.is_complete


@pytest.mark.parametrize("part", list(EDGES))
def test_every_edge_of_every_band_has_its_points(part: Part) -> None:
    for edge in EDGES[part].split():
        value, points = edge.split(":")
        result = news2.score({part: Sign(value, AT_NS)})
        assert result.total == int(points), edge


@pytest.mark.parametrize("air", ["air", "oxygen"])
def test_scale_2_scores_low_saturation_alike_on_air_and_on_oxygen(air: str) -> None:
    for edge in SCALE_2.split():
        value, points = edge.split(":")
        result = news2.score({Part.SPO2: Sign(value, AT_NS), Part.OXYGEN: Sign(air, AT_NS)}, 2)
        assert result.parts[1].points == int(points), edge


def test_scale_2_scores_high_saturation_on_oxygen_only() -> None:
    def points(value: str, air: str) -> int | None:
        inputs = {Part.SPO2: Sign(value, AT_NS), Part.OXYGEN: Sign(air, AT_NS)}
        return news2.score(inputs, 2).parts[1].points

    assert [points(value, "oxygen") for value in ("93", "94", "95", "96", "97")] == [1, 1, 2, 2, 3]
    assert [points(value, "air") for value in ("93", "97")] == [0, 0]
    assert news2.score({Part.SPO2: Sign("97", AT_NS)}, 2).parts[1].points is None


def test_a_missing_part_is_never_zero_and_makes_the_total_a_lower_bound() -> None:
    inputs = _inputs("16 97 N 125 72 A 36.8")
    del inputs[Part.ACVPU]
    result = news2.score(inputs)

    assert not result.is_complete
    assert result.parts[5].points is None
    assert result.risk == "unknown"


def test_an_incomplete_score_may_still_be_high() -> None:
    assert news2.score({Part.RR: Sign("25", AT_NS), Part.SPO2: Sign("90", AT_NS)}).risk == "medium"


def test_a_single_three_is_low_medium() -> None:
    result = news2.score(_inputs("8 97 N 125 72 A 36.8"))

    assert (result.risk, result.has_single_three) == ("low-medium", True)


def test_stale_signs_drop_out_after_the_time_of_their_measure() -> None:
    signs = {name: Sign("1", AT_NS) for name in ("rr", "nibp_sys", "temp")} | {"acvpu": Sign("A", AT_NS)}

    assert set(news2.current(signs, AT_NS + 299 * 10**9)) == {Part.RR, Part.SBP, Part.TEMP, Part.ACVPU}
    assert set(news2.current(signs, AT_NS + 300 * 10**9)) == {Part.SBP, Part.TEMP, Part.ACVPU}
    assert set(news2.current(signs, AT_NS + 3600 * 10**9)) == {Part.TEMP, Part.ACVPU}
    assert set(news2.current(signs, AT_NS + 4 * HOUR_NS)) == set()
    assert set(news2.current(signs, AT_NS + 12 * HOUR_NS - 1, is_home=True)) == {Part.ACVPU}


def test_the_pulse_of_the_oximeter_stands_in_for_a_stale_heart_rate() -> None:
    signs = {"hr": Sign("72", AT_NS - HOUR_NS), "pr_oxim": Sign("80", AT_NS)}

    assert news2.current(signs, AT_NS)[Part.PULSE].value == "80"


def test_children_and_pregnant_women_get_no_score() -> None:
    assert news2.refusal(15) == "under-16"
    assert news2.refusal(16) is None
    assert news2.refusal(None) is None
    assert news2.refusal(30, is_pregnant=True) == "pregnancy"
