"""Batches hold what they should, and turning a crop turns the truth with it."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is not tested here")

from telemed.recipes.centres import AnchorGrid  # noqa: E402
from telemed.recipes.cmb import Settings  # noqa: E402

from models.detection.labels import IGNORED, POSITIVE  # noqa: E402
from models.tasks.cmb.cases import Case, cases  # noqa: E402
from models.tasks.cmb.crops import Sampler, turned, turned_places  # noqa: E402

GRID = AnchorGrid(2, (3.0,), 1.0)


@pytest.fixture(scope="module")
def subjects() -> tuple[Case, ...]:
    """Three heads of the easy preset."""
    return cases("easy", range(3), Settings((48, 48, 48), GRID, 0.5, (1.0, 0.0)))


def test_the_first_half_of_a_batch_holds_bleeds_and_the_second_none(subjects: tuple[Case, ...]) -> None:
    sampler = Sampler(subjects, 24, GRID, 0)
    held, free = 0, 0
    for _ in range(5):
        batch = sampler.batch(6)
        holds = (batch.labels == POSITIVE).any(axis=(1, 2, 3, 4))
        # A bleed near the margin may be turned out of what counts, or into it; most stay.
        held += holds[:3].sum()
        free += holds[3:].sum()
        assert batch.volumes.shape == (6, 2, 24, 24, 24)
        assert batch.volumes.dtype == torch.float32
    assert held >= 11
    assert free <= 2


def test_the_same_seed_draws_the_same_crops(subjects: tuple[Case, ...]) -> None:
    first, again = (Sampler(subjects, 24, GRID, 3).batch(4) for _ in range(2))
    assert torch.equal(first.volumes, again.volumes)
    assert (first.labels == again.labels).all()


def test_bleeds_of_a_crop_lie_where_it_is_dark_after_mirroring_and_turning(subjects: tuple[Case, ...]) -> None:
    sampler = Sampler(subjects, 24, GRID, 1)
    darker = []
    for _ in range(12):
        batch = sampler.batch(4)
        for crop, volume in zip(batch.crops, batch.volumes.numpy(), strict=True):
            for bleed in crop.bleeds:
                z, y, x = np.clip(np.rint(bleed[:3]).astype(int), 0, 23)
                if (bleed[:3] > 3).all() and (bleed[:3] < 20).all():
                    darker.append(volume[0, z, y, x] < np.median(volume[0][volume[0] > 0]) - 0.15)
    assert len(darker) > 8
    assert np.mean(darker) > 0.9


def test_what_lies_along_a_cut_side_does_not_count(subjects: tuple[Case, ...]) -> None:
    batch = Sampler(subjects, 24, GRID, 2).batch(8)
    for crop, labels in zip(batch.crops, batch.labels, strict=True):
        counted = (labels[0] != IGNORED).any(axis=(1, 2))
        # Slices are never mirrored: two cells of two voxels on each side that is no side of the head.
        assert (~counted[:2]).all() == (crop.start[0] > 0)
        assert (~counted[-2:]).all() == (crop.start[0] + 24 < 48)
        assert counted[2:-2].all()


def test_where_no_part_is_without_a_bleed_that_is_said(subjects: tuple[Case, ...]) -> None:
    with pytest.raises(ValueError, match="without a bleed"):
        Sampler(subjects, 48, GRID, 0).batch(2)


def test_a_quarter_turn_moves_rows_to_columns_and_the_truth_with_them() -> None:
    volumes = torch.zeros(1, 2, 3, 9, 9)
    volumes[:, :, 1, 1, 4] = 1
    rotated = turned(volumes, [np.pi / 2], [(False, False)])[0]
    z, y, x = np.rint(turned_places(np.array([[1.0, 1.0, 4.0]]), np.pi / 2, 9)[0]).astype(int)
    assert float(rotated[0, z, y, x]) == pytest.approx(1)
    assert float(rotated[0].sum()) == pytest.approx(1)


def test_what_is_mirrored_is_mirrored_before_it_is_turned() -> None:
    volumes = torch.zeros(1, 1, 1, 9, 9)
    volumes[0, 0, 0, 1, 2] = 1
    for mirrored, place in (((True, False), (7.0, 2.0)), ((False, True), (1.0, 6.0))):
        moved = turned(volumes, [np.pi / 2], [mirrored])[0, 0, 0]
        _, y, x = np.rint(turned_places(np.array([[0.0, *place]]), np.pi / 2, 9)[0]).astype(int)
        assert float(moved[y, x]) == pytest.approx(1)


def test_zeros_come_in_at_the_corners() -> None:
    assert float(turned(torch.ones(1, 1, 1, 33, 33), [np.deg2rad(15)], [(False, False)])[0, 0, 0, 0, 0]) == 0
