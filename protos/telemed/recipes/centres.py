"""Small round findings by their centres: anchors in space, decoding of dense outputs, peaks, merging by distance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from telemed.recipes.volume import Points, Shape, Volume

LARGEST_LOG_SCALE = float(np.log(1000 / 16))
"""Sizes are not decoded beyond this many times the anchor's: an unlucky output must not overflow."""


@dataclass(frozen=True, slots=True)
class AnchorGrid:
    """Cubes around the centres of the cells of a detector's output; the same number of each size in every cell."""

    stride_voxels: int
    """Edge of a cell in voxels of the detector's input."""
    sizes_mm: tuple[float, ...]
    """Edges of the cubes."""
    spacing_mm: float
    """Edge of a voxel of the detector's input."""

    def shape(self, window: Shape) -> Shape:
        """Return the number of cells along each axis of a window of the input."""
        return window[0] // self.stride_voxels, window[1] // self.stride_voxels, window[2] // self.stride_voxels

    def centres(self, cells: Shape) -> NDArray[np.float64]:
        """Return the centres in voxels of the input, [cells..., 3]."""
        axes = [np.arange(count) * self.stride_voxels + (self.stride_voxels - 1) / 2 for count in cells]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


@dataclass(frozen=True, slots=True)
class Cubes:
    """What one window's outputs say, most likely first: a row for each cell that was asked for."""

    centres: Points
    """Voxels of the window."""
    sizes_mm: NDArray[np.float64]
    logits: NDArray[np.float64]


def decoded(logits: Volume, deltas: Volume, grid: AnchorGrid, reach_cells: int) -> Cubes:
    """Return the cubes of the cells that are peaks of likelihood among their neighbours.

    Args:
        logits: [anchors, cells...], log odds that a cell holds a finding.
        deltas: [4 * anchors, cells...]: shift in anchor edges along each axis, then the logarithm of the size's ratio.
        grid: the anchors that the graph was trained with.
        reach_cells: a peak is no less likely than any cell up to so many cells away along each axis.
    """
    best = np.argmax(logits, axis=0)
    likely = np.take_along_axis(logits, best[None], axis=0)[0]
    found = np.argwhere(is_peak(likely, reach_cells))
    order = np.argsort(-likely[tuple(found.T)], kind="stable")
    z, y, x = found[order].T
    anchor = best[z, y, x]
    sizes_mm = np.asarray(grid.sizes_mm)[anchor]
    shift = deltas.reshape(len(grid.sizes_mm), 4, *likely.shape)[anchor, :, z, y, x].astype(np.float64)
    cells = grid.centres((likely.shape[0], likely.shape[1], likely.shape[2]))[z, y, x]
    return Cubes(
        centres=cells + shift[:, :3] * sizes_mm[:, None] / grid.spacing_mm,
        sizes_mm=sizes_mm * np.exp(np.clip(shift[:, 3], -LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)),
        logits=likely[z, y, x].astype(np.float64),
    )


def is_peak(values: Volume, reach: int) -> NDArray[np.bool_]:
    """Return where a value is the highest of the cube of neighbours up to `reach` away along each axis."""
    highest = values
    for axis in range(3):
        wide = np.pad(highest, [(reach, reach) if axis == other else (0, 0) for other in range(3)], mode="edge")
        count = values.shape[axis]
        highest = np.max([np.take(wide, range(step, step + count), axis=axis) for step in range(2 * reach + 1)], axis=0)
    return np.asarray(values >= highest)


def merged(centres_mm: Points, scores: NDArray[np.float64], apart_mm: float) -> NDArray[np.int64]:
    """Return the rows to keep, most likely first: none lies nearer than `apart_mm` to one that is more likely."""
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable").tolist():
        gaps = np.linalg.norm(centres_mm[kept] - centres_mm[row], axis=1)
        if (gaps >= apart_mm).all():
            kept.append(row)
    return np.asarray(kept, dtype=np.int64)


def probability(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of log odds, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
