"""Regions of bleeds, on a brain whose left half is lobar."""

import numpy as np
import pytest
from telemed.ai_result import PHANTOM, ModelIdentity
from telemed.recipes.centres import AnchorGrid
from telemed.recipes.cmb import Candidate, Prepared, Settings, SwiStudy
from telemed.recipes.cmb_regions import (
    PATTERN_TEXTS,
    Pattern,
    Region,
    RegionMap,
    layout,
    pattern,
    placed,
    region_map,
    results,
)
from telemed.recipes.volume import Geometry, windows

WINDOW = (16, 48, 48)


def brain(extent: int = 48) -> Prepared:
    """Return a prepared volume whose brain is a box that ends 8 voxels from each side."""
    mask = np.zeros((extent, 48, 48), dtype=bool)
    mask[8 : extent - 8, 8:40, 8:40] = True
    channels = np.stack([mask, np.zeros_like(mask)]).astype(np.float32)
    geometry = Geometry((100.0, -50.0, 20.0), (1.0, 1.0, 1.0))
    whole = windows((extent, 48, 48), (48, 48, 48))
    return Prepared(channels, mask, geometry, whole, (48, 48, 48))


def halves() -> RegionMap:
    """Return a map that is lobar up to column 23, deep from 24 on, and has nothing outside the brain."""
    regions = np.full((48, 48, 48), int(Region.DEEP), dtype=np.uint8)
    regions[:, :, :24] = Region.LOBAR
    return np.where(brain().mask, regions, np.uint8(Region.NONE))


def at(z: float, y: float, x: float) -> Candidate:
    """Return a candidate at a voxel of the brain."""
    return Candidate((100.0 + x, -50.0 + y, 20.0 + z), 2.0, 1.0)


def test_the_place_in_the_brain_runs_from_minus_one_to_one_along_each_axis() -> None:
    channels = layout(brain(), WINDOW).channels
    assert channels.shape == (5, 48, 48, 48)
    for axis in range(3):
        line = np.moveaxis(channels[2 + axis], axis, 0)[:, 0, 0]
        assert line[[0, 8, 39, 47]].tolist() == [-1, -1, 1, 1]
        assert line[24] == pytest.approx(2 * 16 / 31 - 1)


def test_inputs_have_the_shape_of_the_graph() -> None:
    seen = layout(brain(70), WINDOW)
    inputs = list(seen.inputs())
    assert {each.shape for each in inputs} == {(1, 5, *WINDOW)}
    assert len(inputs) == len(seen.windows) > 3


def test_windows_are_put_together_where_they_belong_and_nothing_is_outside_the_brain() -> None:
    prepared = brain()
    seen = layout(prepared, WINDOW)
    truth = halves()
    truth[20:] = np.where(prepared.mask[20:], np.uint8(Region.INFRATENTORIAL), np.uint8(Region.NONE))
    raw = []
    for window in seen.windows:
        part = truth[window.start[0] : window.start[0] + 16]
        raw.append(np.stack([part == region for region in Region]).astype(np.float32)[None])
    assert (region_map(raw, seen, prepared) == truth).all()
    everywhere = [
        np.full((1, 4, *WINDOW), [[[[[0]]], [[[1]]], [[[0]]], [[[0]]]]], dtype=np.float32) for _ in seen.windows
    ]
    assert ((region_map(everywhere, seen, prepared) == Region.LOBAR) == prepared.mask).all()


@pytest.mark.parametrize(
    ("candidate", "region"),
    [
        (at(24, 24, 15), Region.LOBAR),
        (at(24, 24, 22.6), Region.LOBAR),
        (at(24, 24, 25.0), Region.DEEP),
        (at(24, 24, 9.0), Region.LOBAR),
        (at(24, 24, 6.5), Region.NONE),
        (at(0, 0, 0), Region.NONE),
    ],
)
def test_a_bleed_is_where_most_of_its_surroundings_are(candidate: Candidate, region: Region) -> None:
    (found,) = placed([candidate], halves(), brain())
    assert found.region is region
    assert found.is_rejected == (region is Region.NONE)


def test_what_is_told_has_its_region_and_what_lies_outside_the_brain_is_not_told() -> None:
    settings = Settings((48, 48, 48), AnchorGrid(2, (3.0,), 1.0), 0.5, (1.0, 0.0))
    study = SwiStudy(np.zeros((48, 48, 48), np.float32), None, brain().geometry, series_uid="1.2")
    model = ModelIdentity("cmb", "0.1.0", "00" * 32, PHANTOM)
    unlikely = Candidate(at(24, 24, 30).centre_mm, 2.0, -1.0)
    places = placed([at(24, 24, 6.0), at(24, 24, 15), unlikely, at(20, 20, 30)], halves(), brain())
    told = results(places, study, settings, model, "limits")
    assert [(each.region, each.place.centre_mm) for each in told] == [
        ("lobar", at(24, 24, 15).centre_mm),
        ("deep", at(20, 20, 30).centre_mm),
    ]


def test_beyond_the_volume_there_is_no_brain() -> None:
    whole = np.full((48, 48, 48), int(Region.LOBAR), dtype=np.uint8)
    inside, outside = placed([at(24, 24, 0.0), at(24, 24, -2.0)], whole, brain())
    assert (inside.region, outside.region) == (Region.LOBAR, Region.NONE)


@pytest.mark.parametrize(
    ("regions", "wanted"),
    [
        ([], Pattern.NONE),
        ([Region.LOBAR, Region.LOBAR], Pattern.LOBAR_ONLY),
        ([Region.DEEP, Region.INFRATENTORIAL], Pattern.DEEP_ONLY),
        ([Region.INFRATENTORIAL, Region.LOBAR], Pattern.MIXED),
        ([Region.NONE], Pattern.NONE),
    ],
)
def test_regions_together_make_a_pattern(regions: list[Region], wanted: Pattern) -> None:
    assert pattern(regions) is wanted


def test_every_pattern_is_told_in_both_languages_and_as_a_hint() -> None:
    assert set(PATTERN_TEXTS) == set(Pattern)
    for found, (chinese, english) in PATTERN_TEXTS.items():
        if found is not Pattern.NONE:
            assert "非诊断" in chinese
            assert "no diagnosis" in english
