"""How well regions are told, and what the anatomical filter takes away."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from telemed.recipes.cmb_regions import Placed, RegionMap, placed, region_map
from telemed.recipes.volume import Volume

from models.detection.froc import Judged
from models.phantoms.swi_head import Kind
from models.tasks.cmb.cases import Case
from models.tasks.cmb.evaluation import Read
from models.tasks.cmb.region_overlap import dice
from models.tasks.cmb.region_training import RegionCase

RegionGraph = Callable[[Volume], Volume]
"""A region network, whichever library runs it: one window in, [1, regions, ...] out."""


@dataclass(frozen=True, slots=True)
class RegionFigures:
    """What is written of one set of subjects."""

    dice: dict[str, float]
    """Overlap with the truth, by region, over all voxels of all subjects."""
    accuracy: float
    """Share of the bleeds found at the threshold that are placed in their region."""
    found: int


def maps(graph: RegionGraph, subjects: Sequence[RegionCase]) -> tuple[RegionMap, ...]:
    """Return the region map of each subject."""
    return tuple(
        region_map([graph(window) for window in subject.seen.inputs()], subject.seen, subject.case.prepared)
        for subject in subjects
    )


def filtered(reads: Sequence[Read], regions: Sequence[RegionMap]) -> tuple[Read, ...]:
    """Return what is left of each reading once candidates without brain tissue around them are rejected."""
    return tuple(_filtered(each, found) for each, found in zip(reads, regions, strict=True))


def region_figures(
    reads: Sequence[Read], regions: Sequence[RegionMap], truth: Sequence[RegionMap], threshold: float
) -> RegionFigures:
    """Return how well regions are told."""
    right, found = 0, 0
    for each, told in zip(reads, regions, strict=True):
        bleeds = [mark for mark in each.case.marks if mark.kind is Kind.BLEED]
        places = placed(each.candidates, told, each.case.prepared)
        for place, hit in zip(places, each.judged.hits.tolist(), strict=True):
            if hit >= 0 and place.candidate.score >= threshold:
                found += 1
                right += place.region is bleeds[hit].region
    return RegionFigures(dice(regions, truth), right / max(1, found), found)


def _filtered(read: Read, regions: RegionMap) -> Read:
    kept = np.array([not place.is_rejected for place in _placed(read.case, read, regions)], dtype=bool)
    judged = Judged(read.judged.subject, read.judged.lesions, read.judged.scores[kept], read.judged.hits[kept])
    candidates = tuple(each for each, is_kept in zip(read.candidates, kept.tolist(), strict=True) if is_kept)
    return replace(read, candidates=candidates, judged=judged)


def _placed(case: Case, read: Read, regions: RegionMap) -> tuple[Placed, ...]:
    return placed(read.candidates, regions, case.prepared)
