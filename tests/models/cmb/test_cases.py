"""Subjects of training, validation and test."""

import numpy as np
import pytest
from telemed.recipes.centres import AnchorGrid
from telemed.recipes.cmb import Settings

from models.phantoms.swi_head import PRESETS, Kind
from models.tasks.cmb.cases import TEST_SEEDS, VALIDATION_SEEDS, cases, training_seeds

SETTINGS = Settings((48, 48, 48), AnchorGrid(2, (3.0,), 1.0), 0.5, (1.0, 0.0))


def test_no_head_is_in_two_sets_or_in_two_runs() -> None:
    runs = [set(training_seeds(seed)) for seed in range(20)]
    sets = [*runs, set(VALIDATION_SEEDS), set(TEST_SEEDS)]
    assert len(set().union(*sets)) == sum(len(each) for each in sets)
    assert {len(run) for run in runs} == {16}


def test_bleeds_lie_where_the_prepared_volume_is_dark() -> None:
    for case in cases("easy", range(3), SETTINGS):
        for bleed in case.bleeds:
            z, y, x = np.rint(bleed[:3]).astype(int)
            around = case.prepared.channels[0][case.prepared.mask]
            assert case.prepared.channels[0, z, y, x] < np.quantile(around, 0.1)


def test_without_phase_the_second_channel_is_nought_and_the_first_the_same() -> None:
    (usual,), (bare,) = (cases("hard", range(4, 5), SETTINGS, how) for how in ("none", "no-phase"))
    assert (bare.prepared.channels[0] == usual.prepared.channels[0]).all()
    assert not bare.prepared.channels[1].any()


def test_shuffled_slices_carry_their_bleeds_with_them() -> None:
    thick_mm = PRESETS["hard"].slice_mm
    (usual,), (mixed,) = (cases("hard", range(4, 5), SETTINGS, how) for how in ("none", "shuffled-slices"))
    assert len(usual.bleeds) == len(mixed.bleeds) > 0
    for before, after in zip(usual.marks, mixed.marks, strict=True):
        if before.kind is not Kind.BLEED:
            continue
        moved_mm = np.subtract(after.centre_mm, before.centre_mm)
        assert moved_mm[:2] == pytest.approx([0, 0])
        assert moved_mm[2] / thick_mm == pytest.approx(round(moved_mm[2] / thick_mm))
