"""Cerebral microbleeds on susceptibility-weighted MR: from a study to the detector's windows, and back to findings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from telemed.ai_result import AiResult, ModelIdentity, Sphere
from telemed.recipes.centres import AnchorGrid, decoded, merged, probability
from telemed.recipes.morphology import Mask, closed, filled, largest_part, otsu, smoothed
from telemed.recipes.volume import Geometry, Shape, Triple, Volume, Window, padded, resampled, windows

PREPARE = "cmb-prepare-1"
DECODE = "cmb-decode-1"
FINDING = "cerebral-microbleed"
MERGE_MM = 4.0
"""Two bleeds nearer than this are told as one."""
PEAK_REACH_CELLS = 1
MOST_CANDIDATES = 200
"""A study with more is not read better by telling them all."""
_CLOSING_MM = 3.0
_SHARED_VOXELS = 2
"""Windows answer this far into their neighbours' parts: of two that differ a little on a centre neither may drop it."""
_HIGH_PASS_CELLS = 64


@dataclass(frozen=True, slots=True)
class SwiStudy:
    """A susceptibility-weighted series and the phase that belongs to it, voxel by voxel."""

    swi: Volume
    """Magnitude after susceptibility weighting, any scale, [slice, row, column]."""
    phase_rad: Volume | None
    """Phase in radians; None where the scanner gave none."""
    geometry: Geometry
    is_phase_raw: bool = False
    """True for phase as it was measured: the slow background is then filtered out here."""
    phase_sign: Literal[1, -1] = 1
    """-1 where what is paramagnetic has negative phase (left-handed systems): a wrong sign swaps bleeds and calcium."""
    brain: Mask | None = None
    """Where the brain is, on the study's own voxels, if a tool made for it has said so; else it is found here."""
    series_uid: str = ""
    instance_uids: tuple[str, ...] = ()
    """SOP instances in the order of the slices."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A study on the detector's grid: channel 0 SWI in [0, 1], channel 1 phase in [-1, 1], both 0 outside the brain."""

    channels: Volume
    """[2, slice, row, column]."""
    mask: Mask
    """Where the brain is, on the same grid."""
    geometry: Geometry
    windows: tuple[Window, ...]
    window_shape: Shape

    def inputs(self) -> Iterator[Volume]:
        """Yield the graph's input [1, 2, slice, row, column] for each window, in order."""
        for window in self.windows:
            cut = tuple(slice(low, low + size) for low, size in zip(window.start, self.window_shape, strict=True))
            yield self.channels[(slice(None), *cut)][None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the recipe must know of the weights it serves; comes with the bundle."""

    window_shape: Shape
    grid: AnchorGrid
    threshold: float
    """Least probability (uncalibrated) of a finding that is told."""
    calibration: tuple[float, float]
    """Slope and intercept from log odds as trained to log odds as observed."""


def settings_of(record: Mapping[str, Any]) -> Settings:
    """Return the settings as a bundle tells them.

    Raises:
        KeyError, TypeError, ValueError: something is missing, or is not what it should be.
    """
    depth, rows, columns = (int(voxels) for voxels in record["window_voxels"])
    slope, intercept = (float(number) for number in record["calibration"])
    anchors_mm = tuple(float(size) for size in record["anchors_mm"])
    grid = AnchorGrid(int(record["stride_voxels"]), anchors_mm, float(record["spacing_mm"]))
    threshold = float(record["threshold"])
    if not 0 <= threshold <= 1 or not anchors_mm or min(*anchors_mm, grid.spacing_mm, grid.stride_voxels, depth) <= 0:
        raise ValueError("settings of a bundle are out of range")
    return Settings((depth, rows, columns), grid, threshold, (slope, intercept))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that the detector points to, likely or not."""

    centre_mm: Triple
    """LPS."""
    diameter_mm: float
    logit: float

    @property
    def score(self) -> float:
        """Probability as trained, not calibrated."""
        return float(probability(np.asarray(self.logit)))


class NoBrain(ValueError):
    """The series has no part that looks like a head."""


@dataclass(frozen=True, slots=True)
class RawOutput:
    """What the graph said of one window."""

    objectness: Volume
    """Log odds, [1, anchors, cells...]."""
    deltas: Volume
    """[1, 4 * anchors, cells...]."""


def prepare(study: SwiStudy, settings: Settings) -> Prepared:
    """Return the study as the detector wants it.

    Raises:
        NoBrain: nothing stands out from the background.
    """
    spacing_mm = settings.grid.spacing_mm
    swi, geometry = resampled(study.swi, study.geometry, spacing_mm)
    phase, _ = resampled(_scaled_phase(study), study.geometry, spacing_mm)
    mask = brain_mask(swi, spacing_mm) if study.brain is None else _given_mask(study.brain, study, spacing_mm)
    low, high = np.percentile(swi[mask], [0.5, 99.5])
    if high <= low:
        raise NoBrain("the series is uniform")
    swi = np.clip((swi - low) / (high - low), 0, 1)
    swi, moved = padded(np.where(mask, swi, np.float32(0)), geometry, settings.window_shape)
    phase, _ = padded(np.where(mask, phase, np.float32(0)), geometry, settings.window_shape)
    inside, _ = padded(mask.astype(np.float32), geometry, settings.window_shape)
    channels = np.stack([swi, phase]).astype(np.float32)
    shape = (swi.shape[0], swi.shape[1], swi.shape[2])
    return Prepared(channels, inside > 0, moved, windows(shape, settings.window_shape), settings.window_shape)


def brain_mask(swi: Volume, spacing_mm: float) -> Mask:
    """Return where the brain is: the largest bright part, gaps of up to 3 mm to each side closed, holes filled.

    Raises:
        NoBrain: no voxel is brighter than any other.
    """
    even = smoothed(swi)
    if even.max() <= even.min():
        raise NoBrain("the series is uniform")
    return filled(closed(largest_part(even > otsu(even)), round(_CLOSING_MM / spacing_mm)))


def high_passed(phase_rad: Volume) -> Volume:
    """Return each slice's phase without its slow background (homodyne: the middle of k-space divided out)."""
    rows, columns = phase_rad.shape[1:]
    keep = np.outer(_hann(rows), _hann(columns))
    signal = np.exp(1j * phase_rad)
    slow = np.fft.ifft2(np.fft.fft2(signal) * np.fft.ifftshift(keep))
    return np.asarray(np.angle(signal * np.conj(slow)), dtype=np.float32)


def decode(raw: Sequence[RawOutput], prepared: Prepared, settings: Settings) -> tuple[Candidate, ...]:
    """Return the candidates inside the brain, most likely first; `raw` is in the order of the windows."""
    rows: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []
    for window, output in zip(prepared.windows, raw, strict=True):
        cubes = decoded(output.objectness[0], output.deltas[0], settings.grid, PEAK_REACH_CELLS)
        centres = cubes.centres + np.asarray(window.start)
        counts = _is_inside(centres, window, prepared.mask)
        rows.append((centres[counts], cubes.sizes_mm[counts], cubes.logits[counts]))
    centres, sizes_mm, logits = (np.concatenate(column) for column in zip(*rows, strict=True))
    first = np.argsort(-logits, kind="stable")[: 4 * MOST_CANDIDATES]
    centres_mm = prepared.geometry.to_world_mm(centres[first])
    kept = merged(centres_mm, logits[first], MERGE_MM)[:MOST_CANDIDATES]
    return tuple(
        Candidate((place[0], place[1], place[2]), size_mm, logit)
        for place, size_mm, logit in zip(
            centres_mm[kept].tolist(), sizes_mm[first][kept].tolist(), logits[first][kept].tolist(), strict=True
        )
    )


def results(
    candidates: Sequence[Candidate], study: SwiStudy, settings: Settings, model: ModelIdentity, limits: str
) -> tuple[AiResult, ...]:
    """Return what is told of a study: every candidate at or above the threshold."""
    slope, intercept = settings.calibration
    return tuple(
        AiResult(
            code=FINDING,
            place=Sphere(candidate.centre_mm, candidate.diameter_mm),
            confidence=float(probability(np.asarray(slope * candidate.logit + intercept))),
            model=model,
            series_uid=study.series_uid,
            key_image_uid=_key_image(candidate, study),
            limits=limits,
        )
        for candidate in candidates
        if candidate.score >= settings.threshold
    )


def _given_mask(brain: Mask, study: SwiStudy, spacing_mm: float) -> Mask:
    cover, _ = resampled(brain.astype(np.float32), study.geometry, spacing_mm)
    if not (cover > 0.5).any():
        raise NoBrain("the mask that came with the series is empty")
    return np.asarray(cover > 0.5)


def _scaled_phase(study: SwiStudy) -> Volume:
    if study.phase_rad is None:
        return np.zeros_like(study.swi)
    phase_rad = high_passed(study.phase_rad) if study.is_phase_raw else study.phase_rad
    return np.asarray(np.clip(study.phase_sign * phase_rad / np.float32(np.pi), -1, 1), dtype=np.float32)


def _hann(count: int) -> NDArray[np.float64]:
    wide = min(_HIGH_PASS_CELLS, count)
    before = (count - wide) // 2
    return np.pad(np.hanning(wide + 1)[:-1], (before, count - wide - before))


def _is_inside(centres: NDArray[np.float64], window: Window, mask: Mask) -> NDArray[np.bool_]:
    """Return which centres lie in the brain and in the part of the volume for which this window answers."""
    at = np.rint(centres).astype(np.int64)
    low, high = np.asarray(window.kept_from) - _SHARED_VOXELS, np.asarray(window.kept_to) + _SHARED_VOXELS
    owned = ((at >= low) & (at < high)).all(axis=1)
    within = np.clip(at, 0, np.asarray(mask.shape) - 1)
    return np.asarray(owned & mask[tuple(within.T)])


def _key_image(candidate: Candidate, study: SwiStudy) -> str | None:
    slice_index = round(float(study.geometry.to_voxels(np.asarray([candidate.centre_mm]))[0, 0]))
    return study.instance_uids[slice_index] if 0 <= slice_index < len(study.instance_uids) else None
