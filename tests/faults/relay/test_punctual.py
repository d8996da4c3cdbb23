"""What is said of how long a block took."""

import time

import pytest

from tests.faults.relay.punctual import Span, timed


@pytest.mark.parametrize(
    ("took_s", "late_s", "is_about"),
    [(1.05, 0.0, True), (0.95, 0.0, True), (1.2, 0.15, True), (1.2, 0.05, False), (0.9, 5.0, False)],
)
def test_a_machine_that_is_late_excuses_what_is_late_and_nothing_that_is_early(
    took_s: float, late_s: float, is_about: bool
) -> None:
    assert Span(took_s, late_s).is_about(1.0, within_s=0.08) == is_about


def test_a_block_is_timed() -> None:
    with timed() as span:
        time.sleep(0.05)
    assert span.is_about(0.05, within_s=0.02), str(span)
