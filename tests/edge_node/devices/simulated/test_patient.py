"""Simulated patients: plausible, consistent with their waves, obedient to the control socket."""

from collections import Counter

import numpy as np
import pytest
from telemed.measures import is_plausible

from edge_node.devices.simulated import control, templates
from edge_node.devices.simulated.messages import Number
from edge_node.devices.simulated.patient import Habits, Patient
from edge_node.devices.simulated.profiles import PROFILES
from edge_node.samples.measurement import Channel

SECOND_NS = 1_000_000_000


@pytest.fixture(scope="module")
def drawn() -> templates.Templates:
    return templates.build(1)


def live(patient: Patient, seconds: int) -> list[tuple[dict[str, Number], dict[str, Channel]]]:
    steps = []
    for second in range(seconds):
        numbers, channels = patient.step(1.0, second * SECOND_NS)
        steps.append(({part.measure: part for part in numbers}, {part.measure: part for part in channels}))
    return steps


@pytest.mark.parametrize("profile", [name for name in PROFILES if name != "apnoea"])
def test_every_value_of_every_profile_is_plausible(drawn: templates.Templates, profile: str) -> None:
    patient = Patient(PROFILES[profile], drawn, 1, Habits(waves=False))
    for numbers, _ in live(patient, 600):
        assert all(is_plausible(number.measure, number.value) for number in numbers.values())


def test_the_deteriorating_patient_crosses_the_limits_within_five_minutes(drawn: templates.Templates) -> None:
    steps = live(Patient(PROFILES["deteriorating"], drawn, 1, Habits(waves=False)), 300)
    saturation = [int(numbers["spo2"].value) for numbers, _ in steps]
    assert min(saturation[:60]) >= 94
    assert min(saturation[:240]) < 92
    assert min(saturation[280:]) < 85
    assert int(steps[-1][0]["rr"].value) > 25


def test_the_beats_in_the_wave_are_the_heart_rate(drawn: templates.Templates) -> None:
    patient = Patient(PROFILES["stable"], drawn, 1)
    patient.set("hr", 75)
    ecg = np.concatenate([channels["ecg_II"].digits for _, channels in live(patient, 60)]) / 200
    beats = np.flatnonzero((ecg[1:] > 0.5) & (ecg[:-1] <= 0.5))
    assert beats.size == pytest.approx(75, abs=1)


def test_no_sample_is_lost_at_sixty_two_and_a_half_hertz(drawn: templates.Templates) -> None:
    steps = live(Patient(PROFILES["stable"], drawn, 1), 8)
    sizes = [channels["resp"].digits.size for _, channels in steps]
    assert sum(sizes) == 500
    assert Counter(sizes) == {62: 4, 63: 4}


def test_the_cuff_measures_at_once_then_at_its_interval_and_keeps_its_time(drawn: templates.Templates) -> None:
    steps = live(Patient(PROFILES["stable"], drawn, 1, Habits(nibp_every_s=10)), 25)
    assert sorted({numbers["nibp_sys"].at_ns // SECOND_NS for numbers, _ in steps}) == [0, 10, 20]


def test_the_control_socket_sets_and_clears_a_sign(drawn: templates.Templates) -> None:
    patients = {"B01": Patient(PROFILES["stable"], drawn, 1), "B02": Patient(PROFILES["stable"], drawn, 2)}
    assert control.obey("B02 set spo2 81\n", patients) == "ok"
    assert live(patients["B02"], 1)[0][0]["spo2"].value == "81"
    assert live(patients["B01"], 1)[0][0]["spo2"].value != "81"
    assert control.obey("B02 set nibp_sys 201", patients) == "ok"
    assert live(patients["B02"], 1)[0][0]["nibp_sys"].value == "201"
    assert control.obey("B02 clear", patients) == "ok"
    assert live(patients["B02"], 1)[0][0]["spo2"].value != "81"
    assert control.obey("beds", patients) == "ok B01 B02"


@pytest.mark.parametrize("line", ["set spo2 81", "B01 set magic 1", "B01 set spo2 much", "B01", "", "B09 clear"])
def test_the_control_socket_refuses_what_it_does_not_know(drawn: templates.Templates, line: str) -> None:
    patients = {"B01": Patient(PROFILES["stable"], drawn, 1), "B02": Patient(PROFILES["stable"], drawn, 2)}
    assert control.obey(line, patients).startswith("error")
