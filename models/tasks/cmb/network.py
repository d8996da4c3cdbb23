"""The detector: a 3-D U-Net up to stride 2, features of three levels added up, and a head that judges each cell.

Baseline, feature fusion (FFM) and fusion with hard-sample prototypes (HSPL) are arms of this one network: Kim et al.,
"Toward automated detection of microbleeds with anatomical scale localization", arXiv 2306.13020.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from telemed.recipes.centres import AnchorGrid
from telemed.recipes.cmb import Settings
from torch import Tensor, nn

SizeName = Literal["tiny", "edge", "paper"]
Arm = Literal["rpn", "ffm", "ffm-hspl"]
ARMS: tuple[Arm, ...] = ("rpn", "ffm", "ffm-hspl")
STRIDE = 2


@dataclass(frozen=True, slots=True)
class Size:
    """How large a detector is, and what it looks at."""

    channels: tuple[int, int, int, int]
    """Of the levels of strides 1, 2, 4 and 8."""
    fused: int
    """Features of a cell."""
    window_voxels: int
    spacing_mm: float
    anchors_mm: tuple[float, ...]


SIZES: dict[SizeName, Size] = {
    "tiny": Size((8, 16, 32, 64), 32, 48, 1.0, (3.0,)),
    "edge": Size((16, 32, 64, 128), 64, 96, 0.8, (5.0,)),
    "paper": Size((32, 64, 128, 256), 64, 128, 0.5, (5.0,)),
}


@dataclass(frozen=True, slots=True)
class Config:
    """Which detector."""

    size: SizeName = "tiny"
    arm: Arm = "ffm-hspl"

    @property
    def has_fusion(self) -> bool:
        """True where the levels of strides 4 and 8 reach the head."""
        return self.arm != "rpn"

    @property
    def has_prototypes(self) -> bool:
        """True where hard mimics are learnt from."""
        return self.arm == "ffm-hspl"

    def settings(self, threshold: float = 0.5, calibration: tuple[float, float] = (1.0, 0.0)) -> Settings:
        """Return what the recipe must know of this detector."""
        size = SIZES[self.size]
        grid = AnchorGrid(STRIDE, size.anchors_mm, size.spacing_mm)
        return Settings((size.window_voxels,) * 3, grid, threshold, calibration)


class Detector(nn.Module):
    """Says for each cell of two voxels' edge how likely a bleed is there, and where and how large it is."""

    def __init__(self, size: Size, *, has_fusion: bool) -> None:
        super().__init__()
        one, two, four, eight = size.channels
        self.has_fusion = has_fusion
        self.encode1 = _block(2, one)
        self.encode2 = _block(one, two)
        self.encode4 = _block(two, four)
        self.encode8 = _block(four, eight)
        self.halve = nn.MaxPool3d(2)
        self.up4 = nn.ConvTranspose3d(eight, four, 2, stride=2)
        self.decode4 = _block(2 * four, four)
        self.up2 = nn.ConvTranspose3d(four, two, 2, stride=2)
        self.decode2 = _block(2 * two, two)
        self.fuse2 = nn.Conv3d(two, size.fused, 1)
        if has_fusion:
            self.fuse4 = nn.Conv3d(four, size.fused, 1)
            self.fuse8 = nn.Conv3d(eight, size.fused, 1)
        self.spread = nn.Upsample(scale_factor=2, mode="nearest")
        self.judge = nn.Sequential(nn.Conv3d(size.fused, size.fused, 3, padding=1), nn.ReLU())
        anchors = len(size.anchors_mm)
        self.objectness = nn.Conv3d(size.fused, anchors, 1)
        self.deltas = nn.Conv3d(size.fused, 4 * anchors, 1)
        # Nearly no cell holds a bleed: a network that begins by saying so is not drowned by negatives.
        nn.init.constant_(_bias(self.objectness), -math.log(99))

    def features(self, volume: Tensor) -> Tensor:
        """Return the features of each cell, [batch, fused, cells...]."""
        at1 = self.encode1(volume)
        at2 = self.encode2(self.halve(at1))
        at4 = self.encode4(self.halve(at2))
        at8 = self.encode8(self.halve(at4))
        back4 = self.decode4(torch.cat([at4, self.up4(at8)], dim=1))
        back2 = self.decode2(torch.cat([at2, self.up2(back4)], dim=1))
        total: Tensor = self.fuse2(back2)
        if self.has_fusion:
            total = total + self.spread(self.fuse4(back4) + self.spread(self.fuse8(at8)))
        return torch.relu(total)

    def heads(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return log odds [batch, anchors, cells...] and box deltas [batch, 4 * anchors, cells...]."""
        judged = self.judge(features)
        return self.objectness(judged), self.deltas(judged)

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """Return the heads' outputs for [batch, 2, slice, row, column]."""
        return self.heads(self.features(volume))


def build(config: Config) -> Detector:
    """Return an untrained detector."""
    return Detector(SIZES[config.size], has_fusion=config.has_fusion)


def parameter_count(module: nn.Module) -> int:
    """Return how many numbers training can change."""
    return sum(parameter.numel() for parameter in module.parameters())


def _block(entering: int, leaving: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (entering, leaving):
        # A bias before a normalisation changes nothing.
        convolution = nn.Conv3d(before, leaving, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm3d(leaving), nn.ReLU()]
    return nn.Sequential(*layers)


def _bias(convolution: nn.Conv3d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
