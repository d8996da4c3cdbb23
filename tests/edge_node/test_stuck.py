"""What a node says of itself that somebody must look at."""

from collections.abc import Mapping

import pytest
from telemed.stuck import TEXTS, stuck_views

from edge_node.devices.hl7_monitor.devclock import ClockState
from edge_node.stuck import HeldBack, found

FINE = ClockState(0, is_known=True, is_suspect=False)


def codes(
    used_share: float = 0.1, held_back: tuple[HeldBack, ...] = (), clocks: Mapping[str, ClockState] | None = None
) -> list[tuple[str, str]]:
    return [(each.code, each.what) for each in found(used_share, held_back, clocks or {})]


def test_a_node_in_good_order_says_nothing() -> None:
    assert codes(0.84, (HeldBack("B01", 0, is_occupied=True),), {"m1": FINE}) == []


@pytest.mark.parametrize(("share", "code"), [(0.86, "store-nearly-full"), (0.96, "store-full")])
def test_a_store_that_fills_up_is_told_before_it_is_full(share: float, code: str) -> None:
    assert codes(share) == [(code, f"{share:.0%}")]


def test_sets_that_wait_for_a_person_are_counted_by_bed() -> None:
    held_back = (HeldBack("B01", 3, is_occupied=True), HeldBack("B02", 1, is_occupied=False))
    assert codes(held_back=held_back) == [("identity-mismatch", "B01 ×3"), ("identity-unknown", "B02 ×1")]


def test_a_clock_that_is_off_is_told_with_its_offset_as_soon_as_that_is_known() -> None:
    clocks = {
        "m1": ClockState(0, is_known=False, is_suspect=True),
        "m2": ClockState(10_800_000, is_known=True, is_suspect=False),
        "m3": ClockState(-20_000, is_known=True, is_suspect=False),
    }
    assert codes(clocks=clocks) == [("clock-suspect", "m1"), ("clock-suspect", "m2 -10800 s")]


def test_one_code_is_one_line_on_the_screen_with_all_its_places() -> None:
    views = stuck_views([("clock-suspect", "m1"), ("clock-suspect", "m2"), ("store-full", "")])
    assert [view.code for view in views] == ["clock-suspect", "store-full"]
    assert views[0].text.en == f"{TEXTS['clock-suspect'][1]} (m1, m2)"
    assert views[0].text.zh == f"{TEXTS['clock-suspect'][0]}（m1, m2）"


def test_a_code_without_words_is_shown_as_it_is() -> None:
    assert stuck_views([("something-new", "x")])[0].text.en == "Stuck: something-new (x)"


def test_a_configuration_that_is_not_in_force_is_told_without_its_folder() -> None:
    told = list(found(0, (), {}, "/etc/yuanzhen/edge.toml:12: bedside.colour: not permitted"))
    assert [(one.code, one.what) for one in told] == [("config-refused", "edge.toml:12: bedside.colour: not permitted")]
