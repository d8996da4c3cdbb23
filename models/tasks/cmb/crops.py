"""Batches for training: as many crops with a bleed as without, turned, mirrored and made a little noisier.

Which parts are cut is drawn on the processor; the voxels stay on the device that trains, and are turned there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from telemed.recipes.centres import AnchorGrid
from torch import Tensor
from torch.nn import functional

from models.detection.boxes import Cubes
from models.detection.labels import IGNORED, targets
from models.tasks.cmb.cases import Case

_TRIES = 5000
JITTER = 8
"""A bleed lies up to so many voxels from the middle of its crop."""
MOST_TURNED_RAD = np.deg2rad(15)
MARGIN = 4
"""Voxels along a cut side whose cells do not count: what is cut through there looks like what it is not."""
_CLEAR = 2
"""So many voxels more must be without a bleed where a crop without any is asked for: it may be turned."""
_NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Crop:
    """One part of a subject."""

    subject: str
    bleeds: Cubes
    """Of this part, as it was turned: centre in its voxels and diameter in millimetres."""
    start: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Batch:
    """Crops as the network takes them, with what it should say."""

    crops: tuple[Crop, ...]
    volumes: Tensor
    """[crops, 2, edge, edge, edge], on the device that trains."""
    inside: Tensor
    """Which cells lie in the brain, [crops, cells...], on the same device."""
    labels: NDArray[np.int8]
    deltas: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Change:
    """How a crop is changed."""

    is_mirrored: tuple[bool, bool]
    """Rows and columns."""
    turn_rad: float
    gain: float


class Sampler:
    """Draws crops; the same seed draws the same ones."""

    def __init__(
        self, subjects: Sequence[Case], edge: int, grid: AnchorGrid, seed: int, device: torch.device | None = None
    ) -> None:
        """Take the subjects to the device.

        Args:
            subjects: what is cut.
            edge: voxels of a crop along each axis; a multiple of 8.
            grid: of the network.
            seed: of everything that is drawn.
            device: which trains; the processor if none is given.
        """
        self.grid = grid
        self._subjects = subjects
        self._edge = edge
        self._device = device or torch.device("cpu")
        self._random = np.random.default_rng([77, seed])
        self._noise = torch.Generator(self._device).manual_seed(seed)
        parts = [np.concatenate([each.prepared.channels, each.prepared.mask[None]]) for each in subjects]
        self._stock = torch.from_numpy(np.stack(parts).astype(np.float32)).to(self._device)

    def batch(self, size: int) -> Batch:
        """Return a batch whose first half holds bleeds and whose second half holds none."""
        places = [self._place(holds=number < size // 2) for number in range(size)]
        changes = [self._change() for _ in places]
        volumes, inside = self._changed(places, changes)
        crops = tuple(self._crop(case, start, change) for (case, start), change in zip(places, changes, strict=True))
        wanted = [targets(crop.bleeds, (self._edge,) * 3, self.grid) for crop in crops]
        labels = np.stack([each.labels for each in wanted])
        for number, ((case, start), change) in enumerate(zip(places, changes, strict=True)):
            labels[number][:, ~self._counted(case, start, change)] = IGNORED
        stride = self.grid.stride_voxels
        return Batch(
            crops=crops,
            volumes=volumes,
            inside=inside[:, ::stride, ::stride, ::stride],
            labels=labels,
            deltas=np.stack([each.deltas for each in wanted]),
        )

    def _place(self, *, holds: bool) -> tuple[int, NDArray[np.int64]]:
        """Return a subject and where a part of it begins that has a bleed where it counts, or has none.

        A head whose bleeds lie in the middle has no part without them: then another head is tried.
        """
        for _ in range(_TRIES):
            number = int(self._random.integers(len(self._subjects)))
            case = self._subjects[number]
            most = np.array(case.prepared.mask.shape) - self._edge
            start = self._random.integers(0, most + 1)
            if holds:
                bleed = case.bleeds[self._random.integers(len(case.bleeds)), :3]
                middle = bleed + self._random.integers(-JITTER, JITTER + 1, 3)
                start = np.clip(np.rint(middle - self._edge / 2).astype(int), 0, most)
            low, high = self._counting(case, start)
            clear = 0 if holds else _CLEAR
            centres = case.bleeds[:, :3] - start
            if holds == bool(((centres >= low - clear) & (centres <= high + clear)).all(axis=1).any()):
                return number, start
        raise ValueError("these subjects have no part " + ("with" if holds else "without") + " a bleed")

    def _change(self) -> _Change:
        return _Change(
            is_mirrored=(self._random.random() < 0.5, self._random.random() < 0.5),
            turn_rad=self._random.uniform(-MOST_TURNED_RAD, MOST_TURNED_RAD),
            gain=self._random.uniform(0.9, 1.1),
        )

    def _changed(
        self, places: Sequence[tuple[int, NDArray[np.int64]]], changes: Sequence[_Change]
    ) -> tuple[Tensor, Tensor]:
        parts = []
        for number, start in places:
            z, y, x = start.tolist()
            parts.append(self._stock[number, :, z : z + self._edge, y : y + self._edge, x : x + self._edge])
        mirrored = [change.is_mirrored for change in changes]
        found = turned(torch.stack(parts), [change.turn_rad for change in changes], mirrored)
        volumes, inside = found[:, :2], found[:, 2] > 0.5
        noise = torch.randn(volumes.shape, generator=self._noise, device=self._device)
        volumes = volumes + _NOISE * noise * inside[:, None]
        gains = torch.ones(len(changes), 2, 1, 1, 1)
        gains[:, 0, 0, 0, 0] = torch.tensor([change.gain for change in changes])
        return volumes * gains.to(self._device), inside

    def _crop(self, number: int, start: NDArray[np.int64], change: _Change) -> Crop:
        case = self._subjects[number]
        centres = case.bleeds[:, :3] - start
        for axis, is_mirrored in zip((1, 2), change.is_mirrored, strict=True):
            if is_mirrored:
                centres[:, axis] = self._edge - 1 - centres[:, axis]
        centres = turned_places(centres, change.turn_rad, self._edge)
        within = ((centres >= 0) & (centres <= self._edge - 1)).all(axis=1)
        z, y, x = start.tolist()
        return Crop(case.subject, np.column_stack([centres, case.bleeds[:, 3]])[within], (z, y, x))

    def _counting(self, case: int | Case, start: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first and the last voxel of a crop that count along each axis; the volume's own sides do."""
        subject = self._subjects[case] if isinstance(case, int) else case
        extent = np.array(subject.prepared.mask.shape)
        low = np.where(start > 0, MARGIN, 0)
        high = self._edge - 1 - np.where(start + self._edge < extent, MARGIN, 0)
        return low, high

    def _counted(self, number: int, start: NDArray[np.int64], change: _Change) -> NDArray[np.bool_]:
        """Return which cells of a crop count."""
        low, high = self._counting(number, start)
        stride = self.grid.stride_voxels
        at = np.arange(self._edge // stride) * stride + (stride - 1) / 2
        along = [(at >= first) & (at <= last) for first, last in zip(low.tolist(), high.tolist(), strict=True)]
        for axis, is_mirrored in zip((1, 2), change.is_mirrored, strict=True):
            if is_mirrored:
                along[axis] = along[axis][::-1]
        return np.asarray(along[0][:, None, None] & along[1][:, None] & along[2])


def turned(volumes: Tensor, turns_rad: Sequence[float], mirrored: Sequence[tuple[bool, bool]]) -> Tensor:
    """Return volumes [batch, channels, slice, row, column] mirrored, then turned about the slice normal.

    Bilinear; zeros come in at the corners.

    Args:
        volumes: as many as there are changes.
        turns_rad: of each, about its middle.
        mirrored: whether rows and columns of each are mirrored.
    """
    batch, channels, slices, edge, _ = volumes.shape
    away = torch.linspace(-1, 1, edge, dtype=torch.float64)
    row, column = torch.meshgrid(away, away, indexing="ij")
    angles = torch.tensor(turns_rad, dtype=torch.float64)[:, None, None]
    from_row = torch.cos(angles) * row + torch.sin(angles) * column
    from_column = torch.cos(angles) * column - torch.sin(angles) * row
    signs = 1 - 2 * torch.tensor(mirrored, dtype=torch.float64)[:, :, None, None]
    grid = torch.stack([signs[:, 1] * from_column, signs[:, 0] * from_row], dim=-1).to(volumes.device, volumes.dtype)
    flat = volumes.reshape(batch, channels * slices, edge, edge)
    moved: Tensor = functional.grid_sample(flat, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return moved.reshape(volumes.shape)


def turned_places(centres: NDArray[np.float64], turn_rad: float, edge: int) -> NDArray[np.float64]:
    """Return where places of a volume are once it was turned."""
    middle = (edge - 1) / 2
    sine, cosine = np.sin(turn_rad), np.cos(turn_rad)
    moved = centres.copy()
    away = centres[:, 1:3] - middle
    moved[:, 1] = cosine * away[:, 0] - sine * away[:, 1] + middle
    moved[:, 2] = cosine * away[:, 1] + sine * away[:, 0] + middle
    return moved


def cells_of(bleeds: Cubes, grid: AnchorGrid, cells: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield the cell that the centre of each bleed lies in."""
    for bleed in bleeds:
        at = np.rint((bleed[:3] - (grid.stride_voxels - 1) / 2) / grid.stride_voxels)
        z, y, x = np.clip(at, 0, np.array(cells) - 1).astype(int).tolist()
        yield z, y, x
