"""The region network: a small 3-D U-Net over slabs, with the place in the brain as three of its inputs."""

from dataclasses import dataclass

import torch
from telemed.recipes.cmb_regions import Region
from telemed.recipes.volume import Shape
from torch import Tensor, nn

INPUTS = 5
CHANNELS = (15, 30, 60)
WINDOW: Shape = (16, 48, 48)
"""Voxels of 1 mm."""


@dataclass(frozen=True, slots=True)
class RegionConfig:
    """Which region network; there is one size so far."""

    channels: tuple[int, int, int] = CHANNELS
    window: Shape = WINDOW


class RegionNet(nn.Module):
    """Says for each voxel of a slab how likely each region is."""

    def __init__(self, config: RegionConfig) -> None:
        super().__init__()
        one, two, four = config.channels
        self.encode1 = _block(INPUTS, one)
        self.encode2 = _block(one, two)
        self.encode4 = _block(two, four)
        self.halve = nn.MaxPool3d(2)
        self.up2 = nn.ConvTranspose3d(four, two, 2, stride=2)
        self.decode2 = _block(2 * two, two)
        self.up1 = nn.ConvTranspose3d(two, one, 2, stride=2)
        self.decode1 = _block(2 * one, one)
        self.tell = nn.Conv3d(one, len(Region), 1)

    def forward(self, slab: Tensor) -> Tensor:
        """Return log odds [batch, regions, slice, row, column] for [batch, 5, slice, row, column]."""
        at1 = self.encode1(slab)
        at2 = self.encode2(self.halve(at1))
        at4 = self.encode4(self.halve(at2))
        back2 = self.decode2(torch.cat([at2, self.up2(at4)], dim=1))
        back1 = self.decode1(torch.cat([at1, self.up1(back2)], dim=1))
        told: Tensor = self.tell(back1)
        return told


def _block(entering: int, leaving: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (entering, leaving):
        # A bias before a normalisation changes nothing.
        layers += [nn.Conv3d(before, leaving, 3, padding=1, bias=False), nn.BatchNorm3d(leaving), nn.ReLU()]
    return nn.Sequential(*layers)
