"""Who may be scored with NEWS2 and on which scale; the table itself is `telemed.news2`.  Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from telemed import news2
from telemed.news2 import Scale, Sign

from edge_node.samples.score import News2


@dataclass(frozen=True, slots=True)
class ScaleTwoOrder:
    """A clinician's record that scale 2 applies: confirmed hypercapnic failure, target 88 to 92 %."""

    username: str
    at_ns: int
    reason: str

    def __post_init__(self) -> None:
        if not self.username or not self.reason or self.at_ns <= 0:
            raise ValueError("scale 2 needs the clinician, the time and the reason of its order")


@dataclass(frozen=True, slots=True)
class Subject:
    """What must be known of the person before scoring."""

    age_years: int | None = None
    pregnant: bool = False
    home: bool = False
    """At home ACVPU stays current for 12 h instead of 4 h."""
    scale_two: ScaleTwoOrder | None = None
    """Without an order the scale is 1 (clinical 2.1)."""


def score(signs: Mapping[str, Sign], subject: Subject, now_ns: int) -> News2:
    """Return the score from the newest valid value of each measure; stale ones do not count.

    The refusals of clinical 1.2 (under 16 years, pregnancy) come back in `refused`, with no parts.
    """
    scale: Scale = 1 if subject.scale_two is None else 2
    refused = news2.refusal(subject.age_years, is_pregnant=subject.pregnant)
    if refused is not None:
        return News2(0, False, False, "unknown", scale, (), now_ns, refused)
    found = news2.score(news2.current(signs, now_ns, is_home=subject.home), scale)
    return News2(
        total=found.total,
        complete=found.is_complete,
        single_three=found.has_single_three,
        risk=found.risk,
        scale=scale,
        parts=found.parts,
        at_ns=now_ns,
    )
