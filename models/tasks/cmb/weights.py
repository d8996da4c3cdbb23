"""Trained weights as a file: safetensors, which carries no code, with what they are in its head."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from telemed.ai_result import PHANTOM
from telemed.recipes.cmb import RawOutput, Settings
from telemed.recipes.volume import Volume
from torch import nn

from models.tasks.cmb.network import Config, Detector, build

VERSION = "0.1.0"
TASK = "cmb"


@dataclass(frozen=True, slots=True)
class About:
    """What weights are."""

    config: Config
    preset: str
    seed: int
    threshold: float
    calibration: tuple[float, float]
    training_data: str = PHANTOM
    version: str = VERSION

    def settings(self) -> Settings:
        """Return what the recipe must know."""
        return self.config.settings(self.threshold, self.calibration)


@dataclass(frozen=True, slots=True)
class TorchGraph:
    """A detector in torch."""

    detector: Detector = field(repr=False)

    def __call__(self, window: Volume) -> RawOutput:
        """Return what it says of one window."""
        device = next(self.detector.parameters()).device
        # A card rounds to ten bits where it may, which is for training alone.
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            objectness, deltas = self.detector(torch.from_numpy(window).to(device))
        return RawOutput(objectness.cpu().numpy(), deltas.cpu().numpy())


def save(path: Path, detector: Detector, about: About) -> str:
    """Write weights and return the SHA-256 of the file; the same weights give the same file."""
    return write_state(path, detector, _plain(about))


def load(path: Path) -> tuple[Detector, About]:
    """Return a detector in evaluation mode, and what its weights are.

    Raises:
        ValueError: they are of another network.
    """
    about = _about(read_about(path))
    detector = build(about.config)
    read_state(path, detector)
    return detector.eval(), about


def write_state(path: Path, network: nn.Module, about: dict[str, Any]) -> str:
    """Write the weights of any network with what they are, and return the SHA-256 of the file."""
    state = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items() if not _is_counter(name)}
    save_file(state, str(path), metadata={"about": json.dumps(about, sort_keys=True)})
    return sha256(path)


def read_about(path: Path) -> dict[str, Any]:
    """Return what a file of weights says it is."""
    with safe_open(str(path), framework="pt") as file:
        about: dict[str, Any] = json.loads(file.metadata()["about"])
    return about


def read_state(path: Path, network: nn.Module) -> None:
    """Fill a network with weights.

    Raises:
        ValueError: they are of another network.
    """
    with safe_open(str(path), framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    lacking, unknown = network.load_state_dict(state, strict=False)
    if unknown or any(not _is_counter(name) for name in lacking):
        raise ValueError(f"{path.name} is of another network: lacks {lacking}, has {unknown}")


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _plain(about: About) -> dict[str, Any]:
    return {
        "task": TASK,
        "size": about.config.size,
        "arm": about.config.arm,
        "preset": about.preset,
        "seed": about.seed,
        "threshold": about.threshold,
        "calibration": about.calibration,
        "training_data": about.training_data,
        "version": about.version,
    }


def _about(plain: dict[str, Any]) -> About:
    slope, intercept = plain["calibration"]
    return About(
        config=Config(plain["size"], plain["arm"]),
        preset=plain["preset"],
        seed=plain["seed"],
        threshold=plain["threshold"],
        calibration=(slope, intercept),
        training_data=plain["training_data"],
        version=plain["version"],
    )
