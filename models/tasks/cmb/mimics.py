"""Hard-sample prototypes (HSPL): which places of a batch stand for bleeds and which for what is taken for them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from telemed.recipes.centres import AnchorGrid

from models.detection.labels import IGNORED, NEGATIVE
from models.tasks.cmb.crops import Batch, cells_of

BLEED, MIMIC = 0, 1
SURE = 0.9
PATIENCE_EPOCHS = 3
_SAME_PLACE_VOXELS = 4


@dataclass(frozen=True, slots=True)
class Point:
    """A cell of a batch whose features are drawn to a prototype."""

    sample: int
    cell: tuple[int, int, int]
    kind: int


@dataclass(slots=True)
class Guard:
    """Keeps what may be a bleed that nobody marked from being taught as a mimic.

    A mimic that stays likelier than 0.9 for three epochs in a row is left out from then on and listed for review.
    """

    runs: dict[tuple[str, tuple[int, ...]], tuple[int, int]] = field(default_factory=dict)
    """Last epoch and length of the run of each place, in steps of four voxels."""

    def admits(self, subject: str, place: tuple[int, ...], likelihood: float, epoch: int) -> bool:
        """Return whether a place may be taught as a mimic, and remember how likely it looked."""
        key = (subject, tuple(coordinate // _SAME_PLACE_VOXELS for coordinate in place))
        last, length = self.runs.get(key, (epoch - 1, 0))
        if length >= PATIENCE_EPOCHS:
            return False
        if likelihood <= SURE:
            self.runs.pop(key, None)
            return True
        if epoch != last or length == 0:
            length = length + 1 if epoch - last <= 1 else 1
        self.runs[key] = (epoch, length)
        return length < PATIENCE_EPOCHS

    def suspects(self) -> list[tuple[str, tuple[int, ...]]]:
        """Return the places to be looked at by a person: subject, and voxel of the prepared volume."""
        return sorted(
            (subject, tuple(step * _SAME_PLACE_VOXELS for step in place))
            for (subject, place), (_, length) in self.runs.items()
            if length >= PATIENCE_EPOCHS
        )


def points(batch: Batch, likelihood: NDArray[np.float32], grid: AnchorGrid, guard: Guard, epoch: int) -> list[Point]:
    """Return the centres of the bleeds of a batch, and the likeliest other place of each crop.

    Args:
        batch: the crops.
        likelihood: what the network says of each cell, [batch, cells...]; below 0 where no brain is.
        grid: of the network.
        guard: remembers what looked like a bleed all along.
        epoch: counts passes over the training volumes.
    """
    found: list[Point] = []
    for sample, crop in enumerate(batch.crops):
        counted = (batch.labels[sample] != IGNORED).any(axis=0)
        found += [
            Point(sample, cell, BLEED) for cell in cells_of(crop.bleeds, grid, likelihood.shape[1:]) if counted[cell]
        ]
        allowed = (batch.labels[sample] == NEGATIVE).all(axis=0) & (likelihood[sample] >= 0)
        if not allowed.any():
            continue
        where = np.where(allowed, likelihood[sample], -1)
        z, y, x = (int(at) for at in np.unravel_index(int(np.argmax(where)), where.shape))
        place = tuple(low + at * grid.stride_voxels for low, at in zip(crop.start, (z, y, x), strict=True))
        if guard.admits(crop.subject, place, float(where[z, y, x]), epoch):
            found.append(Point(sample, (z, y, x), MIMIC))
    return found
