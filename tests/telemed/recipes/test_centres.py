"""Dense outputs to cubes, peaks, and merging."""

import numpy as np
import pytest
from telemed.recipes.centres import AnchorGrid, decoded, is_peak, merged, probability

GRID = AnchorGrid(stride_voxels=2, sizes_mm=(3.0, 8.0), spacing_mm=0.5)


def test_cells_lie_in_the_middle_of_the_voxels_they_stand_for() -> None:
    assert GRID.shape((48, 16, 9)) == (24, 8, 4)
    assert GRID.centres((2, 2, 2))[1, 0, 1].tolist() == [2.5, 0.5, 2.5]


def test_a_cube_is_where_and_as_large_as_its_likeliest_anchor_says() -> None:
    logits = np.full((2, 5, 5, 5), -5, dtype=np.float32)
    deltas = np.zeros((8, 5, 5, 5), dtype=np.float32)
    logits[1, 2, 3, 1] = 2
    deltas[4:, 2, 3, 1] = [0.25, -0.125, 0.0, np.log(0.5)]
    best = decoded(logits, deltas, GRID, reach_cells=1)
    # A quarter of 8 mm is 2 mm, which is 4 voxels of 0.5 mm.
    assert best.centres[0] == pytest.approx([4.5 + 4, 6.5 - 2, 2.5])
    assert best.sizes_mm[0] == pytest.approx(4.0)
    assert best.logits[0] == 2


def test_an_absurd_size_does_not_overflow() -> None:
    deltas = np.full((4, 2, 2, 2), 1e9, dtype=np.float32)
    deltas[:3] = 0
    sizes_mm = decoded(np.zeros((1, 2, 2, 2), np.float32), deltas, AnchorGrid(2, (3.0,), 1.0), 1).sizes_mm
    assert sizes_mm.max() == pytest.approx(3 * 1000 / 16)


def test_a_peak_is_no_lower_than_any_of_its_neighbours_corners_and_border_included() -> None:
    values = np.zeros((6, 6, 6), dtype=np.float32)
    values[0, 0, 0], values[1, 1, 1], values[4, 4, 4] = 3, 2, 1
    peaks = is_peak(values, 1)
    assert peaks[0, 0, 0]
    assert not peaks[1, 1, 1]
    assert peaks[4, 4, 4]
    assert not is_peak(values, 3)[4, 4, 4]


def test_of_two_that_are_near_the_likelier_stays() -> None:
    centres_mm = np.array([[0.0, 0.0, 0.0], [3.9, 0.0, 0.0], [7.8, 0.0, 0.0], [11.9, 0.0, 0.0]])
    assert merged(centres_mm, np.array([0.5, 0.9, 0.4, 0.3]), 4.0).tolist() == [1, 3]
    assert merged(np.zeros((0, 3)), np.zeros(0), 4.0).tolist() == []


def test_probabilities_of_extreme_log_odds_are_finite() -> None:
    assert probability(np.array([-1e6, 0.0, 1e6])).tolist() == [0.0, 0.5, 1.0]
