"""The port to whatever runs a graph, and the names of what does.

Two libraries stand behind it, ONNX Runtime everywhere and TensorRT where there is a GPU; both live in the worker
process.  A graph's weights, shapes and answers are the bundle's; how fast it is run is the engine's alone.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from telemed.bundle import Graph, Precision
from telemed.bundle_golden import Arrays


class Library(StrEnum):
    """What runs graphs; stored with every result, never reworded."""

    ONNXRUNTIME_CPU = "onnxruntime-cpu"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


BUILT = frozenset({Library.TENSORRT, Library.TENSORRT_RTX})
"""What builds an engine on the node before it can run anything: minutes, once, then it is kept."""


@dataclass(frozen=True, slots=True)
class Choice:
    """By what and in which precision a bundle is run."""

    library: Library
    precision: Precision

    def __str__(self) -> str:
        return f"{self.library}/{self.precision}"


EVERYWHERE = Choice(Library.ONNXRUNTIME_CPU, "fp32")
"""Runs on every node, and serves while anything faster is being made or has failed."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A library that this machine has."""

    library: Library
    version: str
    device: str
    """Name of the processor or card, with what an engine depends on (compute capability, driver)."""


class Engine(Protocol):
    """One graph, loaded; used by one thread."""

    def run(self, inputs: Arrays) -> Arrays:
        """Return the outputs of one run.

        Raises:
            EngineBroke: it could not be run.
        """

    def close(self) -> None:
        """Let go of its memory; idempotent."""


class EngineBroke(Exception):
    """A library could not load or run a graph; whatever it raised is translated into this, with its words."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All that an engine is made from."""

    bundle_id: str
    name: str
    graph: Graph
    model: bytes
    """The ONNX file as it was checked; the file itself is not read again."""
    precision: Precision
    threads: int
    cache: Path
    """Folder of the engines of this bundle that were built on this node; what all bundles share lies beside it."""
    may_build: bool
    """Whether an engine that is not in the cache is built, which takes minutes; else there is none."""
