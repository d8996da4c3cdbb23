"""Hard-sample prototypes (HSPL): which places of a batch stand for bleeds and which for what is taken for them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from telemed.recipes.centres import AnchorGrid

from models.detection.labels import NEGATIVE
from models.tasks.cmb.crops import Batch, Crop

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
    """Return the centres of the bleeds of a batch, and the likeliest place of each crop where none is.

    Args:
        batch: the crops.
        likelihood: what the network says of each cell, [batch, cells...].
        grid: of the network.
        guard: remembers what looked like a bleed all along.
        epoch: counts passes over the training volumes.
    """
    found: list[Point] = []
    for sample, crop in enumerate(batch.crops):
        found += [Point(sample, cell, BLEED) for cell in _centres(crop, grid, likelihood.shape[1:])]
        allowed = (batch.labels[sample] == NEGATIVE).all(axis=0) & _cells(crop.mask, grid.stride_voxels)
        if not allowed.any():
            continue
        where = np.where(allowed, likelihood[sample], -1)
        z, y, x = (int(at) for at in np.unravel_index(int(np.argmax(where)), where.shape))
        place = tuple(low + at * grid.stride_voxels for low, at in zip(crop.start, (z, y, x), strict=True))
        if guard.admits(crop.subject, place, float(where[z, y, x]), epoch):
            found.append(Point(sample, (z, y, x), MIMIC))
    return found


def _centres(crop: Crop, grid: AnchorGrid, cells: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    for bleed in crop.bleeds:
        at = np.rint((bleed[:3] - (grid.stride_voxels - 1) / 2) / grid.stride_voxels)
        z, y, x = np.clip(at, 0, np.array(cells) - 1).astype(int).tolist()
        yield z, y, x


def _cells(mask: NDArray[np.bool_], stride: int) -> NDArray[np.bool_]:
    return mask[::stride, ::stride, ::stride]
