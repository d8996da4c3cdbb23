"""Voxels of whatever type as the 16 bits that CT and MR images have, with what brings their values back.  Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_node.importing.reasons import NotImported, Reason
from edge_node.importing.volume import Voxels

STEPS = 65535
INT16, UINT16 = (-32768, 32767), (0, 65535)


@dataclass(frozen=True, slots=True)
class Scale:
    """How values are stored: value = stored x slope + intercept."""

    slope: float
    intercept: float
    is_signed: bool
    is_exact: bool
    """Every value comes back as it was."""
    lowest: float
    highest: float

    @property
    def greatest_error(self) -> float:
        """How much a value may differ from what it was."""
        return 0.0 if self.is_exact else self.slope / 2

    def stored(self, voxels: Voxels) -> NDArray[np.integer[Any]]:
        """Return what is stored of some voxels."""
        if self.is_exact:
            return voxels.astype(np.int16 if self.is_signed else np.uint16)
        steps = (voxels.astype(np.float64) - self.intercept) / self.slope
        return np.clip(np.rint(steps), 0, STEPS).astype(np.uint16)


def scale_of(volume: Voxels) -> Scale:
    """Return how the values of a whole volume, or of several together, are stored.

    Whole numbers that fit into 16 bits are stored as they are; others in 65,535 steps of their own range.

    Raises:
        NotImported: one of them is no number.
    """
    slices = volume.reshape(-1, *volume.shape[-2:])
    lowest = min(float(each.min()) for each in slices)
    highest = max(float(each.max()) for each in slices)
    # NaN is neither smaller nor greater, but numpy's minimum of what has one is NaN.
    if not (np.isfinite(lowest) and np.isfinite(highest) and all(_are_numbers(slices))):
        raise NotImported(Reason.VALUES_WRONG)
    for is_signed, (least, most) in ((False, UINT16), (True, INT16)):
        if least <= lowest and highest <= most and all(_are_whole(slices)):
            return Scale(1.0, 0.0, is_signed, True, lowest, highest)
    slope = _decimal((highest - lowest) / STEPS) or 1.0
    return Scale(slope, _decimal(lowest), False, False, lowest, highest)


def _are_numbers(slices: Iterable[Voxels]) -> Iterator[bool]:
    return (each.dtype.kind in "iub" or bool(np.isfinite(each).all()) for each in slices)


def _are_whole(slices: Iterable[Voxels]) -> Iterator[bool]:
    return (each.dtype.kind in "iub" or bool((np.rint(each) == each).all()) for each in slices)


def _decimal(value: float) -> float:
    """Return a value as its 16 characters in a file say it (decimal string)."""
    return float(f"{value:.9g}")
