"""Which places stand for bleeds and for mimics, and the guard against unmarked bleeds."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is not tested here")

from telemed.recipes.centres import AnchorGrid  # noqa: E402

from models.detection.labels import IGNORED, targets  # noqa: E402
from models.tasks.cmb.crops import Batch, Crop  # noqa: E402
from models.tasks.cmb.mimics import BLEED, MIMIC, Guard, Point, points  # noqa: E402

GRID = AnchorGrid(2, (3.0,), 1.0)
BLEEDS = np.array([[10.5, 10.5, 10.5, 3.0]])


def batch(*bleeds: np.ndarray[tuple[int, ...], np.dtype[np.float64]], mask_to: int = 24) -> Batch:
    """Return crops with these bleeds; the brain ends at a column."""
    inside = torch.zeros(len(bleeds), 12, 12, 12, dtype=torch.bool)
    inside[..., : mask_to // 2] = True
    crops = tuple(Crop("s", each, (4, 0, 0)) for each in bleeds)
    wanted = [targets(each, (24, 24, 24), GRID) for each in bleeds]
    return Batch(
        crops,
        torch.zeros(len(bleeds), 2, 24, 24, 24),
        inside,
        np.stack([each.labels for each in wanted]),
        np.stack([each.deltas for each in wanted]),
    )


def likelihood(
    *peaks: tuple[int, int, int, int], value: float = 0.8
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return two crops' likelihoods with these peaks, each less likely than the one before."""
    found = np.zeros((2, 12, 12, 12), dtype=np.float32)
    for rank, peak in enumerate(peaks):
        found[peak] = value - 0.1 * rank
    return found


NONE = np.zeros((0, 4))


def test_bleeds_are_taken_at_their_centres_and_the_likeliest_other_place_of_each_crop_is_a_mimic() -> None:
    found = points(batch(BLEEDS, NONE), likelihood((0, 2, 2, 2), (1, 7, 8, 9), (1, 1, 1, 1)), GRID, Guard(), 0)
    assert found == [Point(0, (5, 5, 5), BLEED), Point(0, (2, 2, 2), MIMIC), Point(1, (7, 8, 9), MIMIC)]


def test_what_is_near_a_bleed_or_outside_the_brain_is_no_mimic() -> None:
    there = likelihood((0, 5, 5, 6), (0, 3, 3, 11), (0, 9, 9, 3), (1, 0, 0, 0))
    seen = batch(BLEEDS, NONE, mask_to=20)
    found = points(seen, np.where(seen.inside.numpy(), there, -1), GRID, Guard(), 0)
    assert [point.cell for point in found if point.kind == MIMIC] == [(9, 9, 3), (0, 0, 0)]


def test_a_bleed_where_cells_do_not_count_is_no_point() -> None:
    seen = batch(BLEEDS, NONE)
    seen.labels[0][:, 4:7] = IGNORED
    found = points(seen, likelihood((0, 2, 2, 2), (1, 7, 8, 9)), GRID, Guard(), 0)
    assert [point.kind for point in found] == [MIMIC, MIMIC]


def test_a_place_that_looks_like_a_bleed_for_three_epochs_is_left_out_and_listed() -> None:
    guard = Guard()
    assert [guard.admits("s", (9, 9, 9), 0.95, epoch) for epoch in range(4)] == [True, True, False, False]
    assert guard.suspects() == [("s", (8, 8, 8))]


def test_looking_twice_in_one_epoch_counts_once_and_doubt_ends_a_run() -> None:
    guard = Guard()
    assert all(guard.admits("s", (0, 0, 0), 0.95, 0) for _ in range(5))
    assert guard.admits("s", (0, 0, 0), 0.5, 1)
    assert guard.admits("s", (0, 0, 0), 0.95, 2)
    assert guard.admits("s", (0, 0, 0), 0.95, 3)
    assert not guard.suspects()


def test_an_epoch_in_which_a_place_was_not_seen_ends_its_run() -> None:
    guard = Guard()
    assert [guard.admits("s", (0, 0, 0), 0.95, epoch) for epoch in (0, 1, 3, 4)] == [True] * 4


def test_a_listed_place_stays_out_of_the_mimics_of_a_batch() -> None:
    guard = Guard()
    there = likelihood((1, 7, 8, 9), value=0.95)
    for epoch in range(3):
        found = points(batch(BLEEDS, NONE), there, GRID, guard, epoch)
    assert all(point.sample == 0 for point in found)
    assert guard.suspects() == [("s", (16, 16, 16))]
