"""Where a file stands, and the steps between: a table (pure)."""

from enum import StrEnum


class State(StrEnum):
    """As kept in the queue and shown to people."""

    WAITING = "waiting"
    SENDING = "sending"
    PAUSED = "paused"  # with a code that says why, and a time to go on where one is known
    DONE = "done"  # whole, synced and committed at the hub
    REFUSED = "refused"  # with a code that says why; a person may try again
    CANCELLED = "cancelled"


class Step(StrEnum):
    """What may happen to a file."""

    BEGIN = "begin"  # its first piece of this session goes
    HOLD = "hold"  # it may not go now
    RESUME = "resume"  # it may go again, or its session ended
    ARRIVED = "arrived"  # the hub says that it has it whole
    REFUSE = "refuse"
    CANCEL = "cancel"  # by a person
    LOST = "lost"  # the hub, put back to a backup, no longer has it
    AGAIN = "again"  # a person tries once more


NEXT: dict[tuple[State, Step], State] = {
    (State.WAITING, Step.BEGIN): State.SENDING,
    (State.WAITING, Step.HOLD): State.PAUSED,
    (State.WAITING, Step.ARRIVED): State.DONE,
    (State.WAITING, Step.REFUSE): State.REFUSED,
    (State.WAITING, Step.CANCEL): State.CANCELLED,
    (State.SENDING, Step.HOLD): State.PAUSED,
    (State.SENDING, Step.RESUME): State.WAITING,
    (State.SENDING, Step.ARRIVED): State.DONE,
    (State.SENDING, Step.REFUSE): State.REFUSED,
    (State.SENDING, Step.CANCEL): State.CANCELLED,
    (State.PAUSED, Step.HOLD): State.PAUSED,
    (State.PAUSED, Step.RESUME): State.WAITING,
    (State.PAUSED, Step.ARRIVED): State.DONE,
    (State.PAUSED, Step.REFUSE): State.REFUSED,
    (State.PAUSED, Step.CANCEL): State.CANCELLED,
    (State.DONE, Step.LOST): State.WAITING,
    (State.REFUSED, Step.AGAIN): State.WAITING,
    (State.REFUSED, Step.CANCEL): State.CANCELLED,
}
"""Every step that is allowed; any other changes nothing."""

UNFINISHED = (State.WAITING, State.SENDING, State.PAUSED)
KEEPS_CONTENT = (*UNFINISHED, State.REFUSED)
"""States whose content must stay in the spool whatever else happens."""
