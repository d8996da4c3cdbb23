"""A referral as the fold of its ordered events, and what is legal next (clinical 4.1, 4.2)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from telemed import referral as table
from telemed.errors import Code
from telemed.referral import State
from telemed.roles import Role
from telemed.v1 import event_pb2

_NEEDS_REASON = frozenset({State.DECLINED, State.REDIRECTED, State.CANCELLED})
_NEEDS_TEXT = frozenset({State.DECLINED, State.REDIRECTED, State.MORE_INFO})
_NOT_WITHOUT_PHONE = frozenset({"T0", "T1"})
PHONE_HANDOVER = "phone-handover"
"""Reason code that says the case was handed over by telephone: without it T0 and T1 cannot be declined."""
_HUB_OWES_VIDEO = frozenset({State.TRIAGED, State.ACCEPTED, State.SCHEDULED})


@dataclass(frozen=True, slots=True)
class Ordered:
    """An event in the site's order, with the hub's time of receipt."""

    ordered: event_pb2.OrderedEvent
    received_ns: int

    @property
    def event(self) -> event_pb2.Event:
        """The event itself, as its author made it."""
        return self.ordered.event


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a referral, taken or refused."""

    state: State
    at_ns: int
    actor: event_pb2.Actor
    text: str
    level: str
    refused: str


@dataclass(frozen=True, slots=True)
class Referral:
    """A referral after its ordered events."""

    referral_id: str
    state: State
    level: str
    """Level that counts: as claimed until triage, then as triaged."""
    version: int
    submitted: event_pb2.ReferralSubmitted
    author: event_pb2.Actor
    authored_ns: int
    """When the patient's clock started: the author's time."""
    received_ns: int
    """When the hub's clock started: receipt at the hub of the last submission."""
    owner: str
    due_ns: int
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Clocks:
    """When the present state must have been left, and when somebody else is told; None where no clock runs."""

    deadline_ns: int | None
    escalates_ns: int | None


def fold(referral_id: str, events: Iterable[Ordered]) -> Referral | None:
    """Return the referral that these events, in order, make; None where no submission was accepted."""
    current: Referral | None = None
    for item in events:
        current = _after(referral_id, current, item)
    return current


def target_state(event: event_pb2.Event) -> State | None:
    """State that an event wants to enter; None where it names none that we know."""
    if event.WhichOneof("body") == "referral_submitted":
        return State.SUBMITTED
    try:
        return State(event.referral_moved.to_state)
    except ValueError:
        return None


def judge(current: Referral | None, event: event_pb2.Event) -> Code | None:
    """Return why an event may not be taken on this referral, None where it may (clinical 4.1)."""
    target = target_state(event)
    if target is None or not table.is_legal(current.state if current else None, target):
        return Code.REFUSED_ILLEGAL_STATE
    if current is None and event.WhichOneof("body") != "referral_submitted":
        return Code.REFUSED_UNKNOWN_AGGREGATE
    if current is not None and target is State.CLOSED and not _was_reported(current):
        return Code.REFUSED_ILLEGAL_STATE
    if event.base_version != (current.version if current else 0):
        return Code.REFUSED_VERSION
    if event.actor.role not in table.ENTERED_BY[target]:
        return Code.REFUSED_RIGHTS
    return None


def allowed(current: Referral, role: Role | None = None) -> list[State]:
    """States that may follow, only those that this role may enter where one is given."""
    states = [state for state in table.allowed(current.state) if state is not State.CLOSED or _was_reported(current)]
    return [state for state in states if role is None or role in table.ENTERED_BY[state]]


def missing(current: Referral, move: event_pb2.ReferralMoved) -> list[str]:
    """Names of the fields that a step still needs (clinical 4.1, column Needs); empty where it is complete."""
    target = State(move.to_state)
    fields = []
    if target in _NEEDS_REASON and not move.reason_code:
        fields.append("reason_code")
    if target in _NEEDS_TEXT and not move.text.strip():
        fields.append("text")
    if target is State.TRIAGED and move.level not in table.LEVELS:
        fields.append("level")
    if target is State.DECLINED and current.level in _NOT_WITHOUT_PHONE and move.reason_code != PHONE_HANDOVER:
        fields.append("reason_code")
    return list(dict.fromkeys(fields))


def clocks(current: Referral) -> Clocks:
    """Return the clocks of the hub's side, from its own time of receipt (clinical 4.1, 4.2).

    MORE_INFO pauses them: the other side owes the answer by the date it was given.
    """
    if current.state is State.SUBMITTED:
        return _clocks(current, table.ACKNOWLEDGE_WITHIN_S)
    if current.state in _HUB_OWES_VIDEO:
        return _clocks(current, table.VIDEO_WITHIN_S)
    if current.state is State.MORE_INFO and current.due_ns:
        return Clocks(current.due_ns, None)
    return Clocks(None, None)


def _clocks(current: Referral, within_s: dict[str, int]) -> Clocks:
    limit_ns = within_s[current.level] * 10**9
    escalates = current.received_ns + limit_ns * table.ESCALATE_AT_PCT[current.level] // 100
    return Clocks(current.received_ns + limit_ns, escalates)


def _was_reported(current: Referral) -> bool:
    return current.state is State.REPORTED or any(
        move.state is State.REPORTED and not move.refused for move in current.moves
    )


def _after(referral_id: str, current: Referral | None, item: Ordered) -> Referral | None:
    event, ordered = item.event, item.ordered
    target = target_state(event)
    if target is None:
        return current
    move = Move(
        target,
        event.at_unix_ns,
        event.actor,
        event.referral_moved.text,
        event.referral_moved.level,
        ordered.refusal if ordered.refused else "",
    )
    if ordered.refused:
        return replace(current, moves=(*current.moves, move)) if current else None
    if event.WhichOneof("body") == "referral_submitted":
        return _submitted(referral_id, current, item, move)
    if current is None:
        return None
    moved = event.referral_moved
    return replace(
        current,
        state=target,
        level=moved.level if moved.level in table.LEVELS else current.level,
        version=ordered.version,
        received_ns=item.received_ns if target is State.SUBMITTED else current.received_ns,
        owner=moved.owner or current.owner,
        due_ns=moved.due_unix_ns,
        moves=(*current.moves, move),
    )


def _submitted(referral_id: str, current: Referral | None, item: Ordered, move: Move) -> Referral:
    """Return the referral after a first or repeated submission; the patient's clock keeps its first start."""
    body = item.event.referral_submitted
    level = body.level_claim if body.level_claim in table.LEVELS else table.LEVELS[0]
    return Referral(
        referral_id,
        State.SUBMITTED,
        level,
        item.ordered.version,
        body,
        item.event.actor,
        current.authored_ns if current else item.event.at_unix_ns,
        item.received_ns,
        current.owner if current else "",
        0,
        (*current.moves, move) if current else (move,),
    )
