"""The phantom holds what it says, and differs from head to head only by its seed."""

from collections import Counter

import numpy as np
import pytest
from telemed.recipes.cmb import brain_mask
from telemed.recipes.cmb_regions import Region
from telemed.recipes.volume import resampled

from models.phantoms.swi_head import EDGE, PRESETS, Kind, head


def test_the_same_seed_gives_the_same_head_and_another_one_does_not() -> None:
    first, again, other = head(5, "hard"), head(5, "hard"), head(6, "hard")
    assert first.marks == again.marks
    assert first.study.swi.tobytes() == again.study.swi.tobytes()
    assert first.marks != other.marks


def test_the_presets_draw_different_heads_of_one_seed() -> None:
    assert head(5, "hard").marks[0].centre_mm != head(5, "easy").marks[0].centre_mm


def test_hard_heads_have_slices_of_two_millimetres_over_the_same_extent() -> None:
    easy, hard = head(1, "easy").study, head(1, "hard").study
    assert (easy.swi.shape, hard.swi.shape) == ((48, 48, 48), (24, 48, 48))
    assert hard.geometry.spacing_mm == (2.0, 1.0, 1.0)
    ends = [each.geometry.to_world_mm(np.array([[-0.5] * 3, np.array(each.swi.shape) - 0.5])) for each in (easy, hard)]
    assert ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_things_are_as_many_as_the_preset_says_and_lie_where_their_kind_belongs(preset: str) -> None:
    asked = PRESETS[preset]
    for seed in range(5):
        drawn = head(seed, preset)
        counts = Counter(mark.kind for mark in drawn.marks)
        assert asked.bleeds[0] <= counts[Kind.BLEED] <= asked.bleeds[1]
        assert asked.calcium[0] <= counts[Kind.CALCIUM] <= asked.calcium[1]
        assert counts[Kind.VESSEL] <= asked.vessels[1]
        regions = {mark.region for mark in drawn.bleeds}
        assert Region.NONE not in regions
        assert all(mark.region is Region.NONE for mark in drawn.marks if mark.kind is Kind.SULCAL_VEIN)


def test_every_region_is_drawn_in_every_head() -> None:
    for seed in range(5):
        assert set(np.unique(head(seed, "hard").regions)) == {int(region) for region in Region}


def test_nothing_is_so_near_a_bleed_that_a_finding_could_be_either() -> None:
    for seed in range(8):
        drawn = head(seed, "hard")
        for bleed in drawn.bleeds:
            others = [mark for mark in drawn.marks if mark is not bleed]
            away = [np.linalg.norm(np.subtract(mark.centre_mm, bleed.centre_mm)) for mark in others]
            assert min(away) > 5


def test_blood_is_dark_with_positive_phase_and_calcium_dark_with_negative_phase() -> None:
    signs: dict[Kind, list[float]] = {Kind.BLEED: [], Kind.CALCIUM: []}
    for seed in range(6):
        drawn = head(seed, "easy")
        assert drawn.study.phase_rad is not None
        for mark in drawn.marks:
            if mark.kind in signs:
                at = tuple(np.rint(drawn.study.geometry.to_voxels(np.array([mark.centre_mm]))[0]).astype(int))
                assert drawn.study.swi[at] < 0.6
                signs[mark.kind].append(float(drawn.study.phase_rad[at]))
    assert np.mean(signs[Kind.BLEED]) > 0.7
    assert np.mean(signs[Kind.CALCIUM]) < -0.7


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_recipe_finds_the_brain_of_every_head(preset: str) -> None:
    for seed in range(4):
        drawn = head(seed, preset)
        swi, _ = resampled(drawn.study.swi, drawn.study.geometry, 1.0)
        assert swi.shape == (EDGE, EDGE, EDGE)
        found = brain_mask(swi, 1.0)
        assert 2 * (found & drawn.brain).sum() / (found.sum() + drawn.brain.sum()) > 0.95


def test_noise_is_as_strong_as_the_preset_says() -> None:
    preset, drawn = PRESETS["hard"], head(2, "hard")
    assert drawn.study.phase_rad is not None
    quiet = drawn.study.phase_rad[:, :3, :3] * 3 / np.pi
    assert quiet.std() == pytest.approx(preset.phase_noise, rel=0.2)
