"""Microbleeds: from a volume to findings, by the recipes that the manifest names and the graphs that the node runs."""

from collections.abc import Callable

import numpy as np
from telemed.ai_result import AiResult, ModelIdentity
from telemed.bundle import Manifest
from telemed.bundle_golden import Array, Arrays
from telemed.recipes import cmb, cmb_bundle, cmb_regions
from telemed.recipes.cmb import Candidate, NoBrain, Prepared, RawOutput, Settings, SwiStudy
from telemed.recipes.cmb_regions import Placed, Region

from edge_node.findings.pipe import Found, Told
from edge_node.findings.reasons import NotRead, Reason

RECIPES = (cmb.PREPARE, cmb.DECODE)
Runs = Callable[[str, Arrays], Arrays]
"""Runs a graph by name."""
NOBODY = ModelIdentity("", "", "", "")
"""Stands for the model, which the node names."""

_STEPS_PER_MM = 64
"""Coordinates of a report are single precision, and none of these is rounded there."""


def read(study: SwiStudy, manifest: Manifest, run: Runs) -> Told:
    """Return what the model says of a study.

    Raises:
        NotRead: there is no head in it, or the manifest asks for what this software does not have.
    """
    if (manifest.preprocessing, manifest.postprocessing) != RECIPES:
        raise NotRead(Reason.RECIPE_UNKNOWN)
    try:
        settings = cmb_bundle.settings_in(manifest)
    except (KeyError, TypeError, ValueError) as error:
        raise NotRead(Reason.RECIPE_UNKNOWN) from error
    try:
        prepared = cmb.prepare(study, settings)
    except NoBrain as error:
        raise NotRead(Reason.NO_BRAIN) from error
    raw = [_detected(run, volume) for volume in prepared.inputs()]
    candidates = [each for each in cmb.decode(raw, prepared, settings) if each.score >= settings.threshold]
    if cmb_bundle.REGIONS not in manifest.graphs:
        return Told([_found(each) for each in cmb.results(candidates, study, settings, NOBODY, "")], 0, ("", ""))
    placed = _placed(candidates, prepared, manifest, run)
    return _told(placed, study, settings)


def _told(placed: tuple[Placed, ...], study: SwiStudy, settings: Settings) -> Told:
    results = cmb_regions.results(placed, study, settings, NOBODY, "")
    regions = [Region[each.region.upper()] for each in results if each.region]
    summary = cmb_regions.PATTERN_TEXTS[cmb_regions.pattern(regions)]
    return Told([_found(each) for each in results], sum(each.is_rejected for each in placed), summary)


def _detected(run: Runs, volume: Array) -> RawOutput:
    outputs = run(cmb_bundle.DETECTOR, {cmb_bundle.DETECTOR_INPUT: volume})
    return RawOutput(outputs[cmb_bundle.OBJECTNESS], outputs[cmb_bundle.DELTAS])


def _placed(candidates: list[Candidate], prepared: Prepared, manifest: Manifest, run: Runs) -> tuple[Placed, ...]:
    seen = cmb_regions.layout(prepared, cmb_bundle.regions_window_in(manifest))
    raw = [
        np.asarray(run(cmb_bundle.REGIONS, {cmb_bundle.REGIONS_INPUT: slab})[cmb_bundle.REGIONS_OUTPUT])
        for slab in seen.inputs()
    ]
    return cmb_regions.placed(candidates, cmb_regions.region_map(raw, seen, prepared), prepared)


def _found(result: AiResult) -> Found:
    """Return a finding in numbers that reports hold exactly, so that what is read back is what was found."""
    x_mm, y_mm, z_mm = (round(each * _STEPS_PER_MM) / _STEPS_PER_MM for each in result.place.centre_mm)
    return Found(
        result.code,
        (x_mm, y_mm, z_mm),
        round(result.place.diameter_mm * _STEPS_PER_MM) / _STEPS_PER_MM,
        round(result.confidence, 4),
        result.key_image_uid or "",
        result.region or "",
    )
