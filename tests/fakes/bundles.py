"""Small real bundles: graphs made with onnx.helper, golden cases by NumPy, signed by keys of the test's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from telemed import bundle_golden
from telemed.bundle_golden import Array, Case

from deploy.bundles import packing
from deploy.bundles.keys import KeyFolder
from deploy.bundles.repository import Repository

SIDE = 16
TASK = "blur"
WORDS = {"zh": "测试", "en": "test"}
Weights = NDArray[np.float32]


def kernel() -> Weights:
    """Return the mean of three by three."""
    return np.full((1, 1, 3, 3), 1 / 9, np.float32)


def model(nodes: Sequence[NodeProto], weights: Mapping[str, Weights], shape: Sequence[int] | None = None) -> ModelProto:
    """Return a model from `image` to `out`, both of one shape."""
    shape = shape or (1, 1, SIDE, SIDE)
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def blur(weights: Weights | None = None) -> ModelProto:
    """Return a two-dimensional blur."""
    node = helper.make_node("Conv", ["image", "kernel"], ["out"], pads=[1, 1, 1, 1])
    return model([node], {"kernel": kernel() if weights is None else weights})


def blurred(image: Array) -> Array:
    """Return what the blur makes of an image, by NumPy alone."""
    padded = np.pad(image.astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    views = [padded[..., y : y + image.shape[2], x : x + image.shape[3]] for y in range(3) for x in range(3)]
    mean: Array = np.mean(views, axis=0)
    return mean.astype(np.float32)


def slow_blur(times: int, channels: int = 48) -> ModelProto:
    """Return a graph with the blur's answer that first works through wide layers for nothing."""
    wide = np.zeros((channels, channels, 3, 3), np.float32)
    nodes = [helper.make_node("Conv", ["image", "first"], ["a0"], pads=[1, 1, 1, 1])]
    nodes += [helper.make_node("Conv", [f"a{n}", "wide"], [f"a{n + 1}"], pads=[1, 1, 1, 1]) for n in range(times)]
    nodes += [
        helper.make_node("Conv", [f"a{times}", "last"], ["nothing"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["image", "kernel"], ["blurred"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["blurred", "nothing"], ["out"]),
    ]
    first, last = np.zeros((channels, 1, 3, 3), np.float32), np.zeros((1, channels, 3, 3), np.float32)
    return model(nodes, {"first": first, "wide": wide, "last": last, "kernel": kernel()})


def divided() -> ModelProto:
    """Return a graph that gives the blur's answer divided by the image: not finite where the image is zero."""
    nodes = [
        helper.make_node("Div", ["image", "image"], ["one"]),
        helper.make_node("Conv", ["image", "kernel"], ["blurred"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["blurred", "one"], ["out"]),
    ]
    return model(nodes, {"kernel": kernel()})


def quantised() -> ModelProto:
    """Return the blur with image and weights rounded to eight bits on the way, over the range of 0 to 1."""
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["image_q"]),
        helper.make_node("DequantizeLinear", ["image_q", "scale", "zero"], ["image_d"]),
        helper.make_node("Conv", ["image_d", "kernel"], ["out"], pads=[1, 1, 1, 1]),
    ]
    made = model(nodes, {"kernel": kernel(), "scale": np.array(1 / 127, np.float32)})
    made.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    return made


def image(seed: int = 0) -> Array:
    """Return an image of random numbers between 0.1 and 1."""
    return np.random.default_rng(seed).uniform(0.1, 1, (1, 1, SIDE, SIDE)).astype(np.float32)


def draft(version: str = "1.0.0", **changes: Any) -> dict[str, Any]:
    """Return the draft of a blur's manifest, with top-level entries replaced."""
    tensor = {"shape": [1, 1, SIDE, SIDE], "dtype": "float32", "unit": "1"}
    graph = {
        "files": {"fp32": "net.onnx"},
        "inputs": [{"name": "image", **tensor}],
        "outputs": [{"name": "out", **tensor}],
        "deadline_s": 5.0,
    }
    return {
        "task": TASK,
        "version": version,
        "graphs": {"net": graph},
        "preprocessing": "none/1",
        "postprocessing": "none/1",
        "thresholds": {"score": 0.5},
        "intended_use": WORDS,
        "limits": WORDS,
        "trained_on": "synthetic phantom",
        "training_data": WORDS,
        "metrics": {},
        "golden": [{"graph": "net", "file": "golden/0.npz"}],
        "tolerance": {"fp32": 1e-4},
    } | changes


@dataclass(slots=True)
class Maker:
    """Makes bundles of one root of trust below a folder."""

    folder: Path
    repository: Repository = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.repository = Repository(self.folder / "repository", KeyFolder(self.folder / "keys"))
        self.repository.begin()
        self.repository.add_task(TASK)

    @property
    def root(self) -> bytes:
        """What nodes are given."""
        return self.repository.root()

    def fill(self, graph: ModelProto | bytes | None = None, case: Case | None = None) -> Path:
        """Return a new folder with the files of a blur."""
        self._count += 1
        folder = self.folder / f"draft-{self._count}"
        (folder / "golden").mkdir(parents=True)
        made = blur() if graph is None else graph
        (folder / "net.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
        given = image()
        bundle_golden.write(folder / "golden/0.npz", case or Case({"image": given}, {"out": blurred(given)}))
        return folder

    def pack(self, version: str = "1.0.0", graph: ModelProto | None = None, **changes: Any) -> Path:
        """Return the file of a bundle that is current from now on."""
        folder = self.fill(graph)
        out = folder.with_suffix(".bundle")
        packing.pack(draft(version, **changes), folder, self.repository, out)
        return out
