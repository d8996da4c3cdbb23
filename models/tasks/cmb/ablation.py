"""Baseline, fusion and hard-sample prototypes against each other, on the same heads; failures are told as such.

Then what the anatomical filter does to each of them, what slices in no order do to the last arm, and what no phase does
to it and to weights that were trained without any.
"""

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
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
LAST: Arm = ARMS[-1]
_REGION_SEED = 0

Reads = dict[tuple[Arm, int], tuple[Read, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compared, and where runs lie."""

    preset: str
    seeds: Sequence[int]
    schedule: Schedule
    out: Path
    jobs: int = 1
    """Runs at a time."""


@dataclass(frozen=True, slots=True)
class Run:
    """One training run of a plan."""

    arm: Arm
    seed: int
    distortion: Distortion = "none"

    @property
    def folder(self) -> str:
        """Where it lies in the plan's folder."""
        return f"{self.arm}-{self.seed}" + ("" if self.distortion == "none" else f"-{self.distortion}")


def runs(plan: Plan) -> list[Run]:
    """Return what a plan trains: every arm with every seed, and the last arm without phase."""
    every = [Run(arm, seed) for seed in plan.seeds for arm in ARMS]
    return every + [Run(LAST, seed, "no-phase") for seed in plan.seeds]


def run(plan: Plan, tell: Tell) -> str:
    """Train what is not there yet, measure all of it, write ablation.json and ABLATION.md, return the latter."""
    trained = _all_trained(plan, tell)
    rows: list[Row] = []
    reads: Reads = {}
    for each in runs(plan):
        if each.distortion == "none":
            metrics = trained[each]
            tell(f"measuring {each.folder}")
            reads[each.arm, each.seed] = found = _read(plan, each, "none")
            test = figures_record(figures(found, metrics["threshold"]))
            rows.append({"arm": each.arm, "seed": each.seed, "threshold": metrics["threshold"], "test": test})
    record = {
        "preset": plan.preset,
        "steps": plan.schedule.steps,
        "schedule": asdict(plan.schedule),
        "machine": sorted({metrics["trained"]["machine"] for metrics in trained.values()}),
        "heads": len(TEST_SEEDS),
        "rows": rows,
        "pooled": [_pooled(arm, plan.seeds, reads) for arm in ARMS],
        "compared": [_compared(earlier, later, plan.seeds, reads) for earlier, later in STEPS],
        "distorted": _distorted(plan, rows),
        "magnitude": [_magnitude(plan, each, trained[each]) for each in runs(plan) if each.distortion != "none"],
        "filter": _filter(plan, rows, reads, tell),
    }
    path = plan.out / "ablation.json"
    write_json(path, record)
    # Told of what was written, whose keys are in another order.
    report = told(json.loads(path.read_text(encoding="utf-8")))
    (plan.out / "ABLATION.md").write_text(report, encoding="utf-8")
    return report


def _all_trained(plan: Plan, tell: Tell) -> dict[Run, dict[str, Any]]:
    missing = [each for each in runs(plan) if _metrics(plan, each) is None]
    # Before there are several processes, which then share them.
    for each in missing:
        task.phantoms(Config("tiny", each.arm), plan.preset, each.seed, plan.schedule.heads, each.distortion)
    if plan.jobs == 1:
        for each in missing:
            tell(f"training {each.folder}")
            _train(plan, tell, each)
    elif missing:
        # No process has touched a card yet: each takes hold of it by itself.
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(plan.jobs, mp_context=context) as pool:
            list(pool.map(partial(_train, plan, tell), missing))
    found = {each: _metrics(plan, each) for each in runs(plan)}
    return {each: metrics for each, metrics in found.items() if metrics is not None}


def _train(plan: Plan, tell: Tell, each: Run) -> None:
    config = Config("tiny", each.arm)
    data = task.phantoms(config, plan.preset, each.seed, plan.schedule.heads, each.distortion)
    told_as = partial(_tell_of, tell, each.folder)
    task.train(config, data, each.seed, plan.out / each.folder, plan.schedule, told_as)


def _tell_of(tell: Tell, name: str, line: str) -> None:
    tell(f"{name}: {line}")


def _metrics(plan: Plan, each: Run) -> dict[str, Any] | None:
    """Return the metrics of a run that was done before with this very schedule; None where it was not."""
    path = plan.out / each.folder / task.METRICS
    if not path.exists():
        return None
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    same = metrics["preset"] == plan.preset and metrics["trained"]["schedule"] == asdict(plan.schedule)
    return metrics if same else None


def _read(plan: Plan, each: Run, distortion: Distortion) -> tuple[Read, ...]:
    detector, about = load(plan.out / each.folder / task.WEIGHTS)
    subjects = cases(plan.preset, TEST_SEEDS, Config().settings(), distortion)
    return read(TorchGraph(detector), subjects, about.settings())


def _pooled(arm: Arm, seeds: Sequence[int], reads: Reads) -> Row:
    """Return the false findings a head at 0.90 sensitivity over the readings of all seeds, and each seed's mean."""
    each = [[one.judged for one in reads[arm, seed]] for seed in seeds]
    every = [judged for one in each for judged in one]
    mean = sum(_false(one) for one in each) / len(each)
    return {"arm": arm, "false_at_90": number(_false(every)), "mean": number(mean)}


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
    pooled: dict[Arm, list[Judged]] = {arm: [] for arm in ARMS}
    for row in rows:
        left, regions = region_task.after_filter(maps, reads[row["arm"], row["seed"]], subjects, row["threshold"])
        pooled[row["arm"]] += [each.judged for each in left]
        told_figures = figures_record(figures(left, row["threshold"]))
        result.append({"arm": row["arm"], "seed": row["seed"], "test": told_figures, "regions": regions})
    return {
        "regions_sha256": sha256(folder / region_task.WEIGHTS),
        "seed": about["seed"],
        "rows": result,
        "pooled": [{"arm": arm, "false_at_90": number(_false(each))} for arm, each in pooled.items()],
    }


def _distorted(plan: Plan, rows: Sequence[Row]) -> list[Row]:
    found = []
    for row in rows:
        if row["arm"] == LAST:
            for how in DISTORTIONS:
                if how != "none":
                    reads = _read(plan, Run(row["arm"], row["seed"]), how)
                    test = figures_record(figures(reads, row["threshold"]))
                    found.append({"arm": row["arm"], "seed": row["seed"], "how": how, "test": test})
    return found


def _magnitude(plan: Plan, each: Run, metrics: dict[str, Any]) -> Row:
    """Return the figures of weights that were trained without phase, on heads without phase."""
    reads = _read(plan, each, each.distortion)
    test = figures_record(figures(reads, metrics["threshold"]))
    return {"arm": each.arm, "seed": each.seed, "threshold": metrics["threshold"], "test": test}


def _false(subjects: Sequence[Judged]) -> float:
    return false_at(subjects, SENSITIVITY)
