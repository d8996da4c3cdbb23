"""A volume as it lies in a patient, and what is demanded of its geometry.  Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_node.importing.order import LPS, RAS
from edge_node.importing.reasons import NotImported, Reason

LARGEST_BYTES = 512 * 1024 * 1024
"""Of the voxels as they are read."""
MOST_SLICES, MOST_ACROSS, MOST_VOLUMES = 4096, 16384, 256
THINNEST_MM, THICKEST_MM = 1e-3, 1000.0
_RIGHT_ANGLE = 1e-3
"""So much may cosines of directions differ from those of right angles: headers hold them in single precision."""
Numbers = NDArray[np.float64]
Voxels = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where voxels lie: in millimetres, to the patient's left, back and head (LPS)."""

    origin_mm: Numbers
    """Centre of the first voxel."""
    spacing_mm: tuple[float, float, float]
    """Between columns, rows and slices."""
    directions: Numbers
    """Columns of this matrix: along a row, along a column, from slice to slice."""

    def place_mm(self, number: int) -> Numbers:
        """Return the centre of the first voxel of a slice."""
        return self.origin_mm + self.directions[:, 2] * (self.spacing_mm[2] * number)

    @property
    def step(self) -> int:
        """In which order slices lie along the normal of their plane: 1 as in the file, -1 the other way round."""
        normal = np.cross(self.directions[:, 0], self.directions[:, 1])
        return 1 if float(normal @ self.directions[:, 2]) > 0 else -1


@dataclass(frozen=True, slots=True)
class Volume:
    """Voxels and where they lie."""

    voxels: Voxels
    """[slice, row, column]."""
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class Told:
    """What a reader says of a file before its voxels are read."""

    size: tuple[int, ...]
    """Columns, rows, slices, and volumes where there are several."""
    voxel_bytes: int
    components: int
    spacing_mm: tuple[float, ...]
    has_axes: bool
    """Whether the file says which side is the patient's left."""


def check(told: Told, axes: str) -> None:
    """Pass where a volume may be read.

    Raises:
        NotImported: it may not.
    """
    if told.components != 1:
        raise NotImported(Reason.NOT_GREY)
    if len(told.size) not in (3, 4) or min(told.size) < 1:
        raise NotImported(Reason.NOT_A_VOLUME, "×".join(map(str, told.size)))
    columns, rows, slices, *volumes = told.size
    is_absurd = (
        columns > MOST_ACROSS or rows > MOST_ACROSS or slices > MOST_SLICES or max(volumes, default=1) > MOST_VOLUMES
    )
    if is_absurd or math.prod(told.size) * told.voxel_bytes > LARGEST_BYTES:
        raise NotImported(Reason.TOO_MANY_VOXELS, "×".join(map(str, told.size)))
    if not all(THINNEST_MM <= each <= THICKEST_MM for each in told.spacing_mm[:3]):
        raise NotImported(Reason.SPACING_WRONG, ", ".join(f"{each:g}" for each in told.spacing_mm[:3]))
    if not told.has_axes and axes not in (LPS, RAS):
        raise NotImported(Reason.AXES_NEEDED)
    if told.has_axes and axes:
        raise NotImported(Reason.AXES_TOLD)


def geometry(origin_mm: Sequence[float], spacing_mm: Sequence[float], directions: Numbers, axes: str) -> Geometry:
    """Return the geometry of what a file says.

    Args:
        origin_mm: as the file has it.
        spacing_mm: as above.
        directions: as above.
        axes: RAS where the file means right, front and head; else it means left, back and head.

    Raises:
        NotImported: its axes are not at right angles, or its origin is no place.
    """
    turned = np.diag([-1.0, -1.0, 1.0]) if axes == RAS else np.eye(3)
    origin = turned @ np.asarray(origin_mm[:3], dtype=np.float64)
    axis = turned @ np.asarray(directions, dtype=np.float64)
    if not (np.isfinite(origin).all() and np.abs(origin).max() < 1e6):
        raise NotImported(Reason.SPACING_WRONG, "origin")
    if not np.isfinite(axis).all() or np.abs(axis.T @ axis - np.eye(3)).max() > _RIGHT_ANGLE:
        raise NotImported(Reason.AXES_SKEWED)
    columns_mm, rows_mm, slices_mm = (float(each) for each in spacing_mm[:3])
    return Geometry(origin, (columns_mm, rows_mm, slices_mm), axis)


def slices(volume: Volume) -> Iterator[tuple[Numbers, Voxels]]:
    """Yield place and voxels of each slice, in the order in which they lie along the normal of their plane."""
    for number in range(volume.voxels.shape[0])[:: volume.geometry.step]:
        yield volume.geometry.place_mm(number), volume.voxels[number]
