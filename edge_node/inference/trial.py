"""The self-test of a bundle on this node: golden cases, then speed beside the one that serves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from telemed import bundle_golden
from telemed.bundle import Bundle, Precision, Refusal
from telemed.bundle_golden import Array, Arrays, Case

from edge_node.errors import EngineFailed
from edge_node.inference.engine import EVERYWHERE, Choice, Library, Offer

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
    """A bundle under test, with its golden cases as they were read from its files."""

    bundle: Bundle
    cases: Sequence[tuple[str, Case]]
    """Name of the graph, and a case of it."""

    def one_of_each(self) -> list[tuple[str, Arrays]]:
        """Return inputs of one run of each graph, by which two versions can be compared."""
        return list({graph: case.inputs for graph, case in reversed(self.cases)}.items())


async def self_test(runner: Runs, subject: Subject, precision: Precision) -> float:
    """Run every golden case and return the largest difference from the right answers.

    Raises:
        EngineFailed: an answer is too far off, or there was none.
    """
    allowed = subject.bundle.manifest.tolerance.of(precision)
    worst = 0.0
    for graph_name, case in subject.cases:
        outputs = subject.bundle.manifest.graphs[graph_name].outputs
        found = await runner.run(graph_name, case.inputs)
        difference = bundle_golden.largest_difference(outputs, found, case.outputs)
        if allowed is None or not difference <= allowed:
            raise EngineFailed(Refusal.GOLDEN_DIFFERS, f"{graph_name}: {difference:g}, allowed {allowed}")
        worst = max(worst, difference)
    return worst


async def times_s(runners: Sequence[tuple[Runs, Subject]]) -> list[float]:
    """Return the best time of one run of each graph, for each runner, in seconds; run by turns.

    By turns, because whatever else this machine does then slows all of them down alike.
    """
    best_s = [float("inf")] * len(runners)
    for _ in range(ROUNDS):
        for at, (runner, subject) in enumerate(runners):
            began_s = monotonic()
            for graph_name, inputs in subject.one_of_each():
                await runner.run(graph_name, inputs)
            best_s[at] = min(best_s[at], monotonic() - began_s)
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
