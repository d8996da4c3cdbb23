"""The region network from training to release, and what its filter does to a detector's findings."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from telemed.ai_result import PHANTOM
from telemed.recipes.cmb_regions import RegionMap
from telemed.recipes.volume import Volume

from models.tasks.cmb.card import LIMITS
from models.tasks.cmb.cases import TEST_SEEDS, cases, training_seeds
from models.tasks.cmb.evaluation import Read
from models.tasks.cmb.network import Config
from models.tasks.cmb.records import write_json
from models.tasks.cmb.region_evaluation import filtered, maps, region_figures
from models.tasks.cmb.region_network import RegionConfig, RegionNet
from models.tasks.cmb.region_overlap import dice
from models.tasks.cmb.region_training import (
    TASK,
    RegionCase,
    RegionSchedule,
    region_cases,
    save_regions,
    train_regions,
)
from models.tasks.cmb.training import Tell, machine

WEIGHTS, METRICS, ONNX = "regions.safetensors", "regions-metrics.json", "regions.onnx"
CARD = "REGIONS-CARD.md"


@dataclass(frozen=True, slots=True)
class TorchRegionGraph:
    """A region network in torch."""

    network: RegionNet

    def __call__(self, window: Volume) -> Volume:
        """Return what it says of one window."""
        device = next(self.network.parameters()).device
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            told: Volume = self.network(torch.from_numpy(window).to(device)).cpu().numpy()
        return told


def phantoms(config: RegionConfig, preset: str, seeds: range) -> tuple[RegionCase, ...]:
    """Return made-up heads with their region maps."""
    return region_cases(preset, seeds, cases(preset, seeds, Config().settings()), config)


def train(
    config: RegionConfig, preset: str, seed: int, out: Path, schedule: RegionSchedule, tell: Tell = lambda _: None
) -> dict[str, Any]:
    """Train a region network and write weights, metrics and card into a folder; return the metrics."""
    network = train_regions(
        config, phantoms(config, preset, training_seeds(seed, schedule.heads)), seed, schedule, tell
    )
    test = phantoms(config, preset, TEST_SEEDS)
    told = maps_of(network, test)
    out.mkdir(parents=True, exist_ok=True)
    metrics = {
        "task": TASK,
        "preset": preset,
        "seed": seed,
        "training_data": PHANTOM,
        "schedule": asdict(schedule),
        "machine": machine(torch.device(schedule.device)),
        "weights_sha256": save_regions(out / WEIGHTS, network, config, preset, seed),
        "test_dice": {name: round(value, 4) for name, value in dice(told, [each.regions for each in test]).items()},
    }
    write_json(out / METRICS, metrics)
    (out / CARD).write_text(card(metrics), encoding="utf-8")
    return metrics


def card(metrics: dict[str, Any]) -> str:
    """Return the model card."""
    schedule = metrics["schedule"]
    options = " ".join(f"--{name} {schedule[name]}" for name in ("heads", "steps", "batch", "device"))
    overlaps = "\n".join(f"| {name} | {value:.3f} |" for name, value in metrics["test_dice"].items())
    return f"""# Regions of cerebral microbleeds

**Training data: {metrics["training_data"]}.** {LIMITS}

Intended use: tells whether a place that the detector points to is lobar, deep or infratentorial, and takes away what
has no brain tissue around it. What it takes away is kept in the log.

| | |
| --- | --- |
| input | SWI, phase and place in the brain's box, 5 channels, slabs of 16 x 48 x 48 voxels of 1 mm |
| recipes | `cmb-regions-prepare-1`, `cmb-regions-decode-1` |
| trained on | {schedule["heads"]} heads of preset `{metrics["preset"]}`, seed {metrics["seed"]}, \
{schedule["steps"]} steps of {schedule["batch"]} slabs |
| trained by | {metrics["machine"]} |
| weights | SHA-256 `{metrics["weights_sha256"]}` |

| region | Dice on {len(TEST_SEEDS)} test heads |
| --- | --- |
{overlaps}

Made with `python -m models train cmb-regions --preset {metrics["preset"]} --seed {metrics["seed"]} {options}`.
"""


def maps_of(network: RegionNet, subjects: Sequence[RegionCase]) -> tuple[RegionMap, ...]:
    """Return the region map that a network tells of each subject."""
    return maps(TorchRegionGraph(network), subjects)


def after_filter(
    told: Sequence[RegionMap], reads: Sequence[Read], subjects: Sequence[RegionCase], threshold: float
) -> tuple[tuple[Read, ...], dict[str, Any]]:
    """Return what the filter leaves of a detector's readings, and how well regions are told."""
    found = region_figures(reads, told, [each.regions for each in subjects], threshold)
    return filtered(reads, told), asdict(found)
