"""How detectors are judged, on findings that can be counted by hand."""

import math

import numpy as np
import pytest

from models.detection.froc import Judged, false_above, false_at, interval, judged, sensitivity_at, threshold_at


def one(scores: list[float], hits: list[int], lesions: int) -> Judged:
    """Return a subject as judged."""
    return Judged("s", lesions, np.array(scores), np.array(hits))


SUBJECTS = [one([0.9, 0.8, 0.3], [0, -1, 1], 2), one([0.7, 0.6, 0.2], [-1, 0, -1], 1)]


def test_a_finding_counts_up_to_two_millimetres_beside_the_lesions_box() -> None:
    lesions_mm, edges_mm = np.array([[0.0, 0.0, 0.0]]), np.array([2.0])
    inside = judged("s", np.array([[2.9, -2.9, 0.0]]), np.array([0.5]), lesions_mm, edges_mm)
    beside = judged("s", np.array([[3.1, 0.0, 0.0]]), np.array([0.5]), lesions_mm, edges_mm)
    assert (inside.hits.tolist(), beside.hits.tolist()) == ([0], [-1])


def test_a_second_finding_in_the_same_lesion_is_false_and_the_likelier_one_hits() -> None:
    both = judged("s", np.zeros((2, 3)), np.array([0.4, 0.6]), np.zeros((1, 3)), np.array([2.0]))
    assert both.scores.tolist() == [0.6, 0.4]
    assert both.hits.tolist() == [0, -1]


def test_without_lesions_every_finding_is_false() -> None:
    healthy = judged("s", np.zeros((2, 3)), np.array([0.4, 0.6]), np.zeros((0, 3)), np.zeros(0))
    assert healthy.hits.tolist() == [-1, -1]


def test_false_findings_are_counted_at_the_threshold_that_reaches_a_sensitivity() -> None:
    # In order: hit, false, false, hit, hit, false.
    assert false_at(SUBJECTS, 1 / 3) == 0
    assert false_at(SUBJECTS, 2 / 3) == pytest.approx(2 / 2)
    assert false_at(SUBJECTS, 0.9) == pytest.approx(2 / 2)
    assert false_at([one([0.5], [0], 2)], 0.9) == math.inf


def test_the_threshold_finds_the_share_asked_for_and_no_less() -> None:
    assert threshold_at(SUBJECTS, 0.9) == 0.3
    assert threshold_at(SUBJECTS, 2 / 3) == 0.6
    assert sensitivity_at(SUBJECTS, 0.6) == pytest.approx(2 / 3)
    assert false_above(SUBJECTS, 0.6) == 1
    assert threshold_at([one([0.5], [0], 2)], 0.9) == 0.0


def test_the_interval_holds_the_figure_is_the_same_each_time_and_narrows_with_more_subjects() -> None:
    random = np.random.default_rng(5)

    def drawn(count: int) -> list[Judged]:
        return [one([0.9], [0 if random.random() < 0.8 else -1], 1) for _ in range(count)]

    few, many = drawn(10), drawn(100)
    narrow, wide = (interval(each, lambda some: sensitivity_at(some, 0.5)) for each in (many, few))
    assert narrow.low <= narrow.value <= narrow.high
    assert narrow == interval(many, lambda some: sensitivity_at(some, 0.5))
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 * (0.8 * 0.2 / 100) ** 0.5, rel=0.2)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_an_interval_says_so_where_some_draws_never_reach_the_sensitivity() -> None:
    found = interval([one([0.9], [0], 1)] * 9 + [one([], [], 1)], lambda some: false_at(some, 0.9))
    assert (found.value, found.low, found.high) == (0, 0, math.inf)
