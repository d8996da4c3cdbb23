"""A head on susceptibility-weighted MR with microbleeds, and with what is taken for them: calcium, vessels, veins.

48 mm from end to end, so that a training run fits two cores.  Everything that is drawn is known: kind, place, size and
region.  The same seed gives the same head.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from telemed.recipes.cmb import SwiStudy
from telemed.recipes.cmb_regions import Region
from telemed.recipes.volume import Geometry, Triple

EDGE = 48
"""Voxels of 1 mm along each axis of the grid that heads are drawn on."""
_HALF_MM = (EDGE - 1) / 2
_RADIANS = np.pi / 3
"""Phase of a bleed of amplitude 1; three times this would wrap."""
_SOFT_MM = 1.0
"""Width of the edge of what is drawn: a voxel that is half covered is half as dark."""
_TRIES = 400

Vector = NDArray[np.float64]
Range = tuple[float, float]


class Kind(StrEnum):
    """What was drawn at a place."""

    BLEED = "bleed"
    CALCIUM = "calcium"
    VESSEL = "vessel"
    SULCAL_VEIN = "sulcal-vein"


@dataclass(frozen=True, slots=True)
class Preset:
    """How hard the heads are."""

    code: int
    """Goes into the seed: heads of two presets have nothing in common."""
    bleeds: tuple[int, int]
    bleed_radius_mm: Range
    dark: Range
    """Signal of bleeds, calcium and veins; tissue has 0.68 to 0.75."""
    calcium: tuple[int, int]
    vessels: tuple[int, int]
    vessel_length_mm: Range
    end_on_share: float
    """Of the vessels, those that run within 25 degrees of the slice normal and look round in every slice."""
    sulcal_veins: tuple[int, int]
    dipole: float
    """Strength of the field outside a bleed, of the phase inside it."""
    swi_noise: float
    phase_noise: float
    slice_mm: int


PRESETS = {
    "easy": Preset(1, (1, 3), (1.2, 2.6), (0.2, 0.4), (1, 3), (3, 6), (8, 20), 0.0, (2, 4), 1.0, 0.06, 0.15, 1),
    "hard": Preset(2, (1, 3), (0.8, 1.6), (0.45, 0.60), (3, 5), (8, 15), (3, 6), 0.4, (4, 8), 0.3, 0.04, 0.2, 2),
    "harder": Preset(3, (1, 3), (0.8, 1.6), (0.45, 0.60), (3, 5), (8, 15), (3, 6), 0.4, (4, 8), 0.3, 0.07, 0.35, 2),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that was drawn."""

    kind: Kind
    centre_mm: Triple
    """LPS."""
    diameter_mm: float
    region: Region


@dataclass(frozen=True, slots=True)
class Head:
    """A made-up patient's study, with the truth."""

    subject: str
    study: SwiStudy
    marks: tuple[Mark, ...]
    brain: NDArray[np.bool_]
    """Inside of the skull, on the grid of 1 mm."""
    regions: NDArray[np.uint8]
    """`Region` of each voxel, on the grid of 1 mm."""
    grid: Geometry

    @property
    def bleeds(self) -> tuple[Mark, ...]:
        """The marks that a detector should find."""
        return tuple(mark for mark in self.marks if mark.kind is Kind.BLEED)


def head(seed: int, preset: str) -> Head:
    """Return the head of a seed."""
    return _Drawing(seed, PRESETS[preset]).finished(f"{preset}-{seed}")


class _Drawing:
    """A head while it is drawn; positions are (slice, row, column) in millimetres from its middle."""

    def __init__(self, seed: int, preset: Preset) -> None:
        self.random = np.random.default_rng([preset.code, seed])
        self.preset = preset
        axis = np.arange(EDGE) - _HALF_MM
        self.at = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
        self.marks: list[Mark] = []
        radii = np.array([18.0, 19.0, 17.0]) * self.random.uniform(0.95, 1.05, 3)
        self.depth_mm = _inside_mm(self.at, np.zeros(3), radii)
        self.brain = self.depth_mm > 0
        self.regions = self._regions(radii)
        self.swi = self._tissue(radii)
        self.phase = np.zeros_like(self.swi)
        self._draw()

    def finished(self, subject: str) -> Head:
        """Return what a scanner would make of it."""
        thick = self.preset.slice_mm
        swi, phase = (part.reshape(EDGE // thick, thick, EDGE, EDGE).mean(axis=1) for part in (self.swi, self.phase))
        noise = self.random.normal(0, self.preset.swi_noise, (2, *swi.shape))
        phase = phase + self.random.normal(0, self.preset.phase_noise, phase.shape)
        grid = Geometry((-_HALF_MM,) * 3, (1.0, 1.0, 1.0))
        study = SwiStudy(
            swi=np.hypot(swi + noise[0], noise[1]).astype(np.float32),
            phase_rad=np.clip(_RADIANS * phase, -np.pi, np.pi).astype(np.float32),
            geometry=grid.shifted(((thick - 1) / 2, 0.0, 0.0), (float(thick), 1.0, 1.0)),
            series_uid=subject,
        )
        return Head(subject, study, tuple(self.marks), self.brain, self.regions, grid)

    def _regions(self, radii: Vector) -> NDArray[np.uint8]:
        regions = np.where(self.depth_mm > 2.5, np.uint8(Region.LOBAR), np.uint8(Region.NONE))
        scale = radii / np.array([18.0, 19.0, 17.0])
        deep = _inside_mm(self.at, np.array([0.0, 0.0, 0.0]), scale * np.array([6.0, 9.0, 9.0])) > 0
        below = _inside_mm(self.at, scale * np.array([-11.0, 8.0, 0.0]), scale * np.array([6.5, 9.0, 11.0])) > 0
        regions[deep & (regions > 0)] = Region.DEEP
        regions[below & (regions > 0)] = Region.INFRATENTORIAL
        for side in (-1, 1):
            horn = _inside_mm(self.at, scale * np.array([4.0, 0.0, 3.5 * side]), scale * np.array([2.5, 7.0, 2.0])) > 0
            regions[horn] = Region.NONE
        return regions

    def _tissue(self, radii: Vector) -> Vector:
        swi = np.where(self.brain, 0.85, 0.05)
        swi[(self.depth_mm < -2.5) & (self.depth_mm > -4.5)] = 0.6
        swi[self.regions > 0] = 0.75
        white = _inside_mm(self.at, np.zeros(3), radii - 6.0) > 0
        swi[white & (self.regions > 0)] = 0.68
        sinus = np.linalg.norm(self.at - np.array([-14.0, -17.0, 0.0]), axis=-1) < 6
        swi[sinus & ~self.brain] = 0.02
        return swi

    def _draw(self) -> None:
        preset = self.preset
        for _ in range(self._count(preset.bleeds)):
            self._ball(Kind.BLEED)
        for _ in range(self._count(preset.calcium)):
            self._ball(Kind.CALCIUM)
        vessels = self._count(preset.vessels)
        for number in range(vessels):
            self._tube(Kind.VESSEL, is_end_on=number < vessels * preset.end_on_share)
        for _ in range(self._count(preset.sulcal_veins)):
            self._tube(Kind.SULCAL_VEIN, is_end_on=False)

    def _count(self, between: tuple[int, int]) -> int:
        return int(self.random.integers(between[0], between[1] + 1))

    def _place(self, kind: Kind, apart_mm: float) -> Vector | None:
        """Return a place of its own for a thing of this kind; None where the head is full."""
        if kind is Kind.SULCAL_VEIN:
            free = (self.depth_mm > 0.5) & (self.depth_mm < 2.0)
        else:
            free = (self.regions > 0) & (self.depth_mm > 4.5)
        candidates = self.at[free]
        taken = np.array([_zyx(mark.centre_mm) for mark in self.marks]).reshape(-1, 3)
        for _ in range(_TRIES):
            place = candidates[self.random.integers(len(candidates))] + self.random.uniform(-0.5, 0.5, 3)
            if (np.linalg.norm(taken - place, axis=1) > apart_mm).all():
                return np.asarray(place)
        return None

    def _ball(self, kind: Kind) -> None:
        place = self._place(kind, apart_mm=7.0)
        if place is None:
            return
        radius_mm = self.random.uniform(*self.preset.bleed_radius_mm)
        sign = 1 if kind is Kind.BLEED else -1
        away = self.at - place
        distance_mm = np.linalg.norm(away, axis=-1)
        cover = _cover(distance_mm, radius_mm)
        self._darken(cover)
        beyond = np.clip(radius_mm / np.maximum(distance_mm, radius_mm), 0, 1) ** 3
        cosine = away[..., 0] / np.maximum(distance_mm, 1e-6)
        field = self.preset.dipole * beyond * (3 * cosine**2 - 1)
        self.phase += sign * (cover + (1 - cover) * field)
        self._mark(kind, place, 2 * radius_mm)

    def _tube(self, kind: Kind, *, is_end_on: bool) -> None:
        radius_mm = self.random.uniform(0.9, 1.7)
        length_mm = self.random.uniform(*self.preset.vessel_length_mm)
        place = self._place(kind, apart_mm=5.0 if kind is Kind.SULCAL_VEIN else 7.0)
        if place is None:
            return
        track = self._track(place, length_mm, is_end_on=is_end_on)
        near = _around(track, 3.0)
        inside = self.brain if kind is Kind.SULCAL_VEIN else self.regions > 0
        cover = np.zeros_like(self.swi)
        cover[near] = _cover(_from_track_mm(self.at[near], track), radius_mm) * inside[near]
        self._darken(cover)
        self.phase += cover
        self._mark(kind, place, 2 * radius_mm)

    def _track(self, middle: Vector, length_mm: float, *, is_end_on: bool) -> Vector:
        """Return points half a millimetre apart along a way that turns a little at each step."""
        heading = self.random.normal(size=3)
        if is_end_on:
            heading = np.array([1.0, *self.random.uniform(-0.33, 0.33, 2)])
        steps = max(2, round(length_mm / 0.5))
        ways = []
        for _ in range(steps):
            heading = heading / np.linalg.norm(heading)
            ways.append(0.5 * heading)
            heading = heading + self.random.normal(0, 0.12, 3)
        track = np.cumsum(ways, axis=0)
        return np.asarray(track - track[steps // 2] + middle)

    def _darken(self, cover: Vector) -> None:
        self.swi += cover * (self.random.uniform(*self.preset.dark) - self.swi)

    def _mark(self, kind: Kind, place: Vector, diameter_mm: float) -> None:
        z, y, x = np.clip(np.rint(place + _HALF_MM).astype(int), 0, EDGE - 1)
        z_mm, y_mm, x_mm = place.tolist()
        self.marks.append(Mark(kind, (x_mm, y_mm, z_mm), float(diameter_mm), Region(self.regions[z, y, x])))


def _zyx(world_mm: Triple) -> Triple:
    return world_mm[2], world_mm[1], world_mm[0]


def _inside_mm(at: Vector, centre: Vector, radii: Vector) -> Vector:
    """Return how deep each position lies in an ellipsoid, negative outside; exact on a ball, near enough on a head."""
    away = np.linalg.norm((at - centre) / radii, axis=-1)
    return np.asarray((1 - away) * radii.min())


def _cover(distance_mm: Vector, radius_mm: float) -> Vector:
    return np.asarray(np.clip((radius_mm - distance_mm) / _SOFT_MM + 0.5, 0, 1))


def _around(track: Vector, margin_mm: float) -> tuple[slice, slice, slice]:
    """Return the part of the grid that can be nearer to a track than the margin."""
    low = np.clip(np.floor(track.min(axis=0) + _HALF_MM - margin_mm).astype(int), 0, EDGE)
    high = np.clip(np.ceil(track.max(axis=0) + _HALF_MM + margin_mm).astype(int) + 1, 0, EDGE)
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _from_track_mm(at: Vector, track: Vector) -> Vector:
    nearest = np.full(at.shape[:-1], np.inf)
    for point in track:
        nearest = np.minimum(nearest, np.linalg.norm(at - point, axis=-1))
    return nearest
