"""The exported graphs as ONNX Runtime runs it: what the edge will see, without torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from telemed.recipes.cmb import RawOutput
from telemed.recipes.volume import Volume

INPUT = "volume"
OUTPUTS = ("objectness", "deltas")
REGION_INPUT, REGION_OUTPUT = "slab", "regions"


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A detector in ONNX Runtime on one thread."""

    session: onnxruntime.InferenceSession

    def __call__(self, window: Volume) -> RawOutput:
        """Return what it says of one window."""
        objectness, deltas = self.session.run(list(OUTPUTS), {INPUT: window})
        return RawOutput(objectness, deltas)


def onnx_graph(path: Path) -> OnnxGraph:
    """Return the detector of a file."""
    return OnnxGraph(_session(path))


@dataclass(frozen=True, slots=True)
class OnnxRegionGraph:
    """A region network in ONNX Runtime on one thread."""

    session: onnxruntime.InferenceSession

    def __call__(self, window: Volume) -> Volume:
        """Return what it says of one window, [1, regions, slice, row, column]."""
        (told,) = self.session.run([REGION_OUTPUT], {REGION_INPUT: window})
        return np.asarray(told, dtype=np.float32)


def region_graph(path: Path) -> OnnxRegionGraph:
    """Return the region network of a file."""
    return OnnxRegionGraph(_session(path))


def _session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
