"""Overlap of cubes, given by their centres and edges."""

import numpy as np
from numpy.typing import NDArray

Cubes = NDArray[np.float64]
"""Rows of centre (slice, row, column) and edge, in one unit."""


def cube_iou(first: Cubes, second: Cubes) -> NDArray[np.float64]:
    """Return the volume that each pair of cubes shares over the volume that it covers, [first, second].

    A cube without an edge overlaps nothing.
    """
    one, other = first[:, None], second[None]
    reach = (one[..., 3:] + other[..., 3:]) / 2
    smaller = np.minimum(one[..., 3:], other[..., 3:])
    shared = np.clip(np.minimum(reach - np.abs(one[..., :3] - other[..., :3]), smaller), 0, None).prod(axis=-1)
    covered = one[..., 3] ** 3 + other[..., 3] ** 3 - shared
    return np.asarray(np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0))
