"""What a detector should say: matching, ignoring, and targets that the recipe decodes to the lesion."""

import numpy as np
import pytest
from telemed.recipes.centres import AnchorGrid, decoded

from models.detection.labels import IGNORED, NEGATIVE, POSITIVE, targets

GRID = AnchorGrid(2, (3.0,), 1.0)
WINDOW = (24, 24, 24)


def test_every_lesion_has_a_positive_cell_however_small_it_is() -> None:
    labels = targets(np.array([[10.9, 11.2, 12.0, 0.5]]), WINDOW, GRID).labels
    assert np.argwhere(labels == POSITIVE).tolist() == [[0, 5, 5, 6]]


def test_cells_near_a_lesion_are_neither_right_nor_wrong_and_far_ones_are_wrong() -> None:
    labels = targets(np.array([[10.5, 10.5, 10.5, 3.0]]), WINDOW, GRID).labels[0]
    assert labels[5, 5, 5] == POSITIVE
    assert labels[5, 5, 6] == IGNORED
    assert labels[5, 5, 7] == NEGATIVE
    assert (labels == NEGATIVE).sum() > 0.95 * labels.size


def test_every_cell_near_a_lesion_whose_anchor_overlaps_it_enough_is_positive() -> None:
    # Half way between two cells: each anchor of 3 mm shares 18 of 36 cubic millimetres with it.
    labels = targets(np.array([[11.5, 10.5, 10.5, 3.0]]), WINDOW, GRID).labels
    assert np.argwhere(labels == POSITIVE).tolist() == [[0, 5, 5, 5], [0, 6, 5, 5]]


def test_without_lesions_everything_is_wrong() -> None:
    nothing = targets(np.zeros((0, 4)), WINDOW, GRID)
    assert (nothing.labels == NEGATIVE).all()
    assert not nothing.deltas.any()


def test_the_anchor_nearest_in_size_is_taken() -> None:
    grid = AnchorGrid(2, (3.0, 8.0), 1.0)
    labels = targets(np.array([[10.5, 10.5, 10.5, 7.0]]), WINDOW, grid).labels
    assert (labels[0] != POSITIVE).all()
    assert labels[1, 5, 5, 5] == POSITIVE


@pytest.mark.parametrize("spacing_mm", [1.0, 0.8])
def test_the_recipe_decodes_the_targets_to_the_lesions(spacing_mm: float) -> None:
    grid = AnchorGrid(2, (3.0,), spacing_mm)
    lesions = np.array([[4.2, 5.9, 6.6, 2.1], [15.0, 17.3, 8.8, 3.3]])
    wanted = targets(lesions, WINDOW, grid)
    logits = np.where(wanted.labels == POSITIVE, 5, -5).astype(np.float32)
    # Among equals the first is the peak, so each lesion is the first one at its own place.
    found = decoded(logits, wanted.deltas.reshape(4, 12, 12, 12), grid, 1)
    likely = found.logits > 0
    for lesion in lesions:
        away = np.linalg.norm(found.centres[likely] - lesion[:3], axis=1)
        nearest = int(np.argmin(away))
        assert away[nearest] < 1e-4
        assert found.sizes_mm[likely][nearest] == pytest.approx(lesion[3], rel=1e-5)
