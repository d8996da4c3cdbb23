"""Where in the brain a microbleed lies: what the region graph is given, its map, and what the regions say together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from telemed.ai_result import AiResult, ModelIdentity
from telemed.recipes import cmb
from telemed.recipes.cmb import Candidate, Prepared, Settings, SwiStudy
from telemed.recipes.volume import Shape, Volume, Window, windows

PREPARE = "cmb-regions-prepare-1"
DECODE = "cmb-regions-decode-1"
REACH_MM = 3.0
"""The region of a bleed is that of most voxels this near to its centre."""

RegionMap = NDArray[np.uint8]


class Region(IntEnum):
    """Where in the brain (MARS): voxels of a region map have these values, in the order of the graph's outputs."""

    NONE = 0
    """No brain tissue: outside the brain, in its ventricles, or in the rim of fluid around it."""
    LOBAR = 1
    DEEP = 2
    INFRATENTORIAL = 3


class Pattern(StrEnum):
    """What the regions of all bleeds of a study say together: a hint for a differential, never a diagnosis."""

    NONE = "no-bleeds"
    LOBAR_ONLY = "lobar-only"
    DEEP_ONLY = "deep-or-infratentorial-only"
    MIXED = "mixed"


PATTERN_TEXTS: dict[Pattern, tuple[str, str]] = {
    Pattern.NONE: ("未见脑微出血提示", "No microbleeds were pointed to"),
    Pattern.LOBAR_ONLY: (
        "仅见于脑叶:分布与脑淀粉样血管病相符(鉴别提示,非诊断)",
        "Lobar only: distribution compatible with amyloid angiopathy (a hint, no diagnosis)",
    ),
    Pattern.DEEP_ONLY: (
        "仅见于深部或幕下:分布与高血压性小动脉病相符(鉴别提示,非诊断)",
        "Deep or infratentorial only: distribution compatible with hypertensive arteriopathy (a hint, no diagnosis)",
    ),
    Pattern.MIXED: (
        "脑叶与深部或幕下均有:混合分布(鉴别提示,非诊断)",
        "Lobar and deep or infratentorial: mixed distribution (a hint, no diagnosis)",
    ),
}
"""Chinese and English."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A candidate with its region; one without brain tissue around it is rejected, kept in the log, and not shown."""

    candidate: Candidate
    region: Region

    @property
    def is_rejected(self) -> bool:
        """True for "rejected: outside anatomy"."""
        return self.region is Region.NONE


@dataclass(frozen=True, slots=True)
class Layout:
    """A prepared study as the region graph sees it."""

    channels: Volume
    """SWI, phase, and how far along slices, rows and columns of the brain's box, -1 to 1; [5, slice, row, column]."""
    windows: tuple[Window, ...]
    window_shape: Shape

    def inputs(self) -> Iterator[Volume]:
        """Yield the graph's input [1, 5, slice, row, column] for each window, in order."""
        for window in self.windows:
            cut = tuple(slice(low, low + size) for low, size in zip(window.start, self.window_shape, strict=True))
            yield self.channels[(slice(None), *cut)][None]


def layout(prepared: Prepared, window_shape: Shape) -> Layout:
    """Return a prepared study as the region graph sees it."""
    extent = prepared.mask.shape
    along = [_along(prepared.mask, axis) for axis in range(3)]
    coordinates = np.stack(np.meshgrid(*along, indexing="ij")).astype(np.float32)
    channels = np.concatenate([prepared.channels, coordinates])
    return Layout(channels, windows((extent[0], extent[1], extent[2]), window_shape), window_shape)


def region_map(raw: Sequence[Volume], seen: Layout, prepared: Prepared) -> RegionMap:
    """Return the region of each voxel; `raw` are the graph's outputs [1, regions, ...] in the order of the windows."""
    found = np.zeros(prepared.mask.shape, dtype=np.uint8)
    for window, output in zip(seen.windows, raw, strict=True):
        kept = tuple(slice(low, high) for low, high in zip(window.kept_from, window.kept_to, strict=True))
        inner = tuple(
            slice(low - start, high - start)
            for start, low, high in zip(window.start, window.kept_from, window.kept_to, strict=True)
        )
        found[kept] = np.argmax(output[0], axis=0)[inner]
    return np.where(prepared.mask, found, np.uint8(Region.NONE))


def placed(candidates: Sequence[Candidate], regions: RegionMap, prepared: Prepared) -> tuple[Placed, ...]:
    """Return each candidate with its region."""
    return tuple(Placed(candidate, _region_of(candidate, regions, prepared)) for candidate in candidates)


def results(
    places: Sequence[Placed], study: SwiStudy, settings: Settings, model: ModelIdentity, limits: str
) -> tuple[AiResult, ...]:
    """Return what is told of a study: every candidate in brain tissue at or above the threshold, with its region."""
    shown = [place for place in places if not place.is_rejected and place.candidate.score >= settings.threshold]
    told = cmb.results([place.candidate for place in shown], study, settings, model, limits)
    return tuple(replace(each, region=place.region.name.lower()) for each, place in zip(told, shown, strict=True))


def pattern(regions: Sequence[Region]) -> Pattern:
    """Return what the regions of the bleeds that are shown say together."""
    is_lobar = Region.LOBAR in regions
    is_deep = Region.DEEP in regions or Region.INFRATENTORIAL in regions
    if is_lobar and is_deep:
        return Pattern.MIXED
    if is_lobar:
        return Pattern.LOBAR_ONLY
    return Pattern.DEEP_ONLY if is_deep else Pattern.NONE


def _region_of(candidate: Candidate, regions: RegionMap, prepared: Prepared) -> Region:
    spacing_mm = prepared.geometry.spacing_mm[0]
    reach = int(np.ceil(REACH_MM / spacing_mm))
    centre = prepared.geometry.to_voxels(np.asarray([candidate.centre_mm]))[0]
    middle = np.rint(centre).astype(np.int64)
    steps = np.arange(-reach, reach + 1)
    around = middle + np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    near = around[np.linalg.norm((around - centre) * spacing_mm, axis=1) <= REACH_MM]
    inside = near[((near >= 0) & (near < np.asarray(regions.shape))).all(axis=1)]
    counts = np.bincount(regions[tuple(inside.T)], minlength=len(Region))
    counts[Region.NONE] += len(near) - len(inside)
    return Region(int(np.argmax(counts)))


def _along(mask: NDArray[np.bool_], axis: int) -> NDArray[np.float64]:
    """Return the coordinate of each index along an axis: -1 where the brain begins, 1 where it ends."""
    others = tuple(other for other in range(3) if other != axis)
    brain = np.flatnonzero(mask.any(axis=others))
    low, high = (int(brain[0]), int(brain[-1])) if len(brain) else (0, mask.shape[axis] - 1)
    share = (np.arange(mask.shape[axis]) - low) / max(1, high - low)
    return np.asarray(np.clip(2 * share - 1, -1, 1))
