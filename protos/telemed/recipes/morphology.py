"""Shapes in volumes: threshold, connected parts, closing and filling, in NumPy alone."""

import numpy as np
from numpy.typing import NDArray

from telemed.recipes.volume import Volume

Mask = NDArray[np.bool_]


def otsu(values: Volume) -> float:
    """Return the threshold that splits values into the two groups that differ most (Otsu 1979), on 256 steps."""
    counts, edges = np.histogram(values, bins=256)
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    sums = np.cumsum(counts * middle)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(middle[int(np.nanargmax(apart))])


def smoothed(volume: Volume) -> Volume:
    """Return the mean over the 27 voxels around each voxel; the border is repeated outwards."""
    for axis in range(3):
        around = np.pad(volume, [(1, 1) if axis == other else (0, 0) for other in range(3)], mode="edge")
        count = volume.shape[axis]
        parts = [np.take(around, range(first, first + count), axis=axis) for first in range(3)]
        volume = ((parts[0] + parts[1] + parts[2]) / np.float32(3)).astype(np.float32)
    return volume


def largest_part(mask: Mask) -> Mask:
    """Return the largest part of a mask whose voxels touch by their faces; all False for an empty mask."""
    if not mask.any():
        return mask
    labels = _labels(mask)
    counts = np.bincount(labels[mask])
    return np.asarray(mask & (labels == int(np.argmax(counts))))


def filled(mask: Mask) -> Mask:
    """Return the mask with its holes: what is False and does not touch the border of the volume."""
    outside = np.pad(~mask, 1, constant_values=True)
    labels = _labels(outside)
    reached = outside & (labels == labels[0, 0, 0])
    return np.asarray(~reached[1:-1, 1:-1, 1:-1])


def closed(mask: Mask, reach: int) -> Mask:
    """Return the mask with gaps up to twice `reach` voxels wide closed."""
    wide = np.pad(mask, reach)
    shrunk = ~_grown(~_grown(wide, reach), reach)
    return shrunk[reach:-reach, reach:-reach, reach:-reach] if reach else shrunk


def _grown(mask: Mask, reach: int) -> Mask:
    for axis in range(3):
        grown = mask.copy()
        for step in range(1, reach + 1):
            ahead, behind = _pair(axis, step)
            grown[ahead] |= mask[behind]
            grown[behind] |= mask[ahead]
        mask = grown
    return mask


def _labels(mask: Mask) -> NDArray[np.int64]:
    """Return one number for each connected part: the highest index of its voxels, 0 outside all parts.

    Voxels take over the highest number of their neighbours, then the number of the voxel they now point to, so that
    a number crosses a part in steps that double.
    """
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        before = labels.copy()
        for axis in range(3):
            ahead, behind = _pair(axis, 1)
            low, high = labels[behind], labels[ahead]
            joined = np.where((low > 0) & (high > 0), np.maximum(low, high), 0)
            labels[behind] = np.maximum(low, joined)
            labels[ahead] = np.maximum(labels[ahead], joined)
        pointed = np.concatenate([[0], labels.ravel()])[labels]
        labels = np.maximum(labels, pointed)
        if np.array_equal(labels, before):
            return np.asarray(labels)


def _pair(axis: int, step: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    ahead = tuple(slice(step, None) if axis == other else slice(None) for other in range(3))
    behind = tuple(slice(None, -step) if axis == other else slice(None) for other in range(3))
    return ahead, behind
