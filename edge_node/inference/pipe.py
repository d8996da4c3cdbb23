"""What the node and a worker process say to each other: one JSON object a line, over pipes; arrays go by the arena."""

import json
from dataclasses import asdict, dataclass
from typing import Any

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

    number: int
    graph: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """From the worker: all graphs are ready."""

    version: str
    device: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Done:
    """From the worker: the outputs are in the arena."""

    number: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """From the worker: why it did not load, or why a run gave nothing."""

    reason: str
    detail: str


Line = Load | Run | Loaded | Done | Failed
_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Load, Run, Loaded, Done, Failed)}


def pack(line: Line) -> bytes:
    """Return one line with its end."""
    return json.dumps({"type": type(line).__name__.lower(), **asdict(line)}).encode() + b"\n"


def unpack(raw: bytes) -> Line:
    """Return what one line says.

    Raises:
        ValueError: not a line of ours.
    """
    try:
        fields = json.loads(raw)
        line: Line = _KINDS[fields.pop("type")](**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a line between node and worker") from error
    return line
