"""What the node and a worker process say to each other: one JSON object a line, over pipes; arrays go by the arena."""

from dataclasses import dataclass

from edge_node import child

LINE_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Load:
    """First line to the worker: what it is for."""

    folder: str
    bundle_id: str
    library: str
    precision: str
    threads: int
    memory_mib: int
    cache: str
    may_build: bool
    arena: int
    """Number of the shared memory's descriptor."""


@dataclass(frozen=True, slots=True)
class Run:
    """To the worker: the inputs of a graph are in the arena."""

    graph: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """From the worker: all graphs are ready."""

    version: str
    device: str


@dataclass(frozen=True, slots=True)
class Done:
    """From the worker: the outputs are in the arena."""


@dataclass(frozen=True, slots=True)
class Failed:
    """From the worker: why it did not load, or why a run gave nothing."""

    reason: str
    detail: str


Line = Load | Run | Loaded | Done | Failed
_KINDS = child.named(Load, Run, Loaded, Done, Failed)
pack = child.pack


def unpack(raw: bytes) -> Line:
    """Return what one line says.

    Raises:
        ValueError: not a line of ours.
    """
    line: Line = child.unpack(raw, _KINDS)
    return line
