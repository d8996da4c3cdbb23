"""What the models of a node are set up with, where their bundles come from, and whom they tell something."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_node.inference.metrics import InferenceMetrics
from edge_node.inference.slot import RestartBudget
from edge_node.inference.worker import Means


@dataclass(frozen=True, slots=True)
class Settings:
    """How the models of a node are run."""

    folder: Path
    root: bytes
    """Root of trust that was pinned."""
    means: Means
    is_research: bool
    """Whether models whose weights saw phantoms alone may be run on patients."""
    is_accelerated: bool
    """Whether anything but the one engine that is everywhere may be chosen."""
    idle_s: float
    slow_factor: float
    probation_runs: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A bundle's file that came from the hub, whole."""

    sha256: str
    path: Path


class Arrivals(Protocol):
    """What brings bundles here."""

    async def waiting(self) -> Sequence[Arrival]:
        """Return the files that are here and not settled, the earliest first."""

    async def settled(self, arrival: Arrival) -> None:
        """Note that a file was taken or refused, and is not needed any more."""


@dataclass(frozen=True, slots=True)
class Outlets:
    """Whom the models tell something."""

    metrics: InferenceMetrics
    note: Callable[[str, str, str], None]
    """Action, target, result: for the audit trail."""
    budget: Callable[[], RestartBudget]
    """Makes the restart budget of one bundle."""
    clock_ns: Callable[[], int] = time.time_ns
    is_clock_known: Callable[[], bool] = lambda: True
    """Whether the machine's clock, by which signatures run out, was compared with another and can be believed."""
