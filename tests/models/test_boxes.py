"""Overlap of cubes."""

import numpy as np
import pytest

from models.detection.boxes import cube_iou


def test_overlap_is_what_can_be_counted_by_hand() -> None:
    first = np.array([[0.0, 0.0, 0.0, 2.0]])
    second = np.array([[0, 0, 0, 2], [1, 0, 0, 2], [0, 0, 0, 1], [2, 0, 0, 2], [5, 5, 5, 2], [0, 0, 0, 0]], dtype=float)
    assert cube_iou(first, second)[0] == pytest.approx([1, 4 / 12, 1 / 8, 0, 0, 0])


def test_overlap_does_not_depend_on_which_is_first() -> None:
    random = np.random.default_rng(0)
    cubes = np.column_stack([random.uniform(0, 5, (20, 3)), random.uniform(0.5, 6, 20)])
    assert cube_iou(cubes, cubes) == pytest.approx(cube_iou(cubes, cubes).T)
    assert np.diag(cube_iou(cubes, cubes)) == pytest.approx(np.ones(20))
