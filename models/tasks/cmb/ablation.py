"""Baseline, fusion and hard-sample prototypes against each other, on the same heads; failures are told as such.

Then what the anatomical filter does to each of them, and what no phase, or slices in no order, do to the last arm.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.detection.froc import Judged, false_at
from models.tasks.cmb import region_task, task
from models.tasks.cmb.ablation_report import Row, number, told
from models.tasks.cmb.cases import DISTORTIONS, TEST_SEEDS, Distortion, cases
from models.tasks.cmb.evaluation import SENSITIVITY, Read, difference, figures, read
from models.tasks.cmb.network import ARMS, Arm, Config
from models.tasks.cmb.records import figures_record, write_json
from models.tasks.cmb.region_network import RegionConfig
from models.tasks.cmb.region_training import RegionSchedule, load_regions
from models.tasks.cmb.training import Schedule, Tell
from models.tasks.cmb.weights import TorchGraph, load, sha256

STEPS: tuple[tuple[Arm, Arm], ...] = (("rpn", "ffm"), ("ffm", "ffm-hspl"), ("rpn", "ffm-hspl"))
_REGION_SEED = 0

Reads = dict[tuple[Arm, int], tuple[Read, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared, and where runs lie."""

    preset: str
    seeds: Sequence[int]
    schedule: Schedule
    out: Path


def run(plan: Plan, tell: Tell) -> str:
    """Train what is not there yet, measure all of it, write ablation.json and ABLATION.md, return the latter."""
    rows: list[Row] = []
    reads: Reads = {}
    for seed in plan.seeds:
        for arm in ARMS:
            metrics = _trained(plan, arm, seed, tell)
            reads[arm, seed] = _read(plan, arm, seed, "none")
            rows.append({"arm": arm, "seed": seed, "threshold": metrics["threshold"], "test": metrics["test"]})
    record = {
        "preset": plan.preset,
        "steps": plan.schedule.steps,
        "heads": len(TEST_SEEDS),
        "rows": rows,
        "compared": [_compared(earlier, later, plan.seeds, reads) for earlier, later in STEPS],
        "distorted": [_distorted(plan, rows[len(ARMS) - 1], how) for how in DISTORTIONS if how != "none"],
        "filter": _filter(plan, rows, reads, tell),
    }
    path = plan.out / "ablation.json"
    write_json(path, record)
    # Told of what was written, whose keys are in another order.
    report = told(json.loads(path.read_text(encoding="utf-8")))
    (plan.out / "ABLATION.md").write_text(report, encoding="utf-8")
    return report


def _trained(plan: Plan, arm: Arm, seed: int, tell: Tell) -> dict[str, Any]:
    """Return the metrics of a run, from its folder where it was done before with this very schedule."""
    folder = plan.out / f"{arm}-{seed}"
    path = folder / task.METRICS
    if path.exists():
        metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if metrics["preset"] == plan.preset and metrics["trained"]["steps"] == plan.schedule.steps:
            return metrics
    tell(f"training {arm} with seed {seed}")
    config = Config("tiny", arm)
    return task.train(config, task.phantoms(config, plan.preset, seed), seed, folder, plan.schedule, tell)


def _read(plan: Plan, arm: Arm, seed: int, distortion: Distortion) -> tuple[Read, ...]:
    detector, about = load(plan.out / f"{arm}-{seed}" / task.WEIGHTS)
    subjects = cases(plan.preset, TEST_SEEDS, Config().settings(), distortion)
    return read(TorchGraph(detector), subjects, about.settings())


def _compared(earlier: Arm, later: Arm, seeds: Sequence[int], reads: Reads) -> Row:
    each, intervals = [], []
    for seed in seeds:
        first, second = reads[earlier, seed], reads[later, seed]
        each.append(_false([one.judged for one in second]) - _false([one.judged for one in first]))
        intervals.append(difference(first, second, _false))
    mean = sum(each) / len(each)
    return {
        "earlier": earlier,
        "later": later,
        "mean": number(mean),
        "each": [number(value) for value in each],
        "intervals": [[number(low), number(high)] for low, high in intervals],
    }


def _filter(plan: Plan, rows: Sequence[Row], reads: Reads, tell: Tell) -> Row:
    """Return what the anatomical filter makes of every run, with one region network for all."""
    folder = plan.out / f"regions-{_REGION_SEED}"
    if not (folder / region_task.WEIGHTS).exists():
        tell("training the region network")
        region_task.train(RegionConfig(), plan.preset, _REGION_SEED, folder, RegionSchedule(), tell)
    network, config, about = load_regions(folder / region_task.WEIGHTS)
    subjects = region_task.phantoms(config, plan.preset, TEST_SEEDS)
    maps = region_task.maps_of(network, subjects)
    result = []
    for row in rows:
        left, regions = region_task.after_filter(maps, reads[row["arm"], row["seed"]], subjects, row["threshold"])
        told_figures = figures_record(figures(left, row["threshold"]))
        result.append({"arm": row["arm"], "seed": row["seed"], "test": told_figures, "regions": regions})
    return {"regions_sha256": sha256(folder / region_task.WEIGHTS), "seed": about["seed"], "rows": result}


def _distorted(plan: Plan, row: Row, how: Distortion) -> Row:
    found = figures(_read(plan, row["arm"], row["seed"], how), row["threshold"])
    return {"arm": row["arm"], "seed": row["seed"], "how": how, "test": figures_record(found)}


def _false(subjects: Sequence[Judged]) -> float:
    return false_at(subjects, SENSITIVITY)
