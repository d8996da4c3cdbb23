"""Where voxels lie in the patient, and how volumes are resampled, padded and cut."""

import numpy as np
import pytest
from telemed.recipes.volume import Geometry, Shape, padded, resampled, windows

# Slices run to the head; rows and columns are turned about that axis, and columns are mirrored.
OBLIQUE = Geometry((-40.0, 12.5, 7.0), (3.0, 0.5, 0.6), ((0.0, 0.0, 1.0), (0.6, 0.8, 0.0), (0.8, -0.6, 0.0)))


def blob(
    shape: Shape, geometry: Geometry, centre_mm: tuple[float, float, float]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return a round spot of 4 mm."""
    grid = np.stack(np.meshgrid(*(np.arange(count) for count in shape), indexing="ij"), axis=-1).reshape(-1, 3)
    away_mm = np.linalg.norm(geometry.to_world_mm(grid.astype(np.float64)) - np.array(centre_mm), axis=1)
    return np.asarray(np.exp(-((away_mm / 4) ** 2)).reshape(shape), dtype=np.float32)


def test_a_place_in_the_patient_survives_the_way_to_voxels_and_back() -> None:
    places_mm = np.array([[1.0, -20.0, 33.0], [-3.25, 0.0, 8.0]])
    assert OBLIQUE.to_world_mm(OBLIQUE.to_voxels(places_mm)) == pytest.approx(places_mm)


def test_voxel_axes_follow_slice_row_and_column() -> None:
    moved = OBLIQUE.to_world_mm(np.array([[2.0, 0.0, 0.0], [0.0, 10.0, 0.0]]))
    assert moved == pytest.approx(np.array([[-40.0, 12.5, 13.0], [-37.0, 16.5, 7.0]]))


@pytest.mark.parametrize("spacing_mm", [0.5, 1.0, 2.0])
def test_what_lies_somewhere_lies_there_after_resampling(spacing_mm: float) -> None:
    geometry = Geometry((-10.0, -12.0, -16.0), (2.0, 0.8, 0.8))
    centre_mm = (3.0, 1.0, -1.5)
    volume, moved = resampled(blob((18, 40, 40), geometry, centre_mm), geometry, spacing_mm)
    at = np.argwhere(volume >= 0)
    weight = volume.ravel()[:, None].astype(np.float64)
    middle = (at * weight).sum(axis=0) / weight.sum()
    assert moved.spacing_mm == (spacing_mm,) * 3
    assert moved.to_world_mm(middle[None])[0] == pytest.approx(centre_mm, abs=0.15)


def test_resampling_keeps_what_is_even_and_averages_where_it_becomes_coarser() -> None:
    geometry = Geometry((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))
    even, _ = resampled(np.full((12, 12, 12), 7.0, dtype=np.float32), geometry, 1.0)
    assert even == pytest.approx(np.full((6, 6, 6), 7.0))
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    coarse, _ = resampled(noise, geometry, 1.0)
    assert coarse.std() < 0.25 * noise.std()


def test_padding_adds_zeros_around_and_moves_nothing() -> None:
    geometry = Geometry((5.0, 5.0, 5.0), (1.0, 1.0, 1.0))
    volume, moved = padded(np.ones((4, 10, 7), dtype=np.float32), geometry, (8, 8, 8))
    assert volume.shape == (8, 10, 8)
    assert volume.sum() == 4 * 10 * 7
    first = np.argwhere(volume > 0)[0].astype(np.float64)
    assert moved.to_world_mm(first[None])[0] == pytest.approx([5.0, 5.0, 5.0])


@pytest.mark.parametrize("shape", [(48, 48, 48), (49, 60, 48), (100, 130, 97)])
def test_every_voxel_is_answered_for_by_exactly_one_window_that_sees_it(shape: Shape) -> None:
    answered = np.zeros(shape, dtype=int)
    for window in windows(shape, (48, 48, 48)):
        answered[tuple(slice(low, high) for low, high in zip(window.kept_from, window.kept_to, strict=True))] += 1
        for start, low, high, extent in zip(window.start, window.kept_from, window.kept_to, shape, strict=True):
            assert start <= low < high <= start + 48 <= extent
    assert (answered == 1).all()


def test_windows_share_a_quarter_or_more() -> None:
    starts = sorted({window.start[0] for window in windows((132, 48, 48), (48, 48, 48))})
    assert max(np.diff(starts)) <= 36


def test_what_two_windows_share_is_split_in_the_middle() -> None:
    first, second = windows((84, 48, 48), (48, 48, 48))
    assert (first.start[0], second.start[0]) == (0, 36)
    assert first.kept_to[0] == second.kept_from[0] == 42


def test_a_volume_smaller_than_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller than a window"):
        windows((47, 48, 48), (48, 48, 48))
