"""Which SIM to use, second by second on a clock of the test's own."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_node.uplink.modem.sight import ModemState, RadioSight, Reception, Technology
from edge_node.uplink.modem.sim_choice import (
    SWITCH_LIMIT_S,
    Reason,
    SimChoice,
    SimPolicy,
    SimSample,
    begin,
    refused,
    sample_of,
    step,
)

POLICY = SimPolicy()


@dataclass(slots=True)
class Clinic:
    """A modem that changes to the chosen SIM within a second, and a hub."""

    policy: SimPolicy = POLICY
    now_s: float = 0.0
    slot: int | None = 1
    hub_heard_s: float = 0.0
    choice: SimChoice = field(default_factory=lambda: begin(POLICY, 0.0))
    changed: list[tuple[float, int, Reason]] = field(default_factory=list)
    obeys: bool = True

    def live(self, seconds: float, *, service: bool | None = True, bars: int | None = 4, hub: bool = True) -> "Clinic":
        for _ in range(round(seconds)):
            self.now_s += 1
            if hub:
                self.hub_heard_s = self.now_s
            before = self.choice
            sample = SimSample(self.now_s, self.slot, service, bars, self.now_s - self.hub_heard_s)
            self.choice = step(self.policy, before, sample)
            if self.choice.slot not in (before.slot, self.slot) and self.obeys:
                self.changed.append((self.now_s, self.choice.slot, self.choice.reason))
                self.slot = self.choice.slot
        return self


def test_a_good_link_stays_for_ever() -> None:
    assert Clinic().live(100_000).changed == []


def test_no_service_for_two_minutes_changes() -> None:
    clinic = Clinic().live(50).live(120, service=False)
    assert clinic.changed == []
    assert clinic.live(1, service=False).changed == [(171, 2, Reason.NO_SERVICE)]


def test_a_moment_of_service_begins_the_wait_anew() -> None:
    assert Clinic().live(119, service=False).live(1).live(119, service=False).changed == []


def test_a_silent_hub_behind_a_poor_radio_changes() -> None:
    clinic = Clinic().live(10).live(300, bars=1, hub=False)
    assert clinic.changed == []
    assert clinic.live(1, bars=1, hub=False).changed == [(311, 2, Reason.NO_HUB)]


def test_a_silent_hub_behind_a_good_radio_does_not() -> None:
    assert Clinic().live(50_000, bars=3, hub=False).changed == []
    assert Clinic().live(50_000, bars=None, hub=False).changed == []


def test_a_poor_radio_that_reaches_the_hub_does_not_either() -> None:
    assert Clinic().live(50_000, bars=0).changed == []


def test_a_modem_that_is_away_is_not_helped_by_another_card() -> None:
    assert Clinic().live(50_000, service=None, bars=0, hub=False).changed == []


def test_after_a_change_for_trouble_it_stays_for_a_while() -> None:
    clinic = Clinic().live(121, service=False)
    assert clinic.slot == 2
    assert len(clinic.live(599, service=False).changed) == 1
    assert clinic.live(2, service=False).changed[1:] == [(721, 1, Reason.NO_SERVICE)]


def test_it_returns_after_an_hour_of_good_service() -> None:
    clinic = Clinic().live(121, service=False).live(3600)
    assert clinic.slot == 2
    assert clinic.live(1).changed[1:] == [(3722, 1, Reason.RETURN)]


@pytest.mark.parametrize("trouble", [{"bars": 1}, {"service": False}, {"service": None}])
def test_the_good_hour_must_be_unbroken(trouble: dict[str, int | bool | None]) -> None:
    clinic = Clinic().live(121, service=False).live(3500).live(1, **trouble).live(3500)  # type: ignore[arg-type]
    assert clinic.slot == 2


def test_it_does_not_return_while_the_hub_is_not_reached() -> None:
    assert Clinic().live(121, service=False).live(50_000, hub=False, bars=4).slot == 2


def test_a_return_that_fails_is_undone_at_once_and_tried_later_each_time() -> None:
    clinic = Clinic().live(121, service=False)
    for good_s in (3600, 7200, 14_400, 28_800, 57_600, 86_400, 86_400):
        assert clinic.live(good_s).slot == 2
        assert clinic.live(1).slot == 1
        assert clinic.live(120, service=False).slot == 1
        assert clinic.live(1, service=False).slot == 2


def test_a_return_that_lasted_is_forgiven() -> None:
    clinic = Clinic().live(121, service=False).live(3601).live(121, service=False).live(7201)
    assert (clinic.slot, clinic.choice.return_s) == (1, 7200)
    clinic.live(7300).live(121, service=False)
    assert (clinic.slot, clinic.choice.return_s) == (2, POLICY.return_s)


def test_the_card_that_is_in_use_at_the_start_is_taken() -> None:
    clinic = Clinic(slot=2).live(5)
    assert (clinic.choice.slot, clinic.choice.reason, clinic.changed) == (2, Reason.START, [])
    assert clinic.live(3600).slot == 1


def test_what_somebody_chose_by_hand_stays_for_a_while() -> None:
    clinic = Clinic().live(100)
    clinic.slot = 2
    clinic.live(599, service=False)
    assert (clinic.choice.slot, clinic.choice.reason) == (2, Reason.FOUND)
    assert clinic.live(2, service=False).slot == 1


def test_a_modem_that_does_not_change_is_asked_again_later() -> None:
    clinic = Clinic(obeys=False).live(121, service=False)
    assert clinic.choice.slot == 2
    clinic.live(SWITCH_LIMIT_S, service=False)
    assert (clinic.choice.slot, clinic.choice.reason) == (1, Reason.FOUND)
    clinic.live(599, service=False)
    assert clinic.choice.slot == 1
    assert clinic.live(2, service=False).choice.slot == 2


def test_a_refusal_keeps_the_card_for_a_while() -> None:
    clinic = Clinic(obeys=False).live(121, service=False)
    clinic.choice = refused(clinic.choice, 1, clinic.now_s)
    assert clinic.live(599, service=False).choice.slot == 1
    assert clinic.live(2, service=False).choice.slot == 2


@pytest.mark.parametrize(
    ("state", "has_service"),
    [
        (ModemState.ABSENT, None),
        (ModemState.FAILED, None),
        (ModemState.OFF, None),
        (ModemState.STARTING, None),
        (ModemState.NO_SIM, False),
        (ModemState.LOCKED, False),
        (ModemState.SEARCHING, False),
        (ModemState.DENIED, False),
        (ModemState.REGISTERED, True),
        (ModemState.CONNECTING, True),
        (ModemState.CONNECTED, True),
    ],
)
def test_a_sight_says_whether_another_card_might_help(state: ModemState, has_service: bool | None) -> None:
    sight = RadioSight("5g", state, 1, technology=Technology.LTE, cell=Reception(-120), sim_slot=2)
    assert sample_of(sight, 9, 4) == SimSample(9, 2, has_service, 1 if has_service else 0, 4)


TROUBLES = st.tuples(
    st.integers(1, 2000), st.sampled_from([True, False, None]), st.sampled_from([None, 0, 4]), st.booleans()
)


@given(st.lists(TROUBLES, max_size=12))
def test_whatever_happens_it_never_goes_to_and_fro(life: list[tuple[int, bool | None, int | None, bool]]) -> None:
    clinic = Clinic()
    for seconds, service, shown, hub in life:
        clinic.live(seconds, service=service, bars=shown, hub=hub)
    times_s = [at_s for at_s, _, _ in clinic.changed]
    assert all(later - earlier >= POLICY.no_service_s for earlier, later in itertools.pairwise(times_s))
    # The one quick change is back from a return that failed; before each return lies a good hour.
    assert all(third - first >= POLICY.stay_s for first, third in zip(times_s, times_s[2:], strict=False))
