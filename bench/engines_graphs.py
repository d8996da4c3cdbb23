"""What the engines are compared on: the released detector, and two larger graphs whose weights are random."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from telemed.bundle import Graph, Precision, Tensor
from torch import nn

from models.export import graph as export
from models.tasks.cmb.network import SIZES, Config, build
from models.tasks.cmb.released import FOLDER
from models.tasks.cmb.weights import load

SEED = 5
INPUT = "image"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network in torch and as graphs."""

    name: str
    dimensions: int
    network: nn.Module
    """On the processor, in evaluation mode."""
    example: torch.Tensor
    graph: Graph
    files: dict[Precision, Path]


class Plane(nn.Module):
    """A 2-D U-Net of a quarter of a million parameters over three slices of 256 x 256."""

    def __init__(self) -> None:
        super().__init__()
        self.encode1, self.encode2, self.encode4 = _block(3, 16), _block(16, 32), _block(32, 64)
        self.encode8 = _block(64, 64)
        self.up4, self.decode4 = nn.ConvTranspose2d(64, 64, 2, stride=2), _block(128, 32)
        self.up2, self.decode2 = nn.ConvTranspose2d(32, 32, 2, stride=2), _block(64, 16)
        self.up1, self.decode1 = nn.ConvTranspose2d(16, 16, 2, stride=2), _block(32, 16)
        self.tell = nn.Conv2d(16, 4, 1)
        self.halve = nn.MaxPool2d(2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return log odds of four regions for [batch, 3, row, column]."""
        at1 = self.encode1(image)
        at2 = self.encode2(self.halve(at1))
        at4 = self.encode4(self.halve(at2))
        back4 = self.decode4(torch.cat([at4, self.up4(self.encode8(self.halve(at4)))], dim=1))
        back2 = self.decode2(torch.cat([at2, self.up2(back4)], dim=1))
        told: torch.Tensor = self.tell(self.decode1(torch.cat([at1, self.up1(back2)], dim=1)))
        return told


class _Half(nn.Module):
    """A network in half precision that takes and gives single precision."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, image: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return what the network says."""
        told = self.network(image.half())
        return tuple(part.float() for part in told) if isinstance(told, tuple) else told.float()


def candidates(folder: Path) -> Iterator[Candidate]:
    """Yield what is compared; graphs are written into a folder."""
    torch.manual_seed(SEED)
    yield _written("2-D U-Net, 256 x 256", 2, (Plane().eval(), Plane().eval()), (1, 3, 256, 256), folder)
    released = (load(FOLDER / "weights.safetensors")[0], load(FOLDER / "weights.safetensors")[0])
    yield _written("3-D detector tiny, released, 48 x 48 x 48", 3, released, (1, 2, 48, 48, 48), folder)
    edge = (build(Config("edge")).eval(), build(Config("edge")).eval())
    side = SIZES["edge"].window_voxels
    yield _written(f"3-D detector edge, {side} x {side} x {side}", 3, edge, (1, 2, side, side, side), folder)


def _written(
    name: str, dimensions: int, pair: tuple[nn.Module, nn.Module], shape: tuple[int, ...], folder: Path
) -> Candidate:  # fmt: skip
    network, again = pair
    again.load_state_dict(network.state_dict())
    example = torch.rand(shape, generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        told = network(example)
    parts = told if isinstance(told, tuple) else (told,)
    outputs = tuple(f"out{at}" for at in range(len(parts)))
    files: dict[Precision, Path] = {"fp32": folder / f"{dimensions}-{shape[-1]}.onnx"}
    files["fp16"] = files["fp32"].with_suffix(".half.onnx")
    export.write(network, example, ([INPUT], outputs), files["fp32"])
    export.write(_Half(again), example, ([INPUT], outputs), files["fp16"])
    graph = Graph(
        files={precision: file.name for precision, file in files.items()},
        inputs=(_tensor(INPUT, shape),),
        outputs=tuple(_tensor(each, part.shape) for each, part in zip(outputs, parts, strict=True)),
        deadline_s=600,
    )
    return Candidate(name, dimensions, network, example, graph, files)


def _tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    return Tensor(name=name, shape=tuple(shape), dtype="float32", unit="1")


def _block(entering: int, leaving: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (entering, leaving):
        layers += [nn.Conv2d(before, leaving, 3, padding=1, bias=False), nn.BatchNorm2d(leaving), nn.ReLU()]
    return nn.Sequential(*layers)
