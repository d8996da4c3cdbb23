"""Capacities over time, by hand and from the shared recordings."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.relay.traces import (
    Capacity,
    constant,
    read_hsdpa,
    read_mahimahi,
    read_ucc5g,
    read_ucc5g_uplink,
    stepped,
)

HOLED = stepped([(1, 1000), (2, 0), (1, 500)])
"""1,500 bits in 4 s, with nothing between second 1 and second 3."""

MEAN_MBPS = {
    "Verizon-LTE-short.up": 5.946,
    "Verizon-LTE-short.down": 5.028,
    "ATT-LTE-driving-2016.up": 1.910,
    "ATT-LTE-driving-2016.down": 4.560,
    "ATT-LTE-driving.up": 0.834,
    "TMobile-UMTS-driving.up": 0.943,
    "TMobile-UMTS-driving.down": 2.020,
}
"""Published beside the recordings."""


def capacities() -> st.SearchStrategy[Capacity]:
    steps = st.tuples(st.floats(0.001, 10), st.sampled_from([0.0, 64_000.0, 1e6, 12e6]))
    return st.lists(steps, min_size=1, max_size=8).map(stepped)


def test_the_steps_repeat_for_ever() -> None:
    assert [HOLED.at_bps(at_s) for at_s in (0, 0.99, 1, 2.9, 3, 3.9, 4, 5, 403)] == [
        1000,
        1000,
        0,
        0,
        500,
        500,
        1000,
        0,
        500,
    ]
    assert HOLED.bits_until(4000) == 1_500_000


def test_what_does_not_fit_before_a_hole_goes_on_after_it() -> None:
    assert HOLED.carried_at_s(999) == 0.999
    assert HOLED.carried_at_s(1000) == 1.0
    assert HOLED.carried_at_s(1001) == pytest.approx(3.002)
    assert HOLED.carried_at_s(1500) == 4.0
    assert HOLED.carried_at_s(1501) == pytest.approx(4.001)


def test_what_fills_a_period_to_the_last_bit_does_not_wait_for_its_silent_end() -> None:
    assert stepped([(1, 1000), (9, 0)]).carried_at_s(2000) == 11.0


def test_a_link_without_capacity_never_carries_anything() -> None:
    assert constant(0).carried_at_s(1) == float("inf")
    assert constant(0).bits_until(1e6) == 0


@given(capacities(), st.floats(0, 1000))
def test_the_time_of_a_bit_is_the_first_at_which_it_has_passed(capacity: Capacity, at_s: float) -> None:
    bits = capacity.bits_until(at_s)
    first_s = capacity.carried_at_s(bits)
    if bits > 0:
        assert first_s <= at_s + 1e-6
        assert capacity.bits_until(first_s) == pytest.approx(bits, rel=1e-9, abs=1e-3)


@given(capacities(), st.floats(0, 100), st.floats(0, 100))
def test_a_later_beginning_shifts_the_course_and_changes_nothing_else(
    capacity: Capacity, start_s: float, at_s: float
) -> None:
    shifted = capacity.starting_at(start_s)
    assert shifted.period_s == pytest.approx(capacity.period_s)
    expected = capacity.bits_until(start_s + at_s) - capacity.bits_until(start_s)
    assert shifted.bits_until(at_s) == pytest.approx(expected, rel=1e-6, abs=1.0)


def test_a_course_can_be_scaled_and_freed_of_holes() -> None:
    assert HOLED.scaled(2).rates_bps == (2000, 0, 1000)
    assert HOLED.at_least(600).rates_bps == (1000, 600, 600)


@pytest.mark.parametrize("steps", [[], [(0, 1)], [(-1, 1)], [(1, -1)], [(1, float("nan"))], [(float("inf"), 1)]])
def test_steps_that_cannot_be_are_refused(steps: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match=r"step|rate"):
        stepped(steps)


def test_a_mahimahi_line_lets_1500_bytes_through_by_its_millisecond(tmp_path: Path) -> None:
    (tmp_path / "short.up").write_text("0\n2\n2\n5\n")
    capacity = read_mahimahi(tmp_path / "short.up")
    assert capacity.period_s == pytest.approx(0.005)
    reached_bits = [capacity.bits_until(at_ms / 1000) for at_ms in range(1, 6)]
    assert reached_bits == pytest.approx([12_000, 36_000, 36_000, 36_000, 48_000])


def test_a_3g_line_holds_for_the_time_before_it(tmp_path: Path) -> None:
    (tmp_path / "norway").write_text("0.0\t9.0\n0.5\t2.0\n1.5\t0.25\n")
    assert read_hsdpa(tmp_path / "norway") == Capacity((0.5, 1.0), (2e6, 250_000))


def test_an_idle_second_of_a_5g_recording_says_nothing_about_its_capacity(tmp_path: Path) -> None:
    rows = [("00", "I", 0), ("01", "D", 100), ("01", "D", 300), ("02", "I", 0), ("04", "D", 0), ("05", "D", 50)]
    lines = [f"2019.12.01_12.11.{second},{state},{kbps}\n" for second, state, kbps in rows]
    with gzip.open(tmp_path / "short.csv.gz", "wt") as file:
        file.write("Timestamp,State,DL_bitrate\n" + "".join(lines))
    assert read_ucc5g(tmp_path / "short.csv.gz") == Capacity((3, 1, 1), (200_000, 0, 50_000))
    assert read_ucc5g_uplink(tmp_path / "short.csv.gz").rates_bps == pytest.approx((40_000, 0, 10_000))


@pytest.mark.parametrize("reader", [read_mahimahi, read_hsdpa, read_ucc5g])
@pytest.mark.parametrize("text", ["", "a b c\n", "Timestamp,State\n1,D\n"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, reader: object, text: str) -> None:
    (tmp_path / "other").write_text(text)
    assert callable(reader)
    with pytest.raises((ValueError, KeyError)):
        reader(tmp_path / "other")


@pytest.mark.parametrize("name", MEAN_MBPS)
def test_the_mean_of_a_mahimahi_recording_is_the_published_one(shared_data: Path, name: str) -> None:
    capacity = read_mahimahi(shared_data / "network" / "mahimahi" / f"{name}.gz")
    assert round(capacity.mean_bps / 1e6, 3) == MEAN_MBPS[name]


def test_every_3g_recording_can_be_read(shared_data: Path) -> None:
    files = sorted((shared_data / "network" / "hsdpa").iterdir())
    assert len(files) == 12
    for capacity in map(read_hsdpa, files):
        assert 25 < capacity.period_s < 400
        assert 0.1e6 < capacity.mean_bps < 10e6


def test_every_5g_recording_can_be_read(shared_data: Path) -> None:
    files = sorted((shared_data / "network" / "ucc5g").iterdir())
    assert len(files) == 16
    for file in files:
        capacity = read_ucc5g(file)
        assert 600 < capacity.period_s < 8000
        assert read_ucc5g_uplink(file).mean_bps == pytest.approx(capacity.mean_bps / 5)
        if file.name.startswith("download"):
            assert capacity.mean_bps > 3e6
