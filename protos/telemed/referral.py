"""The referral's life cycle as a table (clinical 4.1): both sides must refuse the same steps.

A referral is an event log; its state is the fold of its ordered events.  `TRANSITIONS` is the whole
truth about which step is legal from where, and `ENTERED_BY` about who may take it.
"""

from enum import StrEnum

from telemed.roles import Role


class State(StrEnum):
    """Machine names of clinical 4.1."""

    DRAFT = "DRAFT"
    SUBMITTED = "SUBMITTED"
    TRIAGED = "TRIAGED"
    ACCEPTED = "ACCEPTED"
    REDIRECTED = "REDIRECTED"
    DECLINED = "DECLINED"
    MORE_INFO = "MORE_INFO"
    SCHEDULED = "SCHEDULED"
    IN_CONSULT = "IN_CONSULT"
    ADMITTED = "ADMITTED"
    TREATED = "TREATED"
    REPORTED = "REPORTED"
    DOWN_REFERRED = "DOWN_REFERRED"
    FOLLOW_UP = "FOLLOW_UP"
    CLOSED = "CLOSED"
    CANCELLED = "CANCELLED"
    NO_SHOW = "NO_SHOW"
    EXPIRED = "EXPIRED"
    DECEASED = "DECEASED"


S = State
OPEN = frozenset(S) - {S.CLOSED, S.CANCELLED, S.NO_SHOW, S.EXPIRED, S.DECEASED, S.REDIRECTED}
"""States in which somebody still owes somebody something."""

_LEAVING: dict[State, frozenset[State]] = {
    S.DRAFT: frozenset({S.SUBMITTED, S.EXPIRED}),
    S.SUBMITTED: frozenset({S.TRIAGED}),
    S.TRIAGED: frozenset({S.ACCEPTED, S.REDIRECTED, S.DECLINED, S.MORE_INFO}),
    S.ACCEPTED: frozenset({S.MORE_INFO, S.SCHEDULED, S.IN_CONSULT}),
    S.DECLINED: frozenset({S.SUBMITTED}),
    S.MORE_INFO: frozenset({S.SUBMITTED}),
    S.SCHEDULED: frozenset({S.IN_CONSULT, S.NO_SHOW}),
    S.IN_CONSULT: frozenset({S.ADMITTED, S.TREATED, S.REPORTED}),
    S.ADMITTED: frozenset({S.REPORTED, S.DOWN_REFERRED}),
    S.TREATED: frozenset({S.REPORTED, S.DOWN_REFERRED}),
    S.REPORTED: frozenset({S.DOWN_REFERRED, S.FOLLOW_UP, S.CLOSED}),
    S.DOWN_REFERRED: frozenset({S.FOLLOW_UP}),
    S.FOLLOW_UP: frozenset({S.CLOSED}),
}

TRANSITIONS: dict[State, frozenset[State]] = {
    state: _LEAVING.get(state, frozenset()) | (frozenset({S.CANCELLED, S.DECEASED}) if state in OPEN else frozenset())
    for state in State
}
"""From each state, the states that may follow it."""

ENTERED_BY: dict[State, frozenset[Role]] = {
    S.DRAFT: frozenset({Role.CLINIC}),
    S.SUBMITTED: frozenset({Role.CLINIC}),
    S.TRIAGED: frozenset({Role.NURSE, Role.PHYSICIAN}),
    S.ACCEPTED: frozenset({Role.NURSE, Role.PHYSICIAN}),
    S.REDIRECTED: frozenset({Role.NURSE, Role.PHYSICIAN}),
    S.DECLINED: frozenset({Role.NURSE, Role.PHYSICIAN}),
    S.MORE_INFO: frozenset({Role.NURSE, Role.PHYSICIAN}),
    S.SCHEDULED: frozenset({Role.NURSE, Role.PHYSICIAN}),
    S.IN_CONSULT: frozenset({Role.PHYSICIAN}),
    S.ADMITTED: frozenset({Role.PHYSICIAN}),
    S.TREATED: frozenset({Role.PHYSICIAN}),
    S.REPORTED: frozenset({Role.PHYSICIAN}),
    S.DOWN_REFERRED: frozenset({Role.PHYSICIAN}),
    S.FOLLOW_UP: frozenset({Role.CLINIC}),
    S.CLOSED: frozenset({Role.CLINIC}),
    S.CANCELLED: frozenset({Role.CLINIC, Role.PHYSICIAN}),
    S.NO_SHOW: frozenset({Role.NURSE, Role.PHYSICIAN}),
    S.EXPIRED: frozenset(),
    S.DECEASED: frozenset({Role.CLINIC, Role.PHYSICIAN}),
}
"""Who may take the step into a state; an empty set is the system alone."""

LEVELS = ("T0", "T1", "T2", "T3", "T4")
MAIN_SIGNS = ("weakness", "speech", "face", "seizure", "vision", "balance", "unrousable", "other")
"""The eight buttons of the bedside picture (decision 32)."""

ACKNOWLEDGE_WITHIN_S = {"T0": 120, "T1": 15 * 60, "T2": 2 * 3600, "T3": 24 * 3600, "T4": 72 * 3600}
"""Time the hub has to acknowledge, in seconds (clinical 4.2; working days of T3 and T4 taken as days)."""
VIDEO_WITHIN_S = {"T0": 600, "T1": 3600, "T2": 24 * 3600, "T3": 14 * 86400, "T4": 30 * 86400}
"""Time until a physician is on video, in seconds (clinical 4.2)."""
ESCALATE_AT_PCT = {"T0": 50, "T1": 75, "T2": 75, "T3": 90, "T4": 100}


def is_legal(current: State | None, target: State) -> bool:
    """True where `target` may follow `current`; None stands for a referral that does not exist yet."""
    if current is None:
        return target in {S.DRAFT, S.SUBMITTED}
    return target in TRANSITIONS[current]


def allowed(current: State) -> list[State]:
    """States that may follow, in the order of the life cycle: what a 409 answer lists."""
    return [state for state in State if state in TRANSITIONS[current]]
