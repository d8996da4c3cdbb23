"""A consult as the hub keeps it: who is in it, in which state, and what each member may say.  Pure."""

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from telemed.screen import Consult, SignalView, Text2
from telemed.topics import NodeAddress

from cloud_hub.errors import BadRequest, NotPermitted, StepRefused

BODY_LIMIT_BYTES = 64 * 1024
CANDIDATE_LIMIT = 128
"""Late candidates of one side after one offer, to both its peers together (reliability 4.4, row 34)."""
RING_LIMIT_S = 60.0
"""Nobody answered for this long: the ringing ends."""
INVITE_EVERY_S = 3.0
"""An invitation that the node has not confirmed is sent again."""
ROOM_LIMIT = 500


class State(StrEnum):
    """Where a consult stands."""

    RINGING = "ringing"
    ACTIVE = "active"
    DECLINED = "declined"
    ENDED = "ended"


class Move(StrEnum):
    """What can happen to it."""

    ACCEPT = "accept"
    DECLINE = "decline"
    END = "end"
    NO_ANSWER = "no-answer"


TABLE: dict[tuple[State, Move], State] = {
    (State.RINGING, Move.ACCEPT): State.ACTIVE,
    (State.RINGING, Move.DECLINE): State.DECLINED,
    (State.RINGING, Move.END): State.ENDED,
    (State.RINGING, Move.NO_ANSWER): State.ENDED,
    (State.ACTIVE, Move.END): State.ENDED,
}
"""Everything else is refused; an active consult never ends by itself (screens 4.7)."""

OVER = (State.DECLINED, State.ENDED)
PAGE_KINDS: dict[str, frozenset[str]] = {
    "camera": frozenset({"offer", "candidate", "bye"}),
    "bedside": frozenset({"offer", "candidate", "bye", "invite"}),
}
"""What the physician's page may say to whom."""
EDGE_KINDS: dict[str, frozenset[str]] = {
    "camera": frozenset({"ring", "accept", "decline", "answer", "candidate", "bye", "state"}),
    "bedside": frozenset({"accept", "decline", "answer", "candidate", "bye", "state"}),
}
"""What the node may say, by the peer it speaks for."""
MEDIA_KINDS = frozenset({"offer", "answer", "candidate", "invite"})


@dataclass(frozen=True, slots=True)
class Room:
    """One consult."""

    consult_id: str
    address: NodeAddress
    """The node whose camera and bedside page take part."""
    bed: str
    caller: str
    """User name of the physician who called; nobody else signals for the hub."""
    caller_zh: str
    caller_en: str
    started_ns: int
    started_mono_s: float
    referral_id: str = ""
    state: State = State.RINGING
    is_heard: bool = False
    """The node confirmed that it rings."""
    invited_mono_s: float = 0.0
    client: str | None = None
    """The page that takes part, of those the caller has open; None before it spoke, or after it closed."""
    candidates: int = 0
    version: int = 0
    """Version of the consult in the event log, for the next event."""

    @property
    def view(self) -> Consult:
        """The consult as screens show it."""
        state: Literal["ringing", "active", "ended", "declined"] = self.state.value
        return Consult(
            consult_id=self.consult_id,
            bed_key=f"{self.address.site}:{self.bed}",
            state=state,
            caller=Text2(zh=self.caller_zh, en=self.caller_en),
            started_at_ms=self.started_ns // 1_000_000,
            referral_id=self.referral_id,
        )


def move(room: Room, what: Move) -> Room:
    """Return the room after a step.

    Raises:
        StepRefused: not possible in the present state.
    """
    after = TABLE.get((room.state, what))
    if after is None:
        allowed = [step.value for state, step in TABLE if state is room.state]
        raise StepRefused(f"{what.value} is not possible for a consult that is {room.state.value}", allowed)
    return replace(room, state=after)


def check_from_page(room: Room, username: str, view: SignalView) -> Room:
    """Return the room after its physician's page said something that it may say.

    Raises:
        NotPermitted: not the physician who called, or speaking for somebody else (row 35).
        StepRefused: media before somebody accepted.
        BadRequest: of no kind that a page sends there, too large, or one candidate too many (row 34).
    """
    if username != room.caller:
        raise NotPermitted("not a member of this consult")
    if view.from_peer != "hub":
        raise NotPermitted("the page speaks for the hub only")
    if view.kind not in PAGE_KINDS.get(view.to_peer, frozenset()):
        raise BadRequest(f"a page does not send {view.kind} to {view.to_peer}", ["kind", "to_peer"])
    if view.kind in MEDIA_KINDS and room.state is not State.ACTIVE:
        raise StepRefused("media starts when somebody has accepted", [])
    check_body(view.body)
    return _count(room, view.kind)


def check_from_edge(room: Room, address: NodeAddress, from_peer: str, kind: str, body: str) -> None:
    """Pass where a node says something about its own consult that it may say.

    Raises:
        NotPermitted: another node's consult.
        BadRequest: of no kind that this peer sends, or too large.
    """
    if address != room.address:
        raise NotPermitted("another node's consult")
    if kind not in EDGE_KINDS.get(from_peer, frozenset()):
        raise BadRequest(f"{from_peer} does not send {kind}", ["kind"])
    check_body(body)


def check_body(body: str) -> None:
    """Pass where the body of a signal is a JSON object of at most 64 KiB, or empty.

    Raises:
        BadRequest: it is not.
    """
    if len(body.encode()) > BODY_LIMIT_BYTES:
        raise BadRequest("the body of a signal is at most 64 KiB", ["body"])
    try:
        is_object = isinstance(json.loads(body), dict) if body else True
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise BadRequest("the body of a signal is a JSON object", ["body"])


def _count(room: Room, kind: str) -> Room:
    if kind == "offer":
        return replace(room, candidates=0)
    if kind != "candidate":
        return room
    if room.candidates >= CANDIDATE_LIMIT:
        raise BadRequest("too many candidates", ["body"])
    return replace(room, candidates=room.candidates + 1)
