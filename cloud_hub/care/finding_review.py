"""What physicians say of the findings of models: its form, and how far a report has come by it.  Pure.

Nothing that was said is changed: who thinks otherwise says so anew, and the newest word on a finding stands.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from telemed.ai_codes import FINDINGS, REGIONS


class Verdict(StrEnum):
    """What somebody says of a finding; stored, never reworded."""

    ACCEPTED = "accepted"
    EDITED = "edited"  # it is something, but not as the model says
    REJECTED = "rejected"
    REOPENED = "reopened"  # nothing is said of it any more


class State(StrEnum):
    """How far people have come with a report, in the words of FHIR's DiagnosticReport."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"  # it was final, and something else was said afterwards
    CANCELLED = "cancelled"  # the model did not read the study


REASONS = ("vessel", "calcification", "artefact", "normal-structure", "duplicate", "not-seen", "other")
"""Why a finding is rejected."""
LARGEST_MM = 100.0
FARTHEST_MM = 2000.0
NOT_READ = "NOT-READ"


@dataclass(frozen=True, slots=True)
class Said:
    """What a finding is, and where."""

    code: str
    region: str
    """Empty where none is said."""
    centre_mm: tuple[float, float, float]
    """LPS, in the frame of reference of the series."""
    diameter_mm: float


@dataclass(frozen=True, slots=True)
class Told:
    """A finding as the model told it."""

    said: Said
    confidence: float
    series_uid: str
    key_image_uid: str


NONE_FOUND, NONE = "NONE-FOUND", "none"
NOTHING = Told(Said(NONE, "", (0.0, 0.0, 0.0), 0.0), 0.0, "", "")
"""What a model says of a study in which it found nothing; what people say of that stands under the report's own UID."""


@dataclass(frozen=True, slots=True)
class Report:
    """Of which bytes of which model something is said."""

    study_key: str
    sop_uid: str
    sha256: str
    task: str
    task_version: str
    bundle_sha256: str
    findings: int
    """How many it has."""


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What a report says."""

    report: Report
    outcome: str
    """FOUND, NONE-FOUND or NOT-READ."""
    reason: str
    """Code why the study was not read."""
    training_data: str
    comments: tuple[str, ...]
    told: dict[str, Told]
    """Findings by their tracking UIDs, in the report's order."""

    def of(self, uid: str) -> Told | None:
        """Return what is told under a UID: a finding, or under the report's own that there is none."""
        is_none = uid == self.report.sop_uid and self.outcome == NONE_FOUND
        return NOTHING if is_none else self.told.get(uid)


@dataclass(frozen=True, slots=True)
class Word:
    """A verdict with what belongs to it."""

    verdict: Verdict
    reason: str = ""
    said: Said | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """What somebody said of a finding."""

    review_id: str
    report: Report
    finding_uid: str
    told: Told
    version: int
    word: Word
    username: str
    role: str
    at_ns: int


def lacking(word: Word, told: Told, standing: Review | None) -> list[str]:
    """Return the names of the fields that are not as the verdict needs them.

    Args:
        word: what is to be said.
        told: what the model said.
        standing: what was said last; None: nothing.
    """
    wrong = []
    if told == NOTHING and word.verdict in (Verdict.EDITED, Verdict.REJECTED):
        return ["verdict"]
    if (word.verdict is Verdict.REJECTED) is not (word.reason in REASONS) or word.reason not in ("", *REASONS):
        wrong.append("reason")
    if (word.verdict is Verdict.EDITED) is not (word.said is not None):
        wrong.append("said")
    elif word.said is not None:
        wrong += [f"said.{name}" for name in _unfit(word.said)] or ([] if word.said != told.said else ["said"])
    is_open = standing is None or standing.word.verdict is Verdict.REOPENED
    if word.verdict is Verdict.REOPENED and is_open:
        wrong.append("verdict")
    return wrong


def newest(reviews: Iterable[Review]) -> dict[str, Review]:
    """Return what stands of each finding of a report, by its tracking UID."""
    found = dict[str, Review]()
    for one in reviews:
        if one.finding_uid not in found or found[one.finding_uid].version < one.version:
            found[one.finding_uid] = one
    return found


def is_whole(reviews: Iterable[Review]) -> bool:
    """True where each finding of a report has a verdict that stands, or that there is none."""
    said = [one for one in newest(reviews).values() if one.word.verdict is not Verdict.REOPENED]
    return bool(said) and len(said) == max(1, said[0].report.findings)


def state(outcome: str, reviews: Iterable[Review]) -> State:
    """Return how far a report has come.

    Args:
        outcome: of the reading.
        reviews: all that was said of it.
    """
    if outcome == NOT_READ:
        return State.CANCELLED
    in_order = sorted(reviews, key=lambda one: (one.at_ns, one.finding_uid, one.version))
    if not is_whole(in_order):
        return State.PRELIMINARY
    was_whole = any(is_whole(in_order[:count]) for count in range(1, len(in_order)))
    return State.AMENDED if was_whole else State.FINAL


def _unfit(said: Said) -> list[str]:
    wrong = []
    if said.code not in FINDINGS:
        wrong.append("code")
    if said.region not in ("", *REGIONS):
        wrong.append("region")
    if not all(math.isfinite(one) and abs(one) <= FARTHEST_MM for one in said.centre_mm):
        wrong.append("centre_mm")
    if not 0 < said.diameter_mm <= LARGEST_MM:
        wrong.append("diameter_mm")
    return wrong
