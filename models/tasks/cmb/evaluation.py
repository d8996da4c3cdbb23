"""How well a detector finds bleeds, what it takes for them, and how its likelihoods become probabilities."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from telemed.recipes.cmb import Candidate, RawOutput, Settings, decode
from telemed.recipes.volume import Points, Triple, Volume

from models.detection.froc import (
    Interval,
    Judged,
    false_above,
    false_at,
    interval,
    judged,
    sensitivity_at,
    threshold_at,
)
from models.phantoms.swi_head import Kind
from models.tasks.cmb.cases import Case

SENSITIVITY = 0.90
"""Where detectors are compared, and where the threshold is set on the validation subjects."""
_MIMIC_MM = 4.0


class Graph(Protocol):
    """A detector, whichever library runs it."""

    def __call__(self, window: Volume) -> RawOutput:
        """Return what it says of one window [1, 2, slice, row, column]."""
        ...


@dataclass(frozen=True, slots=True)
class Read:
    """One subject as a detector read it."""

    case: Case
    candidates: tuple[Candidate, ...]
    judged: Judged

    def told_apart(self, threshold: float) -> Counter[str]:
        """Return how many false findings at or above a threshold lie at what kind of mimic; "noise" for none."""
        marks = [mark for mark in self.case.marks if mark.kind is not Kind.BLEED]
        places = np.array([mark.centre_mm for mark in marks]).reshape(-1, 3)
        false = [
            candidate
            for candidate, hit in zip(self.candidates, self.judged.hits.tolist(), strict=True)
            if hit < 0 and candidate.score >= threshold
        ]
        kinds: Counter[str] = Counter()
        for candidate in false:
            away = np.linalg.norm(places - np.array(candidate.centre_mm), axis=1)
            near = len(away) > 0 and float(away.min()) <= _MIMIC_MM
            kinds[marks[int(np.argmin(away))].kind.value if near else "noise"] += 1
        return kinds


def read(graph: Graph, cases: Sequence[Case], settings: Settings) -> tuple[Read, ...]:
    """Return what a detector says of each subject, with every candidate, likely or not."""
    return tuple(_read(graph, case, settings) for case in cases)


def _read(graph: Graph, case: Case, settings: Settings) -> Read:
    raw = [graph(window) for window in case.prepared.inputs()]
    candidates = decode(raw, case.prepared, settings)
    bleeds = [mark for mark in case.marks if mark.kind is Kind.BLEED]
    return Read(
        case,
        candidates,
        judged(
            case.subject,
            _rows(candidate.centre_mm for candidate in candidates),
            np.array([candidate.score for candidate in candidates]),
            _rows(mark.centre_mm for mark in bleeds),
            np.array([mark.diameter_mm for mark in bleeds]),
        ),
    )


def operating_point(reads: Sequence[Read]) -> float:
    """Return the threshold for 0.90 sensitivity on these subjects, in steps of 0.01 downwards."""
    return float(np.floor(threshold_at([each.judged for each in reads], SENSITIVITY) * 100) / 100)


def calibration(reads: Sequence[Read]) -> tuple[float, float]:
    """Return slope and intercept that make the likelihoods of these subjects' candidates true (Platt scaling).

    Logistic regression by Newton's method, held back a little so that few candidates do not make it certain.
    """
    logits = np.array([candidate.logit for each in reads for candidate in each.candidates])
    truth = np.concatenate([each.judged.hits >= 0 for each in reads]).astype(np.float64)
    inputs = np.column_stack([logits, np.ones_like(logits)])
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        likely = 0.5 * (1 + np.tanh(inputs @ weights / 2))
        slope = inputs.T @ (likely - truth) + 1e-2 * (weights - np.array([1.0, 0.0]))
        bend = (inputs * (likely * (1 - likely))[:, None]).T @ inputs + 1e-2 * np.eye(2)
        weights = weights - np.linalg.solve(bend, slope)
    return float(weights[0]), float(weights[1])


@dataclass(frozen=True, slots=True)
class Figures:
    """What is written of one set of subjects."""

    subjects: int
    lesions: int
    false_at_90: Interval
    """False findings per subject at 0.90 sensitivity."""
    threshold: float
    sensitivity: Interval
    """At the threshold."""
    false: Interval
    """Per subject at the threshold."""
    false_by_kind: dict[str, float]
    """Per subject at the threshold, by what was taken for a bleed."""
    false_by_kind_at_90: dict[str, float]
    """The same at 0.90 sensitivity; of whatever was told where that was not reached."""
    most_sensitivity: float
    """With every candidate told."""


def figures(reads: Sequence[Read], threshold: float) -> Figures:
    """Return the figures of these subjects at a threshold that was set on others."""
    subjects = [each.judged for each in reads]
    return Figures(
        subjects=len(subjects),
        lesions=sum(each.lesions for each in subjects),
        false_at_90=interval(subjects, lambda drawn: false_at(drawn, SENSITIVITY)),
        threshold=threshold,
        sensitivity=interval(subjects, lambda drawn: sensitivity_at(drawn, threshold)),
        false=interval(subjects, lambda drawn: false_above(drawn, threshold)),
        false_by_kind=_by_kind(reads, threshold),
        false_by_kind_at_90=_by_kind(reads, threshold_at(subjects, SENSITIVITY)),
        most_sensitivity=sensitivity_at(subjects, 0.0),
    )


def _by_kind(reads: Sequence[Read], threshold: float) -> dict[str, float]:
    kinds: Counter[str] = Counter()
    for each in reads:
        kinds.update(each.told_apart(threshold))
    return {kind: round(count / len(reads), 3) for kind, count in sorted(kinds.items())}


def difference(
    first: Sequence[Read], second: Sequence[Read], figure: Callable[[Sequence[Judged]], float]
) -> tuple[float, float]:
    """Return the 80 % interval of second minus first, drawing the same subjects of both."""
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(1000):
        rows = random.integers(0, len(first), len(first)).tolist()
        drawn.append(figure([second[row].judged for row in rows]) - figure([first[row].judged for row in rows]))
    low, high = np.quantile(np.asarray(drawn), [0.1, 0.9], method="lower").tolist()
    return low, high


def _rows(places: Iterable[Triple]) -> Points:
    return np.array(list(places), dtype=np.float64).reshape(-1, 3)
