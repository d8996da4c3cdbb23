"""Short runs of the benches with many edges: real broker, real hub."""

import pytest

from bench import patients, storm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def test_everything_of_a_hundred_patients_is_stored_and_nothing_is_behind() -> None:
    row = patients.measure(100, 3)
    assert (row.edges, row.records, row.stored) == (10, 600, 600)
    assert 0 < row.hub_core_pct < 100


def test_when_the_broker_comes_back_every_edge_delivers_its_alarm_and_all_measurements() -> None:
    outcome = storm.measure(20, 3)
    assert outcome.alarms_stored == 20
    assert outcome.alarms_all_s < 30
    assert outcome.measurements_all_s < 30
