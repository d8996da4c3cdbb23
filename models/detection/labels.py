"""What a detector should say in each cell of its output: the matcher and the coder of targets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from telemed.recipes.centres import AnchorGrid
from telemed.recipes.volume import Shape

from models.detection.boxes import Cubes, cube_iou

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1
LEAST_IOU = 0.3
RING = 1.5
"""Cells up to this many times as far away as a match may be are neither right nor wrong."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The truth of one window in the form of a detector's output."""

    labels: NDArray[np.int8]
    """POSITIVE, NEGATIVE or IGNORED, [anchors, cells...]."""
    deltas: NDArray[np.float32]
    """Shift in anchor edges and logarithm of the size's ratio, [anchors, 4, cells...]; 0 where nothing is there."""


def targets(lesions: Cubes, window: Shape, grid: AnchorGrid) -> Targets:
    """Return what a detector should say of these lesions.

    A cell is positive if its anchor overlaps a lesion by 0.3 or more and its centre is no farther from the lesion's
    than half the larger edge; the nearest cell to each lesion always is, with the anchor nearest in size.

    Args:
        lesions: centre in voxels of the window and diameter in millimetres, one a row.
        window: voxels of the window along each axis.
        grid: the anchors.
    """
    cells = grid.shape(window)
    centres = grid.centres(cells).reshape(-1, 3)
    labels = np.zeros((len(grid.sizes_mm), len(centres)), dtype=np.int8)
    deltas = np.zeros((len(grid.sizes_mm), 4, len(centres)), dtype=np.float32)
    if len(lesions):
        in_mm = np.column_stack([lesions[:, :3] * grid.spacing_mm, lesions[:, 3]])
        for anchor, size_mm in enumerate(grid.sizes_mm):
            anchors = np.column_stack([centres * grid.spacing_mm, np.full(len(centres), size_mm)])
            labels[anchor], deltas[anchor] = _one_size(in_mm, anchors)
        _claim_nearest(in_mm, centres * grid.spacing_mm, grid.sizes_mm, labels)
    return Targets(labels.reshape(-1, *cells), deltas.reshape(-1, 4, *cells))


def encoded(lesions: Cubes, anchors: Cubes) -> NDArray[np.float32]:
    """Return the outputs that decode to each lesion from its anchor, [4, rows]."""
    shift = (lesions[:, :3] - anchors[:, :3]) / anchors[:, 3:]
    return np.column_stack([shift, np.log(lesions[:, 3] / anchors[:, 3])]).T.astype(np.float32)


def _one_size(lesions: Cubes, anchors: Cubes) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    away = np.linalg.norm(anchors[:, None, :3] - lesions[None, :, :3], axis=-1)
    limit = np.maximum(anchors[:, None, 3], lesions[None, :, 3]) / 2
    matches = (away <= limit) & (cube_iou(anchors, lesions) >= LEAST_IOU)
    nearest = np.argmin(away, axis=1)
    labels = np.where((away <= RING * limit).any(axis=1), IGNORED, NEGATIVE).astype(np.int8)
    labels[matches.any(axis=1)] = POSITIVE
    return labels, encoded(lesions[nearest], anchors)


def _claim_nearest(
    lesions: Cubes, centres_mm: NDArray[np.float64], sizes_mm: tuple[float, ...], labels: NDArray[np.int8]
) -> None:
    for lesion in lesions:
        cell = int(np.argmin(np.linalg.norm(centres_mm - lesion[:3], axis=1)))
        anchor = int(np.argmin(np.abs(np.log(np.asarray(sizes_mm) / lesion[3]))))
        labels[anchor, cell] = POSITIVE
