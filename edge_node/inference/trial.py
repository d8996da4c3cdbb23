"""The self-test of a bundle on this node: golden cases, then speed beside the one that serves."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Protocol

from telemed import bundle_golden
from telemed.bundle import Bundle, Manifest, Precision, Refusal
from telemed.bundle_golden import Array, Arrays, Case

from edge_node.errors import EngineFailed
from edge_node.inference.engine import EVERYWHERE, Choice, Library, Offer

LIMIT_S = 55.0
"""A bundle that has not shown by then that it works here is refused (reliability 4.4, row 38: within 60 s)."""
ROUNDS = 5
LEAST_S = 0.02
"""Below this a difference in time is the machine's, not the model's."""
LEAST_GAIN = 1.2
"""So much faster than the one that runs everywhere a library must be to be chosen."""


class Runs(Protocol):
    """What runs the graphs of one bundle: a worker."""

    async def run(self, graph_name: str, inputs: Arrays) -> dict[str, Array]:
        """Return the outputs of one run; raises EngineFailed."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A bundle under test, with its golden cases: read one by one, because all of them may be gigabytes."""

    bundle: Bundle
    cases: Sequence[tuple[str, Callable[[], Case]]]
    """Name of the graph, and what reads a case of it; that blocks, and raises BundleRefused."""

    @classmethod
    def of(cls, bundle: Bundle, folder: Path) -> "Subject":
        """Return a bundle whose files lie in a folder; nothing is read yet."""
        graphs = bundle.manifest.graphs
        cases = [
            (case.graph, partial(bundle_golden.read, folder / case.file, graphs[case.graph]))
            for case in bundle.manifest.golden
        ]
        return cls(bundle, cases)

    async def one_of_each(self) -> list[tuple[str, Arrays]]:
        """Return inputs of one run of each graph, by which two versions can be compared.

        Raises:
            BundleRefused: a case cannot be read.
        """
        first = dict(reversed(self.cases))
        return [(graph, (await asyncio.to_thread(read)).inputs) for graph, read in first.items()]


def limit_s(manifest: Manifest) -> float:
    """Return how long a bundle may take to show that it works: twice what its maker says, LIMIT_S at least."""
    return max(LIMIT_S, 2 * sum(manifest.graphs[case.graph].deadline_s for case in manifest.golden))


async def self_test(runner: Runs, subject: Subject, precision: Precision) -> float:
    """Run every golden case and return the largest difference from the right answers.

    Raises:
        BundleRefused: a case cannot be read.
        EngineFailed: an answer is too far off, or there was none.
    """
    allowed = subject.bundle.manifest.tolerance.of(precision)
    worst = 0.0
    for graph_name, read in subject.cases:
        case = await asyncio.to_thread(read)
        outputs = subject.bundle.manifest.graphs[graph_name].outputs
        found = await runner.run(graph_name, case.inputs)
        difference = await asyncio.to_thread(bundle_golden.largest_difference, outputs, found, case.outputs)
        if allowed is None or not difference <= allowed:
            raise EngineFailed(Refusal.GOLDEN_DIFFERS, f"{graph_name}: {difference:g}, allowed {allowed}")
        worst = max(worst, difference)
    return worst


async def times_s(runners: Sequence[tuple[Runs, Subject]], until_s: float = float("inf")) -> list[float]:
    """Return the best time of one run of each graph, for each runner, in seconds; run by turns.

    By turns, because whatever else this machine does then slows all of them down alike.  After a monotonic time no
    other round is begun: one is enough for what is as slow as that.

    Raises:
        BundleRefused: a case cannot be read.
        EngineFailed: there was no answer.
    """
    asked = [(runner, await subject.one_of_each()) for runner, subject in runners]
    best_s = [float("inf")] * len(runners)
    for _ in range(ROUNDS):
        for at, (runner, runs) in enumerate(asked):
            began_s = monotonic()
            for graph_name, inputs in runs:
                await runner.run(graph_name, inputs)
            best_s[at] = min(best_s[at], monotonic() - began_s)
        if monotonic() >= until_s:
            break
    return best_s


def judge_speed(new_s: float, former_s: float, slow_factor: float) -> None:
    """Look whether a new version is slower than the one before it than is allowed.

    Raises:
        EngineFailed: it is.
    """
    if new_s > max(former_s, LEAST_S) * slow_factor:
        raise EngineFailed(Refusal.TOO_SLOW, f"{new_s:.3f} s, the version before it {former_s:.3f} s")


def choices(offers: Iterable[Offer], precisions: Iterable[Precision]) -> list[Choice]:
    """Return by what a bundle could be run here, beside the one choice that is everywhere.

    Half precision is for cards: processors compute it by way of single precision.
    """
    found = [Choice(offer.library, precision) for offer in offers for precision in precisions]
    on_processor = Choice(Library.ONNXRUNTIME_CPU, "fp16")
    return [each for each in found if each not in (EVERYWHERE, on_processor)]


def fastest(measured_s: dict[Choice, float]) -> Choice:
    """Return by what a bundle shall be run: the one that is everywhere, unless another is clearly faster.

    Raises:
        KeyError: the one that is everywhere was not measured.
    """
    found = min(measured_s, key=lambda choice: measured_s[choice])
    return found if measured_s[found] * LEAST_GAIN <= measured_s[EVERYWHERE] else EVERYWHERE
