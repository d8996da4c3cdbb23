"""What a node says of itself that somebody must look at."""

from collections.abc import Mapping

import pytest
from telemed.errors import Code
from telemed.stuck import TEXTS, stuck_views

from edge_node import stuck
from edge_node.devices.hl7_monitor.devclock import ClockState
from edge_node.stuck import HeldBack, MachineClock, Store, found
from edge_node.uplink.enrolment import renewal

ROOMY = Store(0.1)
FINE = ClockState(0, is_known=True, is_suspect=False)


def codes(
    store: Store = ROOMY, held_back: tuple[HeldBack, ...] = (), clocks: Mapping[str, ClockState] | None = None
) -> list[tuple[str, str]]:
    return [(each.code, each.what) for each in found(store, held_back, clocks or {})]


def test_a_node_in_good_order_says_nothing() -> None:
    assert codes(Store(0.69), (HeldBack("B01", 0, is_occupied=True),), {"m1": FINE}) == []


@pytest.mark.parametrize(
    ("store", "told"),
    [
        (Store(0.70), [("store-nearly-full", "70%")]),
        (Store(0.94, is_full=True), [("store-full", "94%")]),
        (Store(0.5, is_full=True), [("store-full", "50%")]),
        (Store(0.1, damaged=("vitals.db.damaged-1",)), [("store-damaged", "vitals.db.damaged-1")]),
        (Store(0.1, is_locked=True), [("store-locked", "")]),
        (Store(0.86, gives_up=True), [("store-nearly-full", "86%"), ("data-shed", "")]),
    ],
)
def test_a_store_that_fills_up_is_told_before_it_is_full(store: Store, told: list[tuple[str, str]]) -> None:
    assert codes(store) == told


def test_a_machine_whose_clock_is_wrong_or_was_set_is_told_with_the_difference() -> None:
    machine = MachineClock(wrong_by_ns=-3600 * 10**9, moved_ns=3600 * 10**9)
    told = [(each.code, each.what) for each in found(ROOMY, (), {}, machine=machine)]
    assert told == [("node-clock", "-3600 s"), ("node-clock-set", "+3600 s")]


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
    told = list(found(Store(0), (), {}, "/etc/yuanzhen/edge.toml:12: bedside.colour: not permitted"))
    assert [(one.code, one.what) for one in told] == [("config-refused", "edge.toml:12: bedside.colour: not permitted")]


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("", []),
        (renewal.ENDED, [Code.CERTIFICATE_ENDED]),
        ("unproved", [Code.HUB_UNPROVED]),
        ("certificate-revoked", [Code.CERTIFICATE_REFUSED]),
        ("renewed-elsewhere", [Code.CERTIFICATE_REFUSED]),
    ],
)
def test_a_certificate_that_is_not_good_is_told_with_what_helps(trouble: str, told: list[Code]) -> None:
    assert [row.code for row in stuck.of_certificate(trouble)] == told
    assert all(code in TEXTS for code in told)
