"""From weights to graphs with side-cars: the detector's and the region network's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from telemed.recipes import cmb as recipe
from telemed.recipes import cmb_regions as region_recipe
from telemed.recipes.volume import Volume
from torch import nn

from models.export import graph
from models.tasks.cmb.card import INTENDED_USE, LIMITS
from models.tasks.cmb.evaluation import Graph
from models.tasks.cmb.graphs import INPUT, OUTPUTS, REGION_INPUT, REGION_OUTPUT, onnx_graph, region_graph
from models.tasks.cmb.network import SIZES, STRIDE
from models.tasks.cmb.records import write_json
from models.tasks.cmb.region_network import INPUTS
from models.tasks.cmb.region_training import load_regions
from models.tasks.cmb.weights import TASK, VERSION, TorchGraph, load, sha256

_INPUT_UNIT = "SWI 0 to 1, phase over pi -1 to 1, both 0 outside the brain"
_UNITS = ("log odds", "shift in anchor edges along slice, row and column; log of size over anchor")
_REGION_INPUT_UNIT = f"{_INPUT_UNIT}; then how far along slice, row and column of the brain's box, -1 to 1"


def export_detector(weights: Path, path: Path) -> dict[str, Any]:
    """Write a detector as an ONNX graph and a side-car beside it; return the side-car.

    Raises:
        ValueError: the graph may not be released, or does not compute what the weights do.
    """
    detector, about = load(weights)
    settings = about.settings()
    example = _example(2, settings.window_shape)
    _write(detector, example, ([INPUT], OUTPUTS), path)
    apart = parity(TorchGraph(detector), onnx_graph(path), example.numpy())
    size = SIZES[about.config.size]
    record = {
        "window_voxels": list(settings.window_shape),
        "spacing_mm": size.spacing_mm,
        "stride_voxels": STRIDE,
        "anchors_mm": list(size.anchors_mm),
        "threshold": about.threshold,
        "calibration": list(about.calibration),
    }
    parts = {"task": TASK, "graph": _graph_record(path, apart, ([_INPUT_UNIT], _UNITS)), "settings": record}
    return _side_car(weights, path, about.training_data, (recipe.PREPARE, recipe.DECODE), parts)


def export_regions(weights: Path, path: Path) -> dict[str, Any]:
    """Write a region network as an ONNX graph and a side-car beside it; return the side-car.

    Raises:
        ValueError: the graph may not be released, or does not compute what the weights do.
    """
    network, config, about = load_regions(weights)
    example = _example(INPUTS, config.window)
    _write(network, example, ([REGION_INPUT], [REGION_OUTPUT]), path)
    with torch.inference_mode():
        apart = float(np.abs(network(example).numpy() - region_graph(path)(example.numpy())).max())
    units = ([_REGION_INPUT_UNIT], ["log odds of none, lobar, deep, infratentorial"])
    record = {"window_voxels": list(config.window), "reach_mm": region_recipe.REACH_MM}
    parts = {"task": about["task"], "graph": _graph_record(path, apart, units), "settings": record}
    return _side_car(weights, path, about["training_data"], (region_recipe.PREPARE, region_recipe.DECODE), parts)


def parity(first: Graph, second: Graph, window: Volume) -> float:
    """Return the most that two runs of a detector differ in any output of one window."""
    one, other = first(window), second(window)
    return float(max(abs(one.objectness - other.objectness).max(), abs(one.deltas - other.deltas).max()))


def _example(channels: int, window: tuple[int, int, int]) -> torch.Tensor:
    return torch.rand(1, channels, *window, generator=torch.Generator().manual_seed(0))


def _write(network: nn.Module, example: torch.Tensor, names: tuple[Sequence[str], Sequence[str]], path: Path) -> None:
    graph.write(network, example, names, path)
    if said := graph.refusals(path):
        raise ValueError("; ".join(said))


def _graph_record(path: Path, apart: float, units: tuple[Sequence[str], Sequence[str]]) -> dict[str, Any]:
    if not apart < graph.PARITY:
        raise ValueError(f"the graph differs from the weights by {apart:g}")
    model = onnx.load(str(path))
    return {
        "file": path.name,
        "sha256": sha256(path),
        "opset": graph.OPSET,
        "operators": sorted(graph.operators(model)),
        "inputs": [_told(*pair) for pair in zip(model.graph.input, units[0], strict=True)],
        "outputs": [_told(*pair) for pair in zip(model.graph.output, units[1], strict=True)],
        "tolerance": graph.PARITY,
        "parity": apart,
    }


def _side_car(
    weights: Path, path: Path, training_data: str, recipes: tuple[str, str], parts: dict[str, Any]
) -> dict[str, Any]:
    side_car = {
        "version": VERSION,
        "recipes": {"prepare": recipes[0], "decode": recipes[1]},
        "weights_sha256": sha256(weights),
        "training_data": training_data,
        "intended_use": INTENDED_USE,
        "limits": LIMITS,
        **parts,
    }
    write_json(path.with_suffix(".json"), side_car)
    return side_car


def _told(value: onnx.ValueInfoProto, unit: str) -> dict[str, Any]:
    return {"name": value.name, "shape": list(graph.shape(value)), "dtype": "float32", "unit": unit}
