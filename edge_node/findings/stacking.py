"""Slices put in order by where they lie in the patient, and refused where they do not make a volume.  Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from telemed.recipes.volume import Geometry, Triple

from edge_node.findings.reasons import NotRead, Reason
from edge_node.findings.rules import GeometryLimits
from edge_node.findings.series import Slice

SAME_MM = 0.02
"""Places nearer than this are one place."""
_ALIKE = 1e-3
_HEAD, _BACK, _LEFT = (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stack:
    """Slices from the feet to the head, rows to the back, columns to the left of the patient."""

    slices: tuple[Slice, ...]
    is_row_flipped: bool
    """Whether the order of the rows of each slice is to be turned around."""
    is_column_flipped: bool
    geometry: Geometry
    """Of the volume after that."""


def stacked(slices: Sequence[Slice], limits: GeometryLimits) -> Stack:
    """Return slices in the order of their places.

    Raises:
        NotRead: they do not make a volume that the task was made for.
    """
    _check_alike(slices, limits)
    first = slices[0]
    along_row, along_column = _vector(first.along_row), _vector(first.along_column)
    normal = np.cross(along_row, along_column)
    normal = normal if normal[2] >= 0 else -normal
    _check_axial((normal, along_column, along_row), limits.largest_tilt_deg)
    in_order = sorted(slices, key=lambda each: float(_vector(each.position_mm) @ normal))
    gap_mm = _gap_mm([_vector(each.position_mm) for each in in_order], normal, limits)
    assert first.spacing_mm is not None
    geometry = Geometry(
        _triple(_vector(in_order[0].position_mm)),
        (gap_mm, *first.spacing_mm),
        (_triple(normal), _triple(along_column), _triple(along_row)),
    )
    is_row_flipped, is_column_flipped = bool(along_column[1] < 0), bool(along_row[0] < 0)
    for axis, extent, is_flipped in ((1, first.rows, is_row_flipped), (2, first.columns, is_column_flipped)):
        geometry = _turned(geometry, axis, extent) if is_flipped else geometry
    return Stack(tuple(in_order), is_row_flipped, is_column_flipped, geometry)


def matching(stack: Stack, others: Sequence[Slice]) -> tuple[Slice, ...]:
    """Return the slices of another series that lie where those of the stack do, in the same order.

    Raises:
        NotRead: they do not, or are of another size.
    """
    left = list(others)
    found = []
    for each in stack.slices:
        same = next((other for other in left if _is_at(each, other)), None)
        if same is None or len(others) != len(stack.slices):
            raise NotRead(Reason.PHASE_DIFFERS)
        left.remove(same)
        found.append(same)
    return tuple(found)


def _check_alike(slices: Sequence[Slice], limits: GeometryLimits) -> None:
    if any(each.frames > 1 for each in slices):
        raise NotRead(Reason.MULTI_FRAME)
    if any(None in (each.position_mm, each.along_row, each.along_column, each.spacing_mm) for each in slices):
        raise NotRead(Reason.GEOMETRY_MISSING)
    if any(each.fault for each in slices):
        raise NotRead(Reason.PIXELS_UNREADABLE)
    if len(slices) < limits.fewest_slices:
        raise NotRead(Reason.SLICES_FEW, f"({len(slices)} < {limits.fewest_slices})")
    if not all(_is_alike(slices[0], each) for each in slices):
        raise NotRead(Reason.SIZES_DIFFER)
    spacing_mm = slices[0].spacing_mm
    if spacing_mm is None or min(spacing_mm) <= 0:
        raise NotRead(Reason.GEOMETRY_MISSING)
    if max(spacing_mm) > limits.largest_pixel_mm:
        raise NotRead(Reason.PIXELS_COARSE, f"({max(spacing_mm):g} mm)")


def _is_alike(one: Slice, other: Slice) -> bool:
    if (one.rows, one.columns) != (other.rows, other.columns):
        return False
    numbers = ((one.along_row, other.along_row), (one.along_column, other.along_column))
    return np.allclose(one.spacing_mm or (), other.spacing_mm or (), atol=_ALIKE) and all(
        np.allclose(_vector(mine), _vector(its), atol=_ALIKE) for mine, its in numbers
    )


def _check_axial(axes: Sequence[Vector], largest_tilt_deg: float) -> None:
    for axis, wanted in zip(axes, (_HEAD, _BACK, _LEFT), strict=True):
        length = float(np.linalg.norm(axis))
        if abs(length - 1) > 0.01:
            raise NotRead(Reason.GEOMETRY_MISSING)
        tilt_deg = float(np.degrees(np.arccos(min(1.0, abs(float(axis @ np.asarray(wanted)))))))
        if tilt_deg > largest_tilt_deg:
            raise NotRead(Reason.SLICES_TILTED, f"({tilt_deg:.0f}°)")


def _gap_mm(places: Sequence[Vector], normal: Vector, limits: GeometryLimits) -> float:
    """Return how far slices lie apart.

    Raises:
        NotRead: not evenly, not straight above each other, or too far.
    """
    steps = [above - below for below, above in pairwise(places)]
    gaps_mm = [float(step @ normal) for step in steps]
    usual_mm = float(np.median(gaps_mm))
    if min(gaps_mm) < SAME_MM:
        raise NotRead(Reason.SLICES_DOUBLE)
    allowed_mm = usual_mm * limits.gap_variation_pct / 100
    if max(abs(gap_mm - usual_mm) for gap_mm in gaps_mm) > allowed_mm:
        raise NotRead(Reason.SLICES_MISSING, f"({min(gaps_mm):.2f} - {max(gaps_mm):.2f} mm)")
    if max(float(np.linalg.norm(step - gap_mm * normal)) for step, gap_mm in zip(steps, gaps_mm, strict=True)) > max(
        allowed_mm, SAME_MM
    ):
        raise NotRead(Reason.SLICES_SHEARED)
    if usual_mm > limits.largest_gap_mm:
        raise NotRead(Reason.SLICES_THICK, f"({usual_mm:.1f} mm)")
    return usual_mm


def _is_at(one: Slice, other: Slice) -> bool:
    if None in (other.along_row, other.along_column, other.spacing_mm) or other.fault:
        return False
    # Every slice is held against every other: what takes time is asked of those at one place alone.
    is_near = one.position_mm and other.position_mm and math.dist(one.position_mm, other.position_mm) < SAME_MM * 5
    return bool(is_near) and _is_alike(one, other)


def _turned(geometry: Geometry, axis: int, extent: int) -> Geometry:
    """Return the geometry of the same voxels with one axis turned around."""
    last = [0.0, 0.0, 0.0]
    last[axis] = extent - 1.0
    moved = geometry.shifted((last[0], last[1], last[2]))
    axes = [list(each) for each in moved.axes]
    axes[axis] = [-number for number in axes[axis]]
    turned = tuple(_triple(np.asarray(each)) for each in axes)
    return Geometry(moved.origin_mm, moved.spacing_mm, (turned[0], turned[1], turned[2]))


def _vector(numbers: Triple | None) -> Vector:
    assert numbers is not None, "looked at before"
    return np.asarray(numbers, dtype=np.float64)


def _triple(vector: Vector) -> Triple:
    x, y, z = (float(number) for number in vector)
    return x, y, z
