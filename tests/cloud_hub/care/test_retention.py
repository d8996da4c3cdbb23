"""The table of clinical 9.5 and what it means at an instant."""

from pathlib import Path

import pytest

from cloud_hub.care import retention
from cloud_hub.care.retention import (
    AROUND_ALARM_NS,
    DEFAULT,
    NS_PER_DAY,
    Strip,
    Then,
    What,
    before_ns,
    gaps,
    load,
    strips,
)
from cloud_hub.errors import ConfigRefused

MIN = 60 * 10**9


def test_the_table_that_comes_along_is_that_of_clinical_9_5() -> None:
    table = load()
    kept = {row.what: (row.keep_days, row.then) for row in table.rows}
    assert kept == {
        What.WAVES: (90, Then.DELETE),
        What.VISITORS: (30, Then.REPORT),
        What.CONSULTS: (3 * 365 + 1, Then.REPORT),
        What.MEASUREMENTS: (15 * 365 + 4, Then.REPORT),
        What.IMAGES: (15 * 365 + 4, Then.REPORT),
        What.ALARMS: (6 * 365 + 2, Then.REPORT),
        What.AUDIT: (6 * 365 + 2, Then.KEEP),
    }
    assert table.version


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            'what = "audit"\nkeep_days = 2192\nthen = "keep"',
            'what = "audit"\nkeep_days = 2192\nthen = "report"',
            "holes",
        ),
        ('keep_days = 2192\nthen = "report"', 'keep_days = 2192\nthen = "delete"', "not deleted by a job"),
        ("keep_days = 90", "keep_days = 30", "as long as nodes hold them"),
        ('what = "alarms"', 'what = "audit"', "audit trail is kept|exactly one row"),
        ('version = "2026-11.2"', 'versions = "2026-11.2"', "versions"),
        ("[[rows]]", "[[rows", "not valid TOML"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused_by_name(tmp_path: Path, old: str, new: str, reason: str) -> None:
    text = DEFAULT.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "table.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigRefused, match=reason):
        load(path)
    with pytest.raises(ConfigRefused, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_a_day_has_24_hours() -> None:
    row = load().rows[0]
    assert before_ns(row, 100 * NS_PER_DAY) == 10 * NS_PER_DAY


def test_waves_around_alarms_stay_and_strips_that_touch_are_one() -> None:
    at = 1000 * MIN
    found = strips(
        [
            ("s", "n", at, at),
            ("s", "n", at + 8 * MIN, at + 9 * MIN),
            ("s", "other", at, at),
            ("s", "n", at + 60 * MIN, 0),
        ]
    )
    assert found == [
        Strip("s", "n", at - 5 * MIN, at + 14 * MIN),
        Strip("s", "n", at + 55 * MIN, at + 65 * MIN),
        Strip("s", "other", at - 5 * MIN, at + 5 * MIN),
    ]
    assert AROUND_ALARM_NS == 5 * MIN


def test_what_lies_between_the_strips_is_over_and_nothing_else() -> None:
    kept = [Strip("s", "n", 10, 20), Strip("s", "n", 15, 30), Strip("s", "n", 90, 200)]
    assert gaps(kept, 100) == [(0, 10), (30, 90)]
    assert gaps([], 100) == [(0, 100)]
    assert gaps([Strip("s", "n", 0, 100)], 100) == []
    assert retention.gaps([Strip("s", "n", 100, 200)], 100) == [(0, 100)]
