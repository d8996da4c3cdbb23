"""Batches hold what they should, and turning a crop turns the truth with it."""

import numpy as np
import pytest
from telemed.recipes.centres import AnchorGrid
from telemed.recipes.cmb import Settings

from models.detection.labels import POSITIVE
from models.tasks.cmb.cases import Case, cases
from models.tasks.cmb.crops import Sampler, turned

GRID = AnchorGrid(2, (3.0,), 1.0)


@pytest.fixture(scope="module")
def subjects() -> tuple[Case, ...]:
    """Three heads of the easy preset."""
    return cases("easy", range(3), Settings((48, 48, 48), GRID, 0.5, (1.0, 0.0)))


def test_the_first_half_of_a_batch_holds_bleeds_and_the_second_none(subjects: tuple[Case, ...]) -> None:
    sampler = Sampler(subjects, 24, GRID, np.random.default_rng(0))
    for _ in range(5):
        batch = sampler.batch(6)
        holds = (batch.labels == POSITIVE).any(axis=(1, 2, 3, 4))
        assert not holds[3:].any()
        # A bleed near the corner may be turned out of a crop; most stay.
        assert holds[:3].sum() >= 2
        assert batch.volumes.shape == (6, 2, 24, 24, 24)
        assert batch.volumes.dtype == np.float32


def test_the_same_generator_draws_the_same_crops(subjects: tuple[Case, ...]) -> None:
    first, again = (Sampler(subjects, 24, GRID, np.random.default_rng(3)).batch(4) for _ in range(2))
    assert first.volumes.tobytes() == again.volumes.tobytes()


def test_bleeds_of_a_crop_lie_where_it_is_dark_after_mirroring_and_turning(subjects: tuple[Case, ...]) -> None:
    sampler = Sampler(subjects, 24, GRID, np.random.default_rng(1))
    darker = []
    for _ in range(6):
        for crop in sampler.batch(4).crops:
            for bleed in crop.bleeds:
                z, y, x = np.clip(np.rint(bleed[:3]).astype(int), 0, 23)
                if crop.mask[z, y, x]:
                    darker.append(crop.channels[0, z, y, x] < np.median(crop.channels[0][crop.mask]) - 0.15)
    assert len(darker) > 8
    assert np.mean(darker) > 0.9


def test_where_no_part_is_without_a_bleed_that_is_said(subjects: tuple[Case, ...]) -> None:
    with pytest.raises(ValueError, match="without a bleed"):
        Sampler(subjects, 48, GRID, np.random.default_rng(0)).batch(2)


def test_a_quarter_turn_moves_rows_to_columns_and_the_truth_with_them() -> None:
    channels = np.zeros((2, 3, 9, 9), dtype=np.float32)
    channels[:, 1, 1, 4] = 1
    rotated, _, bleeds = turned(channels, np.ones((3, 9, 9), bool), np.array([[1.0, 1.0, 4.0, 2.0]]), np.pi / 2)
    z, y, x = np.rint(bleeds[0, :3]).astype(int)
    assert rotated[0, z, y, x] == pytest.approx(1)
    assert rotated[0].sum() == pytest.approx(1)


def test_a_small_turn_loses_what_leaves_the_crop() -> None:
    corner = np.array([[1.0, 0.2, 0.2, 2.0], [1.0, 4.0, 4.0, 2.0]])
    _, mask, bleeds = turned(np.ones((2, 3, 9, 9), np.float32), np.ones((3, 9, 9), bool), corner, np.deg2rad(15))
    assert len(bleeds) == 1
    assert not mask[1, 0, 0]
