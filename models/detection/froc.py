"""How a detector is judged: found and false by subject, false ones at a given sensitivity, and how sure that is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from telemed.recipes.volume import Points

DRAWS = 1000
DILATION_MM = 2.0
"""A finding counts if its centre lies in the cube around a lesion, widened by this on each side."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a detector said of one subject, compared with the truth."""

    subject: str
    lesions: int
    scores: NDArray[np.float64]
    """Of each finding, highest first."""
    hits: NDArray[np.int64]
    """The lesion that a finding is the first to hit, -1 where it is a false one."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the 95 % interval of its bootstrap by subject; infinite where a sensitivity was not reached."""

    value: float
    low: float
    high: float


def judged(
    subject: str, found_mm: Points, scores: NDArray[np.float64], lesions_mm: Points, edges_mm: NDArray[np.float64]
) -> Judged:
    """Return which findings hit which lesions; a second finding in the same lesion is a false one.

    Args:
        subject: whose.
        found_mm: centres of the findings.
        scores: of the findings.
        lesions_mm: centres of the lesions.
        edges_mm: edges of the cubes around them.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.full(len(scores), -1)
    free = np.ones(len(lesions_mm), dtype=bool)
    for rank, row in enumerate(order):
        away = np.abs(lesions_mm - found_mm[row]).max(axis=1, initial=0.0) - edges_mm / 2 - DILATION_MM
        open_to_hit = np.flatnonzero((away <= 0) & free)
        if len(open_to_hit):
            lesion = open_to_hit[np.argmin(away[open_to_hit])]
            hits[rank] = lesion
            free[lesion] = False
    return Judged(subject, len(lesions_mm), scores[order], hits)


def false_at(subjects: Sequence[Judged], sensitivity: float) -> float:
    """Return the false findings per subject at the first threshold that finds this share of the lesions; else inf.

    Not interpolated to a share between two lesions: the figure is never better than a threshold that exists.
    """
    scores = np.concatenate([each.scores for each in subjects])
    is_hit = np.concatenate([each.hits >= 0 for each in subjects])
    wanted = sensitivity * sum(each.lesions for each in subjects) - 1e-9
    order = np.argsort(-scores, kind="stable")
    reached = np.flatnonzero(np.cumsum(is_hit[order]) >= wanted)
    if not len(reached):
        return float("inf")
    return float(np.cumsum(~is_hit[order])[reached[0]]) / len(subjects)


def threshold_at(subjects: Sequence[Judged], sensitivity: float) -> float:
    """Return the highest threshold at which this share of all lesions is found; 0 if it never is."""
    hits = np.sort(np.concatenate([each.scores[each.hits >= 0] for each in subjects]))[::-1]
    wanted = int(np.ceil(sensitivity * sum(each.lesions for each in subjects) - 1e-9))
    return float(hits[wanted - 1]) if 0 < wanted <= len(hits) else 0.0


def sensitivity_at(subjects: Sequence[Judged], threshold: float) -> float:
    """Return the share of all lesions that are found with at least this score."""
    found = sum(int(((each.scores >= threshold) & (each.hits >= 0)).sum()) for each in subjects)
    return found / max(1, sum(each.lesions for each in subjects))


def false_above(subjects: Sequence[Judged], threshold: float) -> float:
    """Return the false findings per subject with at least this score."""
    return sum(int(((each.scores >= threshold) & (each.hits < 0)).sum()) for each in subjects) / len(subjects)


def interval(subjects: Sequence[Judged], figure: Callable[[Sequence[Judged]], float], seed: int = 0) -> Interval:
    """Return a figure with its 95 % interval, from 1000 draws of as many subjects with replacement."""
    random = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        rows = random.integers(0, len(subjects), len(subjects))
        drawn.append(figure([subjects[row] for row in rows.tolist()]))
    # "lower" keeps an infinite draw from becoming "not a number" between two ranks.
    low, high = np.quantile(drawn, [0.025, 0.975], method="lower").tolist()
    return Interval(figure(subjects), low, high)
