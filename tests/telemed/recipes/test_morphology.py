"""Thresholds and shapes, against figures that can be counted by hand."""

import numpy as np
import pytest
from telemed.recipes.morphology import Mask, closed, filled, largest_part, otsu, smoothed


def box(shape: tuple[int, int, int], *spans: tuple[slice, slice, slice]) -> Mask:
    """Return a mask of these boxes."""
    mask = np.zeros(shape, dtype=bool)
    for span in spans:
        mask[span] = True
    return mask


def test_the_threshold_lies_between_two_groups_of_unequal_size() -> None:
    random = np.random.default_rng(1)
    values = np.concatenate([random.normal(0.1, 0.03, 9000), random.normal(0.7, 0.05, 1000)]).astype(np.float32)
    assert 0.2 < otsu(values) < 0.6


def test_smoothing_averages_27_voxels_and_repeats_the_border() -> None:
    volume = np.zeros((5, 5, 5), dtype=np.float32)
    volume[2, 2, 2] = 27
    assert smoothed(volume)[1:4, 1:4, 1:4] == pytest.approx(np.ones((3, 3, 3)))
    assert smoothed(np.full((3, 3, 3), 2, dtype=np.float32)) == pytest.approx(np.full((3, 3, 3), 2))


def test_the_largest_part_is_kept_and_parts_that_touch_by_an_edge_are_two() -> None:
    small, large = (slice(0, 2), slice(0, 2), slice(0, 3)), (slice(2, 5), slice(2, 5), slice(0, 3))
    assert (largest_part(box((6, 6, 6), large, small)) == box((6, 6, 6), large)).all()


def test_a_part_that_winds_through_the_volume_is_one() -> None:
    snake = np.zeros((3, 15, 15), dtype=bool)
    snake[1, ::2] = True
    for number, row in enumerate(range(1, 15, 2)):
        snake[1, row, -1 if number % 2 == 0 else 0] = True
    assert (largest_part(snake) == snake).all()


def test_no_part_of_nothing() -> None:
    assert not largest_part(np.zeros((3, 3, 3), dtype=bool)).any()


def test_a_hole_is_filled_and_a_bay_is_not() -> None:
    solid = box((7, 7, 7), (slice(1, 6),) * 3)
    hollow = solid.copy()
    hollow[2:5, 2:5, 2:5] = False
    assert (filled(hollow) == solid).all()
    bay = solid.copy()
    bay[3, 3, :4] = False
    assert (filled(bay) == bay).all()


def test_closing_bridges_a_gap_of_twice_its_reach_and_no_wider_one() -> None:
    def halves(gap: int) -> Mask:
        return box((9, 9, 20), (slice(2, 7), slice(2, 7), slice(2, 8)), (slice(2, 7), slice(2, 7), slice(8 + gap, 18)))

    assert closed(halves(4), 2)[4, 4, 8:12].all()
    assert not closed(halves(5), 2)[4, 4, 8:13].any()
    assert (closed(halves(3), 0) == halves(3)).all()
