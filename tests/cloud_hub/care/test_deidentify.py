"""A released set: of those who agreed, without anybody who stands out, without a word of free text."""

import dataclasses
import json

import pytest

from cloud_hub.care import deidentify
from cloud_hub.care.deidentify import LEVELS, NotAlike, Quasi, Released, Subject, Value, check, found_in, release
from cloud_hub.care.pseudonym import Project

PROJECT = Project("stroke", b"k" * 32)
NOON_NS = 1_795_000_000 * 10**9
DAY_NS = 86_400 * 10**9


def person(number: int, **more: object) -> Subject:
    values = (Value("hr", "72", "/min", NOON_NS), Value("hr", "80", "/min", NOON_NS + 3 * DAY_NS))
    whole: dict[str, object] = {
        "person_id": f"person-{number}",
        "sex": "female",
        "birth_date": "1952-03-14",
        "town": "宝山镇",
        "values": values,
        "notes": (f"患者张三{number}，住院号 5101820{number}，电话 13800138000",),
    }
    return Subject(**(whole | more))  # type: ignore[arg-type]


def crowd(count: int, first: int = 0, **more: object) -> list[Subject]:
    return [person(number, **more) for number in range(first, first + count)]


def everybody(subjects: list[Subject]) -> set[str]:
    return {one.person_id for one in subjects}


def test_nobody_who_did_not_agree_is_in_a_set() -> None:
    subjects = crowd(30)
    agreed = everybody(subjects[:12])
    found = release(subjects, agreed, PROJECT)
    assert len(found.rows) == 12
    assert found.without_consent == 18
    assert {row.code for row in found.rows} == {PROJECT.code("person", one) for one in agreed}
    assert release(subjects, set(), PROJECT).rows == ()


def test_no_id_no_birth_date_and_no_word_is_left() -> None:
    subjects = crowd(12)
    found = release(subjects, everybody(subjects), PROJECT)
    text = json.dumps([dataclasses.asdict(row) for row in found.rows], ensure_ascii=False)
    for planted in ("person-", "1952", "张三", "5101820", "13800138000", str(NOON_NS)[:7]):
        assert planted not in text
    assert found.withheld_texts == 12
    assert found.found_in_texts == {"name": 12, "record-number": 12, "phone": 12}


def test_times_are_moved_by_days_and_the_time_between_them_stays() -> None:
    subjects = crowd(12)
    rows = {row.code: row for row in release(subjects, everybody(subjects), PROJECT).rows}
    shifts = set()
    for one in subjects:
        first, second = rows[PROJECT.code("person", one.person_id)].values
        assert second.at_ns - first.at_ns == 3 * DAY_NS
        days, rest = divmod(first.at_ns - NOON_NS, DAY_NS)
        assert rest == 0
        assert 1 <= abs(days) <= 365
        shifts.add(days)
    assert len(shifts) > 6


def test_whoever_stands_out_is_left_out_when_few_do() -> None:
    subjects = [*crowd(300), *crowd(2, first=500, town="深山村")]
    found = release(subjects, everybody(subjects), PROJECT)
    assert (found.level, found.left_out, len(found.rows)) == (LEVELS[0], 2, 300)


def test_a_set_is_made_coarser_before_many_are_left_out() -> None:
    subjects = [one for number in range(20) for one in crowd(6, first=number * 10, town=f"村{number}")]
    found = release(subjects, everybody(subjects), PROJECT)
    assert not found.level.has_town
    assert (found.left_out, len(found.rows)) == (0, 120)


def test_too_few_are_no_set_at_all() -> None:
    subjects = crowd(9)
    found = release(subjects, everybody(subjects), PROJECT)
    assert (found.rows, found.left_out) == ((), 9)


def test_the_check_stands_by_itself() -> None:
    row = Released("c", Quasi("male", "90+", "深山村"), ())
    check([row] * 10)
    with pytest.raises(NotAlike, match="9 of 10"):
        check([row] * 9)


def test_the_check_is_asked_before_a_set_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deidentify, "_coarse_enough", lambda asked: (LEVELS[0], list(asked)))
    subjects = crowd(3)
    with pytest.raises(NotAlike):
        release(subjects, everybody(subjects), PROJECT)


@pytest.mark.parametrize(
    ("born", "age"), [("1952-03-14", "70-74"), ("1937-01-01", "85-89"), ("1936-01-01", "90+"), ("", "")]
)
def test_ages_are_bands_and_nobody_is_older_than_ninety(born: str, age: str) -> None:
    subjects = crowd(12, birth_date=born)
    assert {row.quasi.age for row in release(subjects, everybody(subjects), PROJECT).rows} == {age}


def test_a_rare_sex_is_not_told_apart() -> None:
    subjects = crowd(12, sex="unknown")
    assert {row.quasi.sex for row in release(subjects, everybody(subjects), PROJECT).rows} == {"other"}


def test_only_numbers_and_known_codes_of_known_measures_go_along() -> None:
    odd = tuple(
        Value(measure, text, "", NOON_NS)
        for measure, text in (("acvpu", "A"), ("acvpu", "Zhang"), ("hr", "see note"), ("hr", "NaN"), ("note", "7"))
    )
    subjects = crowd(12, values=odd)
    found = release(subjects, everybody(subjects), PROJECT)
    assert {value.text for row in found.rows for value in row.values} == {"A"}
    assert found.withheld_values == 4 * 12


def test_a_unit_is_the_measures_own_and_a_number_that_cannot_be_one_does_not_go_along() -> None:
    odd = (Value("hr", "80", "of Mrs. Gu", NOON_NS), Value("hr", "13800138000", "/min", NOON_NS))
    subjects = crowd(12, values=odd)
    found = release(subjects, everybody(subjects), PROJECT)
    assert {(value.text, value.unit) for row in found.rows for value in row.values} == {("80", "/min")}
    assert found.withheld_values == 12


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("身份证 11010519491231002X", "citizen-number"),
        ("打 028-85551234 找家属", "phone"),
        ("3 床今晚加测", "bed-number"),
        ("青石村 3 组 12 号", "address"),
        ("2026年11月20日发病", "date"),
        ("Mrs. Gu fell", "name"),
        ("MRN 77", "record-number"),
    ],
)
def test_what_a_text_seems_to_hold_is_named(text: str, kind: str) -> None:
    assert kind in found_in(text)


def test_a_number_with_a_wrong_check_digit_is_no_citizen_number() -> None:
    assert deidentify.is_citizen_number("11010519491231002x")
    assert not deidentify.is_citizen_number("110105194912310021")
    assert found_in("心率 72 次，血压 120/80") == frozenset()


def test_a_project_is_unlinkable_to_another_and_needs_a_real_key() -> None:
    other = Project("tremor", b"k" * 32)
    assert PROJECT.code("person", "p") == Project("stroke", b"k" * 32).code("person", "p")
    assert PROJECT.code("person", "p") != other.code("person", "p")
    assert PROJECT.code("person", "p") != PROJECT.code("device", "p")
    assert {PROJECT.shift_days(str(n)) for n in range(20_000)} == set(range(-365, 366)) - {0}
    assert len(PROJECT.uid("1.2.3")) <= 64
    with pytest.raises(ValueError, match="32 bytes"):
        Project("x", b"short")
