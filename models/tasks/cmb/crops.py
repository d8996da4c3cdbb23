"""Batches for training: as many crops with a bleed as without, turned, mirrored and made a little noisier."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from telemed.recipes.centres import AnchorGrid

from models.detection.boxes import Cubes
from models.detection.labels import targets
from models.tasks.cmb.cases import Case

_TRIES = 50
JITTER = 8
"""A bleed lies up to so many voxels from the middle of its crop."""
MOST_TURNED_RAD = np.deg2rad(15)


@dataclass(frozen=True, slots=True)
class Crop:
    """One part of a subject."""

    subject: str
    channels: NDArray[np.float32]
    """[2, edge, edge, edge]."""
    mask: NDArray[np.bool_]
    bleeds: Cubes
    """Of this part: centre in its voxels and diameter in millimetres."""
    start: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Crops as the network takes them, with what it should say."""

    crops: tuple[Crop, ...]
    volumes: NDArray[np.float32]
    labels: NDArray[np.int8]
    deltas: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws crops; the same generator draws the same ones."""

    subjects: Sequence[Case]
    edge: int
    """Voxels of a crop along each axis; a multiple of 8."""
    grid: AnchorGrid
    random: np.random.Generator

    def batch(self, size: int) -> Batch:
        """Return a batch whose first half holds bleeds and whose second half holds none."""
        crops = tuple(self._augmented(self._crop(holds=number < size // 2)) for number in range(size))
        wanted = [targets(crop.bleeds, (self.edge,) * 3, self.grid) for crop in crops]
        return Batch(
            crops=crops,
            volumes=np.stack([crop.channels for crop in crops]),
            labels=np.stack([each.labels for each in wanted]),
            deltas=np.stack([each.deltas for each in wanted]),
        )

    def _crop(self, *, holds: bool) -> Crop:
        """Return a part with a bleed in it, or one without any.

        A head whose bleeds lie in the middle has no part without them: then another head is tried.
        """
        for _ in range(_TRIES):
            case = self.subjects[int(self.random.integers(len(self.subjects)))]
            most = np.array(case.prepared.mask.shape) - self.edge
            start = self.random.integers(0, most + 1)
            if holds:
                bleed = case.bleeds[self.random.integers(len(case.bleeds)), :3]
                middle = bleed + self.random.integers(-JITTER, JITTER + 1, 3)
                start = np.clip(np.rint(middle - self.edge / 2).astype(int), 0, most)
            crop = _cut(case, start, self.edge)
            if holds == (len(crop.bleeds) > 0):
                return crop
        raise ValueError("these subjects have no part " + ("with" if holds else "without") + " a bleed")

    def _augmented(self, crop: Crop) -> Crop:
        channels, mask, bleeds = crop.channels, crop.mask, crop.bleeds.copy()
        for axis in (1, 2):
            if self.random.random() < 0.5:
                channels, mask = np.flip(channels, axis + 1), np.flip(mask, axis)
                bleeds[:, axis] = self.edge - 1 - bleeds[:, axis]
        turn_rad = self.random.uniform(-MOST_TURNED_RAD, MOST_TURNED_RAD)
        channels, mask, bleeds = turned(channels, mask, bleeds, turn_rad)
        channels = channels + self.random.normal(0, 0.02, channels.shape).astype(np.float32) * mask
        channels[0] *= self.random.uniform(0.9, 1.1)
        return Crop(crop.subject, channels.astype(np.float32), mask, bleeds, crop.start)


def turned(
    channels: NDArray[np.float32], mask: NDArray[np.bool_], bleeds: Cubes, turn_rad: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Cubes]:
    """Return a crop turned about the slice normal through its middle, bilinear; zeros come in at the corners."""
    edge = channels.shape[-1]
    middle = (edge - 1) / 2
    sine, cosine = np.sin(turn_rad), np.cos(turn_rad)
    row, column = np.meshgrid(np.arange(edge) - middle, np.arange(edge) - middle, indexing="ij")
    from_row = cosine * row + sine * column + middle
    from_column = cosine * column - sine * row + middle
    rotated = _bilinear(channels, from_row, from_column)
    inside = _bilinear(mask[None].astype(np.float32), from_row, from_column)[0] > 0.5
    moved = bleeds.copy()
    away = bleeds[:, 1:3] - middle
    moved[:, 1] = cosine * away[:, 0] - sine * away[:, 1] + middle
    moved[:, 2] = cosine * away[:, 1] + sine * away[:, 0] + middle
    stays = ((moved[:, 1:3] >= 0) & (moved[:, 1:3] <= edge - 1)).all(axis=1)
    return rotated, inside, moved[stays]


def _cut(case: Case, start: NDArray[np.int64], edge: int) -> Crop:
    z, y, x = start.tolist()
    part = (slice(z, z + edge), slice(y, y + edge), slice(x, x + edge))
    centres = case.bleeds[:, :3] - start
    within = ((centres >= 0) & (centres <= edge - 1)).all(axis=1)
    bleeds = np.column_stack([centres[within], case.bleeds[within, 3]])
    return Crop(case.subject, case.prepared.channels[(slice(None), *part)], case.prepared.mask[part], bleeds, (z, y, x))


def _bilinear(
    volumes: NDArray[np.float32], row: NDArray[np.float64], column: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return each slice of volumes [..., row, column] at these positions; 0 beyond its border."""
    wide = np.pad(volumes, [(0, 0)] * (volumes.ndim - 2) + [(1, 2), (1, 2)])
    edge = volumes.shape[-1]
    row, column = np.clip(row + 1, 0, edge + 1), np.clip(column + 1, 0, edge + 1)
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    down, right = (row - top).astype(np.float32), (column - left).astype(np.float32)
    upper = wide[..., top, left] * (1 - right) + wide[..., top, left + 1] * right
    lower = wide[..., top + 1, left] * (1 - right) + wide[..., top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)
