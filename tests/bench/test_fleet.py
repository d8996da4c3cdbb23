"""Short runs of the benches with many edges: real broker, real hub; how fast it goes is the benches' word."""

import math

import pytest

from bench import patients, patients_load, storm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_everything_of_a_hundred_patients_is_stored_and_shown_on_their_clinics_walls() -> None:
    row = patients.measure(patients_load.Asked(patients=100, seconds=3, sent="apart", looked_at=patients.SCREENS))
    assert (row.edges, row.records, row.stored) == (10, 600, 600)
    assert row.screens == patients.SCREENS
    assert row.shown > 0
    assert row.hub_core_pct > 0


def test_when_the_broker_comes_back_every_edge_delivers_its_alarm_and_all_measurements() -> None:
    outcome = storm.measure(20, 3)
    assert outcome.alarms_stored == 20
    assert math.isfinite(outcome.alarms_all_s)
    assert math.isfinite(outcome.measurements_all_s)
