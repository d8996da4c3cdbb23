"""Intervals of persons and devices, and ages."""

from datetime import UTC, datetime

import pytest

from cloud_hub.care.places import Place, Stay, age_years, bed_of, person_in

STAYS = [Stay("s", "B01", "p1", 100, 200), Stay("s", "B01", "p2", 200, None), Stay("s", "B02", "p1", 200, None)]


@pytest.mark.parametrize(
    ("bed", "at_ns", "person"),
    [("B01", 99, None), ("B01", 100, "p1"), ("B01", 199, "p1"), ("B01", 200, "p2"), ("B02", 10**18, "p1")],
)
def test_the_person_is_whoever_lay_there_at_that_time(bed: str, at_ns: int, person: str | None) -> None:
    assert person_in(STAYS, bed, at_ns) == person


def test_a_device_belongs_to_the_bed_where_it_stood_at_that_time() -> None:
    places = [Place("s", "n", "mon-1", "B01", 0, 50), Place("s", "n", "mon-1", "B02", 50, None)]

    assert [bed_of(places, "n", "mon-1", at_ns) for at_ns in (0, 49, 50)] == ["B01", "B01", "B02"]
    assert bed_of(places, "other", "mon-1", 0) is None


@pytest.mark.parametrize(
    ("born", "age"), [("1952-11-21", 74), ("1952-11-22", 73), ("2011-11-21", 15), ("1952", None), ("", None)]
)
def test_age_counts_completed_years(born: str, age: int | None) -> None:
    now_ns = int(datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()) * 10**9

    assert age_years(born, now_ns) == age
