"""The ladder of a consult (decision 35): which picture the link can carry, stepping down fast and up slowly.

Pure.  The voice never yields to the picture: every step here takes from the picture alone.
"""

from dataclasses import dataclass, replace
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder."""

    name: str
    height_px: int
    """Longest side that stands; a smaller camera is sent as it is."""
    fps: float


RUNGS = (
    Rung("1080p", 1080, 30),
    Rung("720p", 720, 30),
    Rung("480p", 480, 30),
    Rung("240p", 240, 15),
    Rung("240p5", 240, 5),
    Rung("stills", 480, 0.2),
    Rung("recorded", 0, 0),
)
"""Best first.  The last one is a person's choice, never stepped to by itself."""

LOWEST = next(number for number, rung in enumerate(RUNGS) if rung.name == "stills")

LOSS_BAD, LOSS_GOOD = 0.10, 0.02
RTT_BAD_S, RTT_GOOD_S = 0.8, 0.4
SHARE_BAD, SHARE_GOOD = 0.5, 0.8
BAD_SAMPLES = 2
SETTLE_S = 2.0
"""Least time between two changes: each one rebuilds the encoder and bursts a key frame (reliability 3.3)."""
FIRST_HOLD_S, LONGEST_HOLD_S = 10.0, 80.0
TRIAL_S = 10.0
"""Trouble this soon after a climb makes the next climb wait twice as long."""


class Cause(StrEnum):
    """Why the ladder went down."""

    NONE = ""
    LOSS = "loss"
    DELAY = "delay"
    LOAD = "load"
    PRESSED = "pressed"


@dataclass(frozen=True, slots=True)
class LinkSample:
    """What was seen of the link in about the last second."""

    at_s: float
    """Monotonic clock."""
    loss: float
    """Share of packets lost on the way, 0 to 1."""
    rtt_s: float
    sent_share: float = 1.0
    """Pictures sent of those wanted; less than 1 where this machine cannot keep up."""
    is_pressed: bool = False
    """The measurements of this node find too little room on the link."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Where a consult stands on the ladder, and since when the link was bad or good."""

    top: int
    index: int
    cause: Cause = Cause.NONE
    bad_in_a_row: int = 0
    good_since_s: float | None = None
    changed_s: float = float("-inf")
    climbed_s: float = float("-inf")
    hold_s: float = FIRST_HOLD_S

    @property
    def rung(self) -> Rung:
        """The rung that applies now."""
        return RUNGS[self.index]


def ladder_from(top_name: str) -> Ladder:
    """Return a ladder standing on its best rung.

    Raises:
        ValueError: no rung has this name.
    """
    for number, rung in enumerate(RUNGS):
        if rung.name == top_name:
            return Ladder(top=number, index=number)
    raise ValueError(f"{top_name!r} is no rung of the ladder")


def step(ladder: Ladder, sample: LinkSample) -> Ladder:
    """Return the ladder after one sample: at most one rung down or up."""
    cause = _trouble(sample)
    if cause is not Cause.NONE:
        return _after_bad(ladder, sample, cause)
    if not _is_good(sample):
        return replace(ladder, bad_in_a_row=0, good_since_s=None)
    return _after_good(replace(ladder, bad_in_a_row=0), sample)


def _trouble(sample: LinkSample) -> Cause:
    if sample.is_pressed:
        return Cause.PRESSED
    if sample.loss >= LOSS_BAD:
        return Cause.LOSS
    if sample.rtt_s >= RTT_BAD_S:
        return Cause.DELAY
    return Cause.LOAD if sample.sent_share < SHARE_BAD else Cause.NONE


def _is_good(sample: LinkSample) -> bool:
    return sample.loss < LOSS_GOOD and sample.rtt_s < RTT_GOOD_S and sample.sent_share >= SHARE_GOOD


def _after_bad(ladder: Ladder, sample: LinkSample, cause: Cause) -> Ladder:
    bad = replace(ladder, bad_in_a_row=ladder.bad_in_a_row + 1, good_since_s=None)
    settled = sample.at_s - ladder.changed_s >= SETTLE_S
    if bad.bad_in_a_row < BAD_SAMPLES or not settled or ladder.index >= LOWEST:
        return bad
    failed_climb = sample.at_s - ladder.climbed_s < TRIAL_S
    hold_s = min(ladder.hold_s * 2, LONGEST_HOLD_S) if failed_climb else ladder.hold_s
    return replace(
        bad,
        index=ladder.index + 1,
        cause=cause,
        bad_in_a_row=0,
        changed_s=sample.at_s,
        climbed_s=float("-inf"),
        hold_s=hold_s,
    )


def _after_good(ladder: Ladder, sample: LinkSample) -> Ladder:
    if ladder.good_since_s is None:
        return replace(ladder, good_since_s=sample.at_s)
    if ladder.index <= ladder.top or sample.at_s - ladder.good_since_s < ladder.hold_s:
        return ladder
    index = ladder.index - 1
    return replace(
        ladder,
        index=index,
        cause=ladder.cause if index > ladder.top else Cause.NONE,
        good_since_s=sample.at_s,
        changed_s=sample.at_s,
        climbed_s=sample.at_s,
    )


WORDS = {
    Cause.LOSS: ("网络丢包，画面已降级，声音优先", "Packets are being lost: the picture gave way, the voice did not"),
    Cause.DELAY: ("网络延迟大，画面已降级，声音优先", "The link is slow: the picture gave way, the voice did not"),
    Cause.PRESSED: (
        "线路太窄，画面让给体征与报警，声音优先",
        "The link is thin: the picture gave way to vital signs and alarms, the voice did not",
    ),
    Cause.LOAD: ("本机繁忙，画面已降级", "This node is busy: the picture gave way"),
}
"""What people are told, Chinese and English."""
