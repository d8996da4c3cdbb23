"""Hours and budgets by the site's own clock, over midnight and over the change of summer time."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed.errors import Code

from edge_node.uplink.transfer.budget import Rule, Window, Wish, day_of, judge, next_open_s

SHANGHAI, BERLIN = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin")
CHUNK = Wish(65536)
NIGHT = (Window.parse("22:00-06:00"),)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def told(instant_s: float, zone: ZoneInfo = SHANGHAI) -> str:
    return datetime.fromtimestamp(instant_s, zone).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("22:00-06:00", (1320, 360)),
        ("00:00-24:00", (0, 1440)),
        ("8:05-9:00", (485, 540)),
        (" 08:00 - 12:30", (480, 750)),
    ],
)
def test_a_window_is_read_from_its_text(text: str, minutes: tuple[int, int]) -> None:
    window = Window.parse(text)
    assert (window.from_minute, window.to_minute) == minutes


@pytest.mark.parametrize(
    "text", ["", "22-06", "22:00", "25:00-26:00", "22:60-23:00", "24:00-06:00", "a:bc-d:ef", "-1:00-2:00"]
)
def test_a_text_that_means_no_hours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Window.parse(text)


def test_without_a_rule_anything_goes() -> None:
    assert judge(Rule(), CHUNK, 10**12, at("2026-11-26T12:00"), SHANGHAI).most_bytes > 10**15


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-26T12:00", "2026-11-26 22:00"),
        ("2026-11-26T21:59:59", "2026-11-26 22:00"),
        ("2026-11-26T22:00", ""),
        ("2026-11-27T00:00", ""),
        ("2026-11-27T05:59:59", ""),
        ("2026-11-27T06:00", "2026-11-27 22:00"),
    ],
)
def test_a_window_over_midnight_is_open_on_both_sides_of_it(now: str, opens: str) -> None:
    verdict = judge(Rule(windows=NIGHT), CHUNK, 0, at(now), SHANGHAI)
    assert (verdict.code, bool(verdict.most_bytes)) == ((Code.OUTSIDE_HOURS, False) if opens else ("", True))
    assert not opens or told(verdict.resume_s) == opens


def test_a_budget_that_is_used_up_goes_on_at_midnight_of_the_site() -> None:
    rule = Rule(bytes_per_day=1_000_000)
    assert judge(rule, CHUNK, 900_000, at("2026-11-26T12:00"), SHANGHAI).most_bytes == 100_000
    verdict = judge(rule, CHUNK, 990_000, at("2026-11-26T12:00"), SHANGHAI)
    assert (verdict.most_bytes, verdict.code, told(verdict.resume_s)) == (0, Code.BUDGET_USED, "2026-11-27 00:00")


def test_a_budget_that_is_used_up_goes_on_with_the_next_hours_of_the_new_day() -> None:
    day = Rule(1_000_000, (Window.parse("09:00-17:00"),))
    assert told(judge(day, CHUNK, 10**6, at("2026-11-26T12:00"), SHANGHAI).resume_s) == "2026-11-27 09:00"
    night = Rule(1_000_000, NIGHT)
    assert told(judge(night, CHUNK, 10**6, at("2026-11-26T23:00"), SHANGHAI).resume_s) == "2026-11-27 00:00"


def test_the_day_is_that_of_the_site_not_of_greenwich() -> None:
    assert day_of(at("2026-11-27T00:30"), SHANGHAI).isoformat() == "2026-11-27"
    assert day_of(at("2026-11-27T00:30"), ZoneInfo("UTC")).isoformat() == "2026-11-26"
    assert day_of(at("2026-11-27T00:30"), BERLIN).isoformat() == "2026-11-26"


def test_what_is_urgent_ignores_hours_and_budget() -> None:
    rule = Rule(1, NIGHT)
    assert judge(rule, Wish(65536, is_urgent=True), 10**9, at("2026-11-26T12:00"), SHANGHAI).most_bytes > 10**15


def test_hours_follow_the_clock_on_the_wall_when_summer_time_changes() -> None:
    day = (Window.parse("08:00-18:00"),)
    assert told(next_open_s(day, at("2026-03-28T20:00", BERLIN), BERLIN), BERLIN) == "2026-03-29 08:00"
    assert told(next_open_s(day, at("2026-10-24T20:00", BERLIN), BERLIN), BERLIN) == "2026-10-25 08:00"


def test_hours_inside_the_hour_that_is_left_out_open_all_the_same() -> None:
    opens_s = next_open_s((Window.parse("02:10-02:40"),), at("2026-03-29T00:30", BERLIN), BERLIN)
    assert told(opens_s, BERLIN) == "2026-03-29 03:10"


MINUTES = st.integers(0, 1439)


@given(
    st.lists(st.tuples(MINUTES, st.integers(1, 1440)), min_size=1, max_size=3),
    st.integers(int(at("2026-01-01T00:00")), int(at("2027-01-01T00:00"))),
    st.sampled_from([SHANGHAI, BERLIN, ZoneInfo("UTC"), ZoneInfo("Australia/Lord_Howe")]),
)
def test_the_next_opening_is_inside_a_window_and_none_lies_between(
    found: list[tuple[int, int]], now_s: int, zone: ZoneInfo
) -> None:
    windows = tuple(Window(first, last) for first, last in found)
    opens_s = next_open_s(windows, now_s, zone)
    assert now_s <= opens_s <= now_s + 3 * 24 * 3600
    assert next_open_s(windows, opens_s, zone) == opens_s
    for between_s in range(now_s, int(opens_s), 1800):
        assert next_open_s(windows, between_s, zone) == opens_s
