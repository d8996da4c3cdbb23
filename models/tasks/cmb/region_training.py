"""Training of the region network on slabs of made-up heads whose region maps are known."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from telemed.ai_result import PHANTOM
from telemed.recipes.cmb_regions import Layout, Region, RegionMap, layout
from torch import Tensor
from torch.nn import functional

from models.phantoms.drawing import in_parallel
from models.phantoms.swi_head import head
from models.tasks.cmb.cases import Case
from models.tasks.cmb.region_network import RegionConfig, RegionNet
from models.tasks.cmb.training import Tell
from models.tasks.cmb.weights import VERSION, read_about, read_state, write_state

TASK = "cmb-regions"


@dataclass(frozen=True, slots=True)
class RegionCase:
    """One prepared head with its region map on the same grid."""

    case: Case
    seen: Layout
    regions: RegionMap


@dataclass(frozen=True, slots=True)
class RegionSchedule:
    """How long and how hard."""

    steps: int = 400
    batch: int = 1
    peak_rate: float = 4e-3
    heads: int = 16
    """Made-up heads that a run is trained on."""
    device: str = "cpu"
    """As torch names it: "cpu" or "cuda"."""


def region_cases(preset: str, seeds: range, subjects: Sequence[Case], config: RegionConfig) -> tuple[RegionCase, ...]:
    """Return subjects, which are the heads of these seeds, with their region maps."""
    drawn = in_parallel(partial(_regions, preset), seeds)
    return tuple(
        RegionCase(case, layout(case.prepared, config.window), _on_grid(regions, case))
        for regions, case in zip(drawn, subjects, strict=True)
    )


def train_regions(
    config: RegionConfig,
    subjects: Sequence[RegionCase],
    seed: int,
    schedule: RegionSchedule,
    tell: Tell = lambda _: None,
) -> RegionNet:
    """Train one region network; the same seed and subjects give the same weights on the same machine."""
    device = torch.device(schedule.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    network = RegionNet(config)
    network.to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=schedule.peak_rate)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, schedule.peak_rate, total_steps=schedule.steps)
    for step, (slabs, truth) in enumerate(_batches(subjects, config, seed, schedule)):
        loss = region_loss(network(torch.from_numpy(slabs).to(device)), torch.from_numpy(truth).to(device))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        rates.step()
        if (step + 1) % 25 == 0:
            tell(f"step {step + 1}/{schedule.steps}  loss {loss.item():.3f}")
    network.eval()
    return network


def region_loss(told: Tensor, truth: Tensor) -> Tensor:
    """Return cross-entropy plus what is lacking to full overlap, averaged over the regions."""
    likely = torch.softmax(told, dim=1)
    wanted = functional.one_hot(truth, len(Region)).movedim(-1, 1).to(likely.dtype)
    voxels = (0, 2, 3, 4)
    shared = (likely * wanted).sum(dim=voxels)
    overlap = (2 * shared + 1) / (likely.sum(dim=voxels) + wanted.sum(dim=voxels) + 1)
    return functional.cross_entropy(told, truth) + (1 - overlap.mean())


def save_regions(path: Path, network: RegionNet, config: RegionConfig, preset: str, seed: int) -> str:
    """Write weights and return the SHA-256 of the file."""
    about = {"task": TASK, "preset": preset, "seed": seed, "training_data": PHANTOM, "version": VERSION}
    return write_state(path, network, about | asdict(config))


def load_regions(path: Path) -> tuple[RegionNet, RegionConfig, dict[str, Any]]:
    """Return a region network in evaluation mode, its configuration, and what its weights say they are.

    Raises:
        ValueError: they are of another network.
    """
    about = read_about(path)
    if about["task"] != TASK:
        raise ValueError(f"{path.name} is of task {about['task']}, not {TASK}")
    one, two, four = about["channels"]
    slices, rows, columns = about["window"]
    config = RegionConfig((one, two, four), (slices, rows, columns))
    network = RegionNet(config)
    read_state(path, network)
    return network.eval(), config, about


def _batches(
    subjects: Sequence[RegionCase], config: RegionConfig, seed: int, schedule: RegionSchedule
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    random = np.random.default_rng([78, seed])
    for _ in range(schedule.steps):
        drawn = [_slab(subjects[int(random.integers(len(subjects)))], config, random) for _ in range(schedule.batch)]
        yield np.stack([slab for slab, _ in drawn]), np.stack([truth for _, truth in drawn])


def _slab(
    subject: RegionCase, config: RegionConfig, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    starts = [
        int(random.integers(0, extent - size + 1))
        for extent, size in zip(subject.regions.shape, config.window, strict=True)
    ]
    cut = tuple(slice(low, low + size) for low, size in zip(starts, config.window, strict=True))
    slab = subject.seen.channels[(slice(None), *cut)].copy()
    truth = subject.regions[cut].astype(np.int64)
    if random.random() < 0.5:
        # Left becomes right; where in the brain's box a voxel lies stays as it is.
        slab[:2] = slab[:2, ..., ::-1]
        truth = truth[..., ::-1]
    slab[:2] += random.normal(0, 0.02, slab[:2].shape).astype(np.float32)
    return slab, np.ascontiguousarray(truth)


def _regions(preset: str, seed: int) -> RegionMap:
    return head(seed, preset).regions


def _on_grid(regions: RegionMap, case: Case) -> RegionMap:
    if regions.shape != case.prepared.mask.shape:
        raise ValueError("a head and its prepared volume must have one grid")
    return regions
