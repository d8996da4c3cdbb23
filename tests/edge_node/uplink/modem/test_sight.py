"""What a modem sees: bars, a first guess of the capacity, and what changed between two sights."""

from dataclasses import replace

import pytest

from edge_node.uplink.modem.sight import (
    GUESS_BPS,
    SERVING,
    Change,
    ModemState,
    RadioSight,
    Reception,
    Technology,
    bars,
    carried,
    changes,
    first_guess_bps,
    is_new_way,
)

LTE = RadioSight(
    "5g", ModemState.CONNECTED, 0, technology=Technology.LTE, cell=Reception(-93, -9, 12), cell_id="A1", sim_slot=1
)


def at(rsrp_dbm: float, technology: Technology = Technology.LTE) -> RadioSight:
    return replace(LTE, technology=technology, cell=Reception(rsrp_dbm))


@pytest.mark.parametrize(
    ("technology", "rsrp_dbm", "shown"),
    [
        (Technology.LTE, -128.1, 0),
        (Technology.LTE, -128, 1),
        (Technology.LTE, -118, 2),
        (Technology.LTE, -108, 3),
        (Technology.LTE, -98.1, 3),
        (Technology.LTE, -98, 4),
        (Technology.NR_SA, -110.1, 0),
        (Technology.NR_SA, -110, 1),
        (Technology.NR_SA, -90, 2),
        (Technology.NR_SA, -80, 3),
        (Technology.NR_SA, -65, 4),
    ],
)
def test_bars_are_those_of_a_phone_at_the_same_spot(technology: Technology, rsrp_dbm: float, shown: int) -> None:
    assert bars(at(rsrp_dbm, technology)) == shown


def test_beside_an_anchor_the_anchor_counts() -> None:
    weak_anchor = replace(at(-125, Technology.NR_NSA), nr=Reception(-60))
    assert bars(weak_anchor) == 1
    assert bars(replace(weak_anchor, cell=Reception())) == 4


def test_without_service_there_are_no_bars_whatever_is_received() -> None:
    for state in set(ModemState) - SERVING:
        assert bars(replace(LTE, state=state)) == 0


@pytest.mark.parametrize(
    ("quality_pct", "shown"),
    [(None, None), (1, 0), (5, 0), (6, 1), (30, 1), (31, 2), (55, 2), (56, 3), (80, 3), (81, 4), (100, 4)],
)
def test_where_no_power_is_known_the_quality_counts(quality_pct: int | None, shown: int | None) -> None:
    umts = RadioSight("5g", ModemState.CONNECTED, 0, technology=Technology.UMTS, quality_pct=quality_pct)
    assert bars(umts) == shown


def test_a_good_link_begins_with_128_kilobits() -> None:
    for technology in (Technology.LTE, Technology.NR_NSA, Technology.NR_SA):
        assert first_guess_bps(at(-60, technology)) == 128_000


def test_a_link_of_which_nothing_is_known_begins_as_the_rule_says() -> None:
    assert first_guess_bps(RadioSight("5g", ModemState.CONNECTED, 0)) == 128_000


@pytest.mark.parametrize(("rsrp_dbm", "guess_bps"), [(-117, 128_000), (-119, 64_000), (-129, 32_000)])
def test_a_poor_signal_begins_lower(rsrp_dbm: float, guess_bps: int) -> None:
    assert first_guess_bps(at(rsrp_dbm)) == guess_bps


def test_much_power_in_more_noise_begins_lower_too() -> None:
    assert first_guess_bps(replace(LTE, cell=Reception(-80, -18, -3.1))) == 64_000
    assert first_guess_bps(replace(LTE, cell=Reception(-80, -18, -3.0))) == 128_000


def test_an_older_technology_begins_below_what_it_can_carry() -> None:
    gsm = RadioSight("5g", ModemState.CONNECTED, 0, technology=Technology.GSM, quality_pct=90)
    assert first_guess_bps(gsm) == 24_000
    assert first_guess_bps(replace(gsm, technology=Technology.UMTS)) == 64_000


def test_every_guess_rises_with_the_bars() -> None:
    assert set(GUESS_BPS) == set(Technology)
    assert all(list(row) == sorted(row) and row[0] > 0 for row in GUESS_BPS.values())


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (None, LTE, [Change.FOUND]),
        (None, replace(LTE, state=ModemState.SEARCHING), []),
        (LTE, LTE, []),
        (LTE, replace(LTE, at_s=9, cell=Reception(-120), quality_pct=3), []),
        (LTE, replace(LTE, state=ModemState.REGISTERED), []),
        (LTE, replace(LTE, state=ModemState.SEARCHING), [Change.LOST]),
        (LTE, RadioSight("5g", ModemState.ABSENT, 1), [Change.LOST]),
        (replace(LTE, state=ModemState.DENIED), LTE, [Change.FOUND]),
        (LTE, replace(LTE, cell_id="A2"), [Change.CELL]),
        (LTE, replace(LTE, technology=Technology.NR_NSA), [Change.TECHNOLOGY]),
        (LTE, replace(LTE, technology=Technology.UMTS, cell_id="B"), [Change.TECHNOLOGY, Change.CELL]),
        (replace(LTE, state=ModemState.STARTING), replace(LTE, sim_slot=2), [Change.FOUND, Change.SIM]),
        (LTE, replace(LTE, cell_id=None, technology=None, sim_slot=None), []),
        (replace(LTE, cell_id=None, technology=None, sim_slot=None), LTE, []),
    ],
)
def test_what_changed_has_a_name(before: RadioSight | None, after: RadioSight, found: list[Change]) -> None:
    assert changes(before, after) == found


def test_a_cell_unknown_for_a_moment_does_not_hide_a_hand_over() -> None:
    known: RadioSight | None = None
    found = []
    for cell_id in ("A1", None, None, "A2"):
        sight = replace(LTE, cell_id=cell_id)
        found += changes(known, sight)
        known = carried(known, sight)
    assert found == [Change.FOUND, Change.CELL]


@pytest.mark.parametrize("change", list(Change))
def test_everything_but_a_loss_makes_the_way_a_new_one(change: Change) -> None:
    assert is_new_way([change]) == (change is not Change.LOST)
    assert not is_new_way([])
