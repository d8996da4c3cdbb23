"""The recipe for microbleeds, on a head that is a ball."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from telemed.ai_result import PHANTOM, ModelIdentity
from telemed.recipes import cmb
from telemed.recipes.centres import AnchorGrid
from telemed.recipes.volume import Geometry, Points, Volume

SETTINGS = cmb.Settings((48, 48, 48), AnchorGrid(2, (3.0,), 1.0), threshold=0.5, calibration=(0.5, -1.0))
MODEL = ModelIdentity("cmb", "0.1.0", "00" * 32, PHANTOM)


def ball(edge: int = 48, radius_mm: float = 18.0) -> cmb.SwiStudy:
    """Return a bright ball with noise in the middle of a volume of 1 mm voxels, and phase that is row number / 100."""
    axis = np.arange(edge) - (edge - 1) / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    noise = np.random.default_rng(3).normal(0, 0.05, z.shape)
    swi = np.where(z**2 + y**2 + x**2 < radius_mm**2, 500.0, 20.0) * (1 + noise)
    low_mm = -(edge - 1) / 2
    geometry = Geometry((low_mm, low_mm, low_mm), (1.0, 1.0, 1.0))
    uids = tuple(f"1.2.{number}" for number in range(edge))
    return cmb.SwiStudy(
        swi=swi.astype(np.float32),
        phase_rad=(y / 100).astype(np.float32),
        geometry=geometry,
        series_uid="1.2.3",
        instance_uids=uids,
    )


def silent(prepared: cmb.Prepared) -> list[cmb.RawOutput]:
    """Return outputs that point nowhere."""
    shape = SETTINGS.grid.shape(SETTINGS.window_shape)
    return [
        cmb.RawOutput(np.full((1, 1, *shape), -9, np.float32), np.zeros((1, 4, *shape), np.float32))
        for _ in prepared.windows
    ]


def pointing(prepared: cmb.Prepared, world_mm: Points, logit: float) -> list[cmb.RawOutput]:
    """Return outputs of a detector that sees one place in every window that holds it."""
    voxel = prepared.geometry.to_voxels(world_mm)[0]
    raw = silent(prepared)
    for window, output in zip(prepared.windows, raw, strict=True):
        place = voxel - np.array(window.start)
        cell = np.rint((place - 0.5) / 2).astype(int)
        if ((cell < 0) | (cell >= 24)).any():
            continue
        output.objectness[(0, 0, *cell)] = logit
        output.deltas[(0, slice(0, 3), *cell)] = (place - (2 * cell + 0.5)) / 3
    return raw


def test_the_head_is_found_and_everything_else_is_nought() -> None:
    study = ball()
    prepared = cmb.prepare(study, SETTINGS)
    truth = study.swi > 250
    overlap = 2 * (prepared.mask & truth).sum() / (prepared.mask.sum() + truth.sum())
    assert overlap > 0.97
    assert not prepared.channels[:, ~prepared.mask].any()
    assert prepared.channels.dtype == np.float32
    assert prepared.channels[0].max() == 1


def test_each_input_has_the_shape_of_the_graph() -> None:
    inputs = list(cmb.prepare(ball(70), SETTINGS).inputs())
    assert {each.shape for each in inputs} == {(1, 2, 48, 48, 48)}
    assert len(inputs) == 8


def test_a_small_head_is_padded_and_stays_where_it_is() -> None:
    prepared = cmb.prepare(ball(40, 15.0), SETTINGS)
    assert prepared.mask.shape == (48, 48, 48)
    middle = np.argwhere(prepared.mask).mean(axis=0)
    assert prepared.geometry.to_world_mm(middle[None])[0] == pytest.approx([0, 0, 0], abs=0.3)


def test_phase_is_given_in_half_turns_with_the_sign_of_the_scanner_undone() -> None:
    study = ball()
    usual, left_handed = cmb.prepare(study, SETTINGS), cmb.prepare(replace(study, phase_sign=-1), SETTINGS)
    assert usual.channels[1] == pytest.approx(-left_handed.channels[1])
    assert usual.channels[1, 24, 34, 24] == pytest.approx(10.5 / 100 / np.pi, abs=1e-4)


def test_without_phase_the_second_channel_is_nought() -> None:
    assert not cmb.prepare(replace(ball(), phase_rad=None), SETTINGS).channels[1].any()


def test_a_mask_that_comes_with_the_study_is_taken() -> None:
    study = ball()
    brain = np.zeros(study.swi.shape, dtype=bool)
    brain[20:28, 20:28, 20:28] = True
    prepared = cmb.prepare(replace(study, brain=brain), SETTINGS)
    assert (prepared.mask == brain).all()
    with pytest.raises(cmb.NoBrain):
        cmb.prepare(replace(study, brain=np.zeros_like(brain)), SETTINGS)


def test_a_uniform_series_has_no_brain() -> None:
    with pytest.raises(cmb.NoBrain):
        cmb.prepare(replace(ball(), swi=np.full((48, 48, 48), 7, np.float32)), SETTINGS)


def test_the_high_pass_takes_away_the_slow_background_and_leaves_a_spot() -> None:
    row, column = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
    slow: Volume = (2.5 * np.cos(2 * np.pi * row / 256) * np.cos(2 * np.pi * column / 256)).astype(np.float32)
    spot = np.exp(-((row - 90) ** 2 + (column - 160) ** 2) / 4).astype(np.float32)
    filtered = cmb.high_passed((slow + spot)[None])[0]
    assert np.abs(filtered[200:230, 20:60]).max() < 0.1
    assert filtered[90, 160] > 0.6


def test_a_finding_is_told_where_it_lies_in_the_patient() -> None:
    prepared = cmb.prepare(ball(), SETTINGS)
    place_mm = np.array([[5.2, -3.4, 7.1]])
    (best, *_) = cmb.decode(pointing(prepared, place_mm, 2.0), prepared, SETTINGS)
    assert best.centre_mm == pytest.approx((5.2, -3.4, 7.1), abs=1e-4)
    assert best.diameter_mm == pytest.approx(3.0)
    assert best.score == pytest.approx(1 / (1 + np.exp(-2)))


def test_nothing_outside_the_brain_is_a_candidate() -> None:
    prepared = cmb.prepare(ball(), SETTINGS)
    outside = cmb.decode(pointing(prepared, np.array([[21.0, 21.0, 21.0]]), 5.0), prepared, SETTINGS)
    assert all(candidate.logit < 0 for candidate in outside)


@pytest.mark.parametrize("z_mm", [-12.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0])
def test_a_finding_where_windows_meet_is_told_once(z_mm: float) -> None:
    prepared = cmb.prepare(ball(70, 30.0), SETTINGS)
    told = cmb.decode(pointing(prepared, np.array([[0.2, -0.4, z_mm]]), 3.0), prepared, SETTINGS)
    assert [candidate.logit for candidate in told if candidate.logit > 0] == [3.0]


def test_candidates_are_at_most_two_hundred_and_none_is_near_another() -> None:
    prepared = cmb.prepare(ball(70, 33.0), SETTINGS)
    random = np.random.default_rng(0)
    shape = SETTINGS.grid.shape(SETTINGS.window_shape)
    raw = [
        cmb.RawOutput(random.normal(size=(1, 1, *shape)).astype(np.float32), np.zeros((1, 4, *shape), np.float32))
        for _ in prepared.windows
    ]
    told = cmb.decode(raw, prepared, SETTINGS)
    assert len(told) == cmb.MOST_CANDIDATES
    assert [each.logit for each in told] == sorted((each.logit for each in told), reverse=True)
    places = np.array([each.centre_mm for each in told])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 100 * np.eye(len(told))
    assert apart.min() >= cmb.MERGE_MM


def test_results_are_unverified_calibrated_and_name_model_series_and_slice() -> None:
    study = ball()
    told = cmb.results(
        (cmb.Candidate((1.0, 2.0, -3.5), 2.4, 3.0), cmb.Candidate((9.0, 2.0, 3.0), 2.0, -0.1)),
        study,
        SETTINGS,
        MODEL,
        "limits",
    )
    assert len(told) == 1
    (result,) = told
    assert result.status == "UNVERIFIED"
    assert result.confidence == pytest.approx(1 / (1 + np.exp(-(0.5 * 3.0 - 1.0))))
    assert result.model.is_phantom_trained
    assert (result.series_uid, result.key_image_uid, result.limits) == ("1.2.3", "1.2.20", "limits")


RECORD: dict[str, Any] = {
    "window_voxels": [48, 48, 48],
    "spacing_mm": 1.0,
    "stride_voxels": 2,
    "anchors_mm": [3.0],
    "threshold": 0.5,
    "calibration": [0.5, -1.0],
}


def test_settings_come_from_the_bundle() -> None:
    assert cmb.settings_of(RECORD) == SETTINGS


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": 1.5}, {"anchors_mm": []}, {"anchors_mm": [-1]}, {"spacing_mm": 0}, {"window_voxels": [48, 48]}],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        cmb.settings_of(RECORD | wrong)
