"""Volumes in the patient: where a grid of voxels lies, how it is resampled, padded and cut into windows.

Arrays are indexed (slice, row, column).  World coordinates are LPS millimetres, as in DICOM.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Volume = NDArray[np.float32]
Points = NDArray[np.float64]
"""Rows of three coordinates."""

IDENTITY: tuple[Triple, Triple, Triple] = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Slices run to the head, rows to the back, columns to the left of the patient."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the voxels of one array lie in the patient; with that of another array it inverts every spatial step."""

    origin_mm: Triple
    """Centre of voxel (0, 0, 0), LPS."""
    spacing_mm: Triple
    """Distance of neighbours along each axis of the array."""
    axes: tuple[Triple, Triple, Triple] = IDENTITY
    """Direction of each axis of the array as a unit vector in LPS."""

    def to_world_mm(self, voxels: Points) -> Points:
        """Return the LPS positions of voxel positions (fractions allowed), one a row."""
        return np.asarray(np.asarray(self.origin_mm) + (voxels * np.asarray(self.spacing_mm)) @ np.asarray(self.axes))

    def to_voxels(self, world_mm: Points) -> Points:
        """Return the voxel positions of LPS positions, one a row."""
        away_mm = world_mm - np.asarray(self.origin_mm)
        return np.asarray(away_mm @ np.asarray(self.axes).T / np.asarray(self.spacing_mm))

    def shifted(self, start: Triple, spacing_mm: Triple | None = None) -> "Geometry":
        """Return the geometry of a grid whose voxel (0, 0, 0) is this one's `start`, by default as fine as this one."""
        origin = self.to_world_mm(np.asarray(start, dtype=np.float64))
        x_mm, y_mm, z_mm = origin.tolist()
        return Geometry((x_mm, y_mm, z_mm), spacing_mm or self.spacing_mm, self.axes)


def resampled(volume: Volume, geometry: Geometry, spacing_mm: float) -> tuple[Volume, Geometry]:
    """Return the volume on cubic voxels over the same extent, and where these lie.

    Linear where the grid becomes finer; where it becomes coarser each voxel averages what it covers, so that noise and
    detail do not alias.
    """
    start = []
    for axis, fine_mm in enumerate(geometry.spacing_mm):
        weights = _weights(volume.shape[axis], fine_mm, spacing_mm)
        volume = np.moveaxis(np.tensordot(weights, volume, axes=(1, axis)), 0, axis)
        start.append((spacing_mm / fine_mm - 1) / 2)
    moved = geometry.shifted((start[0], start[1], start[2]), (spacing_mm, spacing_mm, spacing_mm))
    return np.ascontiguousarray(volume, dtype=np.float32), moved


def padded(volume: Volume, geometry: Geometry, smallest: Shape) -> tuple[Volume, Geometry]:
    """Return the volume with zeros around it where it is smaller than `smallest`, and where it lies then."""
    lacking = [max(0, low - have) for low, have in zip(smallest, volume.shape, strict=True)]
    before = [gap // 2 for gap in lacking]
    around = [(first, gap - first) for first, gap in zip(before, lacking, strict=True)]
    return np.pad(volume, around), geometry.shifted((-before[0], -before[1], -before[2]))


@dataclass(frozen=True, slots=True)
class Window:
    """One cut of a volume that a graph sees at once, and the part of it whose answers count."""

    start: Shape
    """First voxel of the cut."""
    kept_from: Shape
    kept_to: Shape
    """Voxels of the volume, half open, for which this window answers; those of all windows fill the volume once."""


def windows(shape: Shape, size: Shape, overlap: float = 0.25) -> tuple[Window, ...]:
    """Return the windows that cover a volume; it must be no smaller than one in any direction.

    Neighbours share at least `overlap` of their size, and each answers up to the middle of what they share: a graph
    knows least about what is at its border.
    """
    axes = [tuple(_stretches(extent, length, overlap)) for extent, length in zip(shape, size, strict=True)]
    return tuple(Window(*zip(z, y, x, strict=True)) for z, y, x in product(axes[0], axes[1], axes[2]))


def _stretches(extent: int, length: int, overlap: float) -> Iterator[tuple[int, int, int]]:
    if extent < length:
        raise ValueError(f"a volume of {extent} voxels is smaller than a window of {length}")
    count = 1 + int(np.ceil((extent - length) / (length * (1 - overlap))))
    starts = np.linspace(0, extent - length, count).round().astype(int).tolist()
    borders = [0, *((low + length + high) // 2 for low, high in pairwise(starts)), extent]
    for start, (low, high) in zip(starts, pairwise(borders), strict=True):
        yield start, low, high


def _weights(extent: int, fine_mm: float, spacing_mm: float) -> Volume:
    """Return a row of weights over the old voxels for each new one: a triangle as wide as the coarser of both."""
    count = max(1, round(extent * fine_mm / spacing_mm))
    at = (np.arange(count) + 0.5) * spacing_mm / fine_mm - 0.5
    at = np.clip(at, 0, extent - 1)
    reach = max(1.0, spacing_mm / fine_mm)
    weights = np.clip(1 - np.abs(at[:, None] - np.arange(extent)[None]) / reach, 0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
