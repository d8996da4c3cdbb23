"""Subjects with truth, in the form that training and evaluation take: phantoms through the edge's own recipe."""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from telemed.recipes.cmb import Prepared, Settings, SwiStudy, prepare
from telemed.recipes.volume import Geometry

from models.detection.boxes import Cubes
from models.phantoms.drawing import in_parallel
from models.phantoms.swi_head import Kind, Mark, head

TRAINING_VOLUMES = 16
MOST_TRAINING_VOLUMES = 10_000
VALIDATION_SEEDS = range(30)
"""Whatever is chosen (thresholds, noise of the preset, schedule) is chosen on these."""
TEST_SEEDS = range(100, 160)
"""Looked at to report, never to choose."""
Distortion = Literal["none", "no-phase", "shuffled-slices"]
DISTORTIONS: tuple[Distortion, ...] = ("none", "no-phase", "shuffled-slices")


@dataclass(frozen=True, slots=True)
class Case:
    """One prepared subject with what was drawn in it."""

    subject: str
    prepared: Prepared
    marks: tuple[Mark, ...]
    bleeds: Cubes
    """Centre in voxels of the prepared grid and diameter in millimetres, one a row."""


def training_seeds(seed: int, heads: int = TRAINING_VOLUMES) -> range:
    """Return the phantoms that a run of this seed is trained on: its own ones, none of validation or test.

    Raises:
        ValueError: so many would be those of another run.
    """
    if heads > MOST_TRAINING_VOLUMES:
        raise ValueError(f"a run has at most {MOST_TRAINING_VOLUMES} heads of its own")
    first = MOST_TRAINING_VOLUMES * (seed + 1)
    return range(first, first + heads)


@lru_cache(maxsize=32)
def cases(preset: str, seeds: range, settings: Settings, distortion: Distortion = "none") -> tuple[Case, ...]:
    """Return phantoms as the recipe prepares them, some part of the evidence taken away if asked for.

    Those asked for last are kept: the runs of an ablation share their validation and test subjects.
    """
    if distortion == "no-phase":
        return tuple(_without_phase(case) for case in cases(preset, seeds, settings))
    return in_parallel(partial(_case, preset, settings=settings, distortion=distortion), seeds)


def _case(preset: str, seed: int, settings: Settings, distortion: Distortion) -> Case:
    phantom = head(seed, preset)
    study, marks = phantom.study, phantom.marks
    if distortion == "shuffled-slices":
        study, marks = _shuffled(study, marks, seed)
    prepared = prepare(study, settings)
    drawn = [mark for mark in marks if mark.kind is Kind.BLEED]
    world_mm = np.array([mark.centre_mm for mark in drawn], dtype=np.float64).reshape(-1, 3)
    diameters = np.array([mark.diameter_mm for mark in drawn], dtype=np.float64)
    voxels = prepared.geometry.to_voxels(world_mm)
    return Case(phantom.subject, prepared, marks, np.column_stack([voxels, diameters]))


def _without_phase(case: Case) -> Case:
    """Return a case as the recipe prepares it where the scanner gave no phase."""
    channels = case.prepared.channels.copy()
    channels[1] = 0
    return replace(case, prepared=replace(case.prepared, channels=channels))


def _shuffled(study: SwiStudy, marks: tuple[Mark, ...], seed: int) -> tuple[SwiStudy, tuple[Mark, ...]]:
    """Return the study with its slices in no order: what was continuous from slice to slice no longer is.

    Each mark moves with the slice that its centre lies in.
    """
    order = np.random.default_rng(seed).permutation(len(study.swi))
    assert study.phase_rad is not None
    mixed = replace(study, swi=study.swi[order], phase_rad=study.phase_rad[order])
    now_at = np.argsort(order)
    return mixed, tuple(_moved(mark, study.geometry, now_at) for mark in marks)


def _moved(mark: Mark, geometry: Geometry, now_at: NDArray[np.int64]) -> Mark:
    at = geometry.to_voxels(np.array([mark.centre_mm]))
    was = int(np.clip(np.rint(at[0, 0]), 0, len(now_at) - 1))
    at[0, 0] += now_at[was] - was
    x_mm, y_mm, z_mm = geometry.to_world_mm(at)[0].tolist()
    return replace(mark, centre_mm=(x_mm, y_mm, z_mm))
