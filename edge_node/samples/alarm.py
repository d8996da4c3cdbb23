"""An alarm as everybody at the node sees it: one condition at one bed, with its conversation."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Priority(IntEnum):
    """IEC 60601-1-8 priorities; the numbers are those of the wire."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3


class Phase(IntEnum):
    """What happened to an alarm; the numbers are those of the wire (`telemed.v1.Phase`)."""

    START = 1
    ESCALATE = 2
    DEESCALATE = 3
    END = 4
    RESET = 5
    SEEN = 6
    ACCEPTED = 7
    AUDIO_PAUSED = 8
    AUDIO_RESUMED = 9
    RESOLVED = 10
    UPDATE = 11


class State(StrEnum):
    """Where an alarm stands (clinical 2.4)."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    AUDIO_PAUSED = "audio-paused"
    LATCHED = "latched"
    CLEARED = "cleared"


STANDING = frozenset({State.ACTIVE, State.ESCALATED, State.ACKNOWLEDGED, State.AUDIO_PAUSED})
"""States in which the condition itself stands."""
SOUNDING = frozenset({State.ACTIVE, State.ESCALATED})


@dataclass(frozen=True, slots=True)
class Who:
    """The person behind a step."""

    username: str
    role: str
    name_zh: str = ""
    name_en: str = ""


PAUSE_LIMIT_S = 120
"""Longest audio pause; at home 60 s."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person asks of an alarm."""

    action: str
    """accept, pause, resolve, reset or seen."""
    text: str = ""
    useful: str = ""
    """For resolve: "yes", "no" or empty."""
    pause_s: int = PAUSE_LIMIT_S
    seen_seq: int = 0
    """Last step that was known where it was asked; 0 = here, where everything is known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found: the facts an alarm carries."""

    condition: str
    """Stable code, e.g. "spo2-low"; with the bed it names the one row of this alarm."""
    priority: Priority
    bed: str
    device: str = ""
    measure: str = ""
    value: str = ""
    unit: str = ""
    limit: str = ""
    technical: bool = False
    latching: bool = False
    onset_ns: int = 0
    late: bool = False
    """Its measurement came too late to sound."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one alarm; the fold of its steps is the alarm."""

    alarm_id: str
    seq: int
    phase: Phase
    at_ns: int
    finding: Finding
    person_id: str = ""
    who: Who | None = None
    note: str = ""
    useful: str = ""
    until_ns: int = 0
    cause_event_id: str = ""
    ruleset_id: str = ""
    ruleset_version: str = ""


@dataclass(frozen=True, slots=True)
class Alarm:
    """The present of one alarm and how it came there."""

    alarm_id: str
    state: State
    finding: Finding
    person_id: str
    steps: tuple[Step, ...]
    accepted_by: Who | None = None
    accepted_at_ns: int | None = None
    seen_by: Who | None = None
    paused_until_ns: int | None = None
    resolved: bool = False
    useful: str = ""
    late: bool = False
    """Its measurement came too late to sound."""

    @property
    def seq(self) -> int:
        """Number of the newest step."""
        return self.steps[-1].seq

    @property
    def stands(self) -> bool:
        """True while the condition itself stands."""
        return self.state in STANDING

    @property
    def sounds(self) -> bool:
        """True while the local sounder is to be heard for it."""
        return self.state in SOUNDING and not self.late

    @property
    def wants_attention(self) -> bool:
        """True until nobody owes this alarm anything: it stands, is latched, or ended and nobody had it."""
        unanswered = self.accepted_by is None and not self.resolved and not self.finding.technical
        return self.stands or self.state is State.LATCHED or unanswered
