"""The released detector, opened and measured without torch: what the repository carries is what it says it is."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from telemed.recipes.cmb import Settings, settings_of

from models.tasks.cmb.evaluation import Read
from models.tasks.cmb.graphs import OnnxGraph, onnx_graph

FOLDER = Path(__file__).parent / "release"
SAMPLE = "sample.json"
SAMPLE_HEADS = 6
_SAMPLED_CANDIDATES = 5


class Altered(ValueError):
    """A graph is not the one that its side-car was written for."""


@dataclass(frozen=True, slots=True)
class Released:
    """A graph and what the recipe must know of it."""

    graph: OnnxGraph
    settings: Settings
    side_car: dict[str, Any]


def opened(path: Path) -> Released:
    """Return a graph with its side-car.

    Raises:
        Altered: the file's hash is not the side-car's.
    """
    side_car: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if hashlib.sha256(path.read_bytes()).hexdigest() != side_car["graph"]["sha256"]:
        raise Altered(f"{path.name} is not the graph that its side-car was written for")
    return Released(onnx_graph(path), settings_of(side_car["settings"]), side_car)


def sampled(read: Read) -> list[list[float]]:
    """Return where a detector points first in a subject, and how surely: LPS millimetres and log odds."""
    best = read.candidates[:_SAMPLED_CANDIDATES]
    return [[round(number, 4) for number in (*candidate.centre_mm, candidate.logit)] for candidate in best]
