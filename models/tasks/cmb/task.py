"""The seven entry points of the task: build, preprocess, train, evaluate, export, postprocess, results."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telemed.recipes import cmb as recipe

from models.tasks.cmb import exporting, network
from models.tasks.cmb.card import card, training_record
from models.tasks.cmb.cases import (
    TEST_SEEDS,
    TRAINING_VOLUMES,
    VALIDATION_SEEDS,
    Case,
    Distortion,
    cases,
    training_seeds,
)
from models.tasks.cmb.evaluation import calibration, figures, operating_point, read
from models.tasks.cmb.network import Config
from models.tasks.cmb.records import figures_record, write_json
from models.tasks.cmb.released import SAMPLE, SAMPLE_HEADS, opened, sampled
from models.tasks.cmb.training import Schedule, Tell, train_detector
from models.tasks.cmb.weights import TASK, About, TorchGraph, load, save

WEIGHTS, METRICS, CARD, ONNX = "weights.safetensors", "metrics.json", "CARD.md", "detector.onnx"

build = network.build
preprocess = recipe.prepare
export = exporting.export_detector
postprocess = recipe.decode
results = recipe.results


@dataclass(frozen=True, slots=True)
class Data:
    """The subjects of one training run; no subject is in two of the three."""

    preset: str
    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    test: tuple[Case, ...]
    distortion: Distortion = "none"


def phantoms(
    config: Config, preset: str, seed: int, heads: int = TRAINING_VOLUMES, distortion: Distortion = "none"
) -> Data:
    """Return the made-up subjects of a run."""
    settings = config.settings()
    return Data(
        preset,
        cases(preset, training_seeds(seed, heads), settings, distortion),
        cases(preset, VALIDATION_SEEDS, settings, distortion),
        cases(preset, TEST_SEEDS, settings, distortion),
        distortion,
    )


def train(
    config: Config, data: Data, seed: int, out: Path, schedule: Schedule | None = None, tell: Tell = lambda _: None
) -> dict[str, Any]:
    """Train a detector and write weights, metrics and card into a folder; return the metrics.

    The threshold and the calibration come from the validation subjects; the test subjects are only reported.
    """
    schedule = schedule or Schedule()
    trained = train_detector(config, data.training, seed, schedule, tell)
    graph_of_torch = TorchGraph(trained.detector)
    validation = read(graph_of_torch, data.validation, config.settings())
    about = About(config, data.preset, seed, operating_point(validation), calibration(validation))
    tell("measuring ...")
    test = read(graph_of_torch, data.test, about.settings())
    out.mkdir(parents=True, exist_ok=True)
    metrics = {
        "task": TASK,
        "version": about.version,
        "size": config.size,
        "arm": config.arm,
        "preset": data.preset,
        "seed": seed,
        "heads": len(data.training),
        "distortion": data.distortion,
        "training_data": about.training_data,
        "weights_sha256": save(out / WEIGHTS, trained.detector, about),
        "threshold": about.threshold,
        "calibration": list(about.calibration),
        "trained": training_record(trained, schedule),
        "validation": figures_record(figures(validation, about.threshold)),
        "test": figures_record(figures(test, about.threshold)),
    }
    write_json(out / METRICS, metrics)
    (out / CARD).write_text(card(about, metrics), encoding="utf-8")
    return metrics


def evaluate(weights: Path, data: Sequence[Case]) -> dict[str, Any]:
    """Return the figures of weights, or of a graph with its side-car beside it, on these subjects."""
    if weights.suffix == ".onnx":
        released = opened(weights)
        return figures_record(figures(read(released.graph, data, released.settings), released.settings.threshold))
    loaded, about = load(weights)
    detector, settings = TorchGraph(loaded), about.settings()
    return figures_record(figures(read(detector, data, settings), settings.threshold))


def settings(weights: Path) -> recipe.Settings:
    """Return what the recipe must know of weights or of a graph."""
    return opened(weights).settings if weights.suffix == ".onnx" else load(weights)[1].settings()


def release(run: Path, folder: Path) -> dict[str, Any]:
    """Put a training run where the repository carries the detector: weights, figures, card, graph, and a sample.

    The sample is what the graph says of the first test heads, so that anyone can see whether it still says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, METRICS, CARD):
        (folder / name).write_bytes((run / name).read_bytes())
    side_car = export(folder / WEIGHTS, folder / ONNX)
    released = opened(folder / ONNX)
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    subjects = cases(metrics["preset"], TEST_SEEDS[:SAMPLE_HEADS], released.settings)
    sample = [sampled(each) for each in read(released.graph, subjects, released.settings)]
    (folder / SAMPLE).write_text(json.dumps(sample, indent=1) + "\n", encoding="utf-8")
    return side_car
