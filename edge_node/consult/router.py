"""The consults of this node: who rings, who accepted, and which signal goes where (decision 26).

One room, one state: the hub is told of every change and its word is final.  Peers of a consult: "hub" (the
physician's browser), "camera" (this node) and "bedside" (the one page here that accepted).
"""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol

from telemed.screen import Consult, SignalView, Text2
from telemed.v1 import uplink_pb2

from edge_node.consult.limits import read_body
from edge_node.consult.pipe import Step
from edge_node.errors import NotFound, NotPermitted, SignalRefused, StepRefused

CONSULT_LIMIT = 8
"""Consults at one node at a time, over ones included until they are forgotten."""
RING_LIMIT_S = 90.0
"""A ring that the hub neither ends nor repeats for this long is over: its bye was lost."""
ALIVE_EVERY_S = 10.0
"""How often the hub is told that a consult lives here; it answers bye to one that it ended meanwhile."""
OVER_LIMIT = 64
TO_HUB = ("answer", "offer", "candidate", "accept", "decline", "bye")
"""What a bedside page may say."""
UNKNOWN = json.dumps({"unknown": True})
"""Body of a state: this node knows nothing of the consult."""


class Media(Protocol):
    """The consult process, as the router needs it."""

    def prepare(self) -> None:
        """It rings: be ready soon."""

    def permit(self, consult_id: str, bed: str) -> None:
        """Let the camera answer offers of this consult."""

    def forget(self, consult_id: str) -> None:
        """Let go of the camera."""

    def step(self, step: Step) -> None:
        """Hand a step of signalling to the camera."""


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where the router's words go; all are called on the event loop and must not block."""

    to_hub: Callable[[uplink_pb2.Signal], None]
    to_page: Callable[[str | None, SignalView], None]
    """First argument: the page's client id; None means every page that is signed in."""
    changed: Callable[[Consult], None]


@dataclass(slots=True)
class _Room:
    consult: Consult
    bed: str
    client: str | None = None
    was_joined: bool = False
    """A page accepted; if it lost its socket, the next page's word is taken as its own."""
    heard_s: float = 0.0
    told_s: float = 0.0


class ConsultRouter:
    """Routes signals of this node's consults between hub, camera and bedside pages."""

    def __init__(self, site: str, auto_answer: bool, media: Media, outlets: Outlets) -> None:
        self._site = site
        self._auto_answer = auto_answer
        self._media = media
        self._out = outlets
        self._rooms: dict[str, _Room] = {}
        self._over: deque[str] = deque(maxlen=OVER_LIMIT)

    def consults(self) -> list[Consult]:
        """Return what a page's snapshot shows: consults that ring or are active."""
        return [room.consult for room in self._rooms.values()]

    def from_hub(self, signal: uplink_pb2.Signal) -> None:
        """Take one signal that came over the uplink."""
        room = self._rooms.get(signal.consult_id)
        if signal.kind == "invite" and signal.to_peer == "camera":
            self._invited(signal, room)
        elif room is None:
            self._answer_unknown(signal)
        elif signal.kind == "bye":
            self._end(room, "ended")
        elif signal.kind == "accept" and signal.to_peer == "camera":
            self._accept(room)
        elif signal.to_peer == "bedside":
            self._out.to_page(room.client, self._view(room, signal))
        elif signal.to_peer == "camera":
            self._media.step(Step(signal.consult_id, signal.kind, signal.body_json))

    def from_camera(self, step: Step) -> None:
        """Take one step that the consult process said."""
        room = self._rooms.get(step.consult_id)
        if room is not None:
            self._tell_hub(step.consult_id, room.bed, "camera", step.kind, step.body)

    def from_page(self, client: str, view: SignalView) -> None:
        """Take one signal of a bedside page.

        Raises:
            NotFound: no such consult here.
            NotPermitted: another page answered this consult, or the page speaks for somebody else.
            StepRefused: a page may not say this, or not now.
            SignalRefused: too large or unreadable.
        """
        room = self._rooms.get(view.consult_id)
        if room is None:
            raise NotFound("no such consult at this node")
        if view.from_peer != "bedside" or view.to_peer != "hub":
            raise NotPermitted("a bedside page speaks for itself, to the hub")
        if view.kind not in TO_HUB:
            raise StepRefused(f"a bedside page may not send {view.kind}", list(TO_HUB))
        read_body(view.body)
        if view.kind == "accept":
            self._page_accepts(room, client)
        elif view.kind == "decline":
            self._decline(room)
            return
        elif room.client != client and not (room.client is None and room.was_joined):
            self._refuse(room, client)
        room.client = client
        self._tell_hub(view.consult_id, room.bed, "bedside", view.kind, view.body)
        if view.kind == "bye":
            self._end(room, "ended")

    def page_gone(self, client: str) -> None:
        """A page closed: the consult goes on with the camera, and another page may join."""
        for room in self._rooms.values():
            if room.client == client:
                room.client = None

    def expire(self, now_s: float) -> None:
        """End rings that were forgotten and tell the hub of consults that live; to be called every few seconds.

        Args:
            now_s: the monotonic clock.
        """
        for room in list(self._rooms.values()):
            if room.consult.state == "ringing" and now_s - room.heard_s > RING_LIMIT_S:
                self._end(room, "ended")
            elif room.consult.state == "active" and now_s - room.told_s >= ALIVE_EVERY_S:
                room.told_s = now_s
                self._tell_hub(room.consult.consult_id, room.bed, "camera", "ring", "{}")

    def _invited(self, signal: uplink_pb2.Signal, room: _Room | None) -> None:
        if room is None:
            if len(self._rooms) >= CONSULT_LIMIT:
                self._tell_hub(signal.consult_id, signal.bed, "camera", "decline", "{}")
                return
            room = self._rooms[signal.consult_id] = _Room(self._consult(signal), signal.bed)
            self._media.prepare()
            self._out.changed(room.consult)
            self._out.to_page(None, self._view(room, signal, "ring", _auto(self._auto_answer)))
        room.heard_s = time.monotonic()
        self._tell_hub(signal.consult_id, room.bed, "camera", "ring", "{}")
        if self._auto_answer or room.consult.state == "active":
            self._accept(room)
            self._tell_hub(signal.consult_id, room.bed, "camera", "accept", "{}")

    def _answer_unknown(self, signal: uplink_pb2.Signal) -> None:
        """Answer the hub, which believes in a consult that is not here."""
        if signal.kind == "bye":
            return
        if signal.consult_id in self._over:
            # Its end was lost on the way up.
            self._tell_hub(signal.consult_id, signal.bed, "camera", "bye", "{}")
        else:
            # This node started anew meanwhile: the hub invites again, and nothing flows before an accept.
            self._tell_hub(signal.consult_id, signal.bed, "camera", "state", UNKNOWN)

    def _accept(self, room: _Room) -> None:
        if room.consult.state != "ringing":
            return
        room.consult = room.consult.model_copy(update={"state": "active"})
        self._media.permit(room.consult.consult_id, room.bed)
        self._out.changed(room.consult)

    def _page_accepts(self, room: _Room, client: str) -> None:
        if room.client is not None and room.client != client:
            self._refuse(room, client)
        room.client, room.was_joined = client, True
        self._accept(room)

    def _refuse(self, room: _Room, client: str) -> NoReturn:
        body = json.dumps({"refused": {"zh": "本站另一页面已接听", "en": "Another page here has answered"}})
        self._out.to_page(client, _plain(room.consult, "state").model_copy(update={"body": body}))
        raise NotPermitted("another page answered this consult")

    def _decline(self, room: _Room) -> None:
        if room.consult.state != "ringing":
            raise StepRefused("the consult was answered already", ["bye"])
        self._tell_hub(room.consult.consult_id, room.bed, "bedside", "decline", "{}")
        self._end(room, "declined")

    def _end(self, room: _Room, state: str) -> None:
        over = room.consult.model_copy(update={"state": state})
        del self._rooms[over.consult_id]
        self._over.append(over.consult_id)
        self._media.forget(over.consult_id)
        self._out.to_page(None, _plain(over, "bye"))
        self._out.changed(over)

    def _consult(self, signal: uplink_pb2.Signal) -> Consult:
        try:
            body = read_body(signal.body_json)
        except SignalRefused:
            body = {}
        started, referral = body.get("started_at_ms"), body.get("referral_id")
        return Consult(
            consult_id=signal.consult_id,
            bed_key=f"{self._site}:{signal.bed}",
            state="ringing",
            caller=Text2(zh=signal.caller.name_zh, en=signal.caller.name_en),
            started_at_ms=started if isinstance(started, int) else time.time_ns() // 1_000_000,
            referral_id=referral if isinstance(referral, str) else "",
        )

    def _view(self, room: _Room, signal: uplink_pb2.Signal, kind: str = "", body: str | None = None) -> SignalView:
        view = _plain(room.consult, kind or signal.kind)
        return view.model_copy(update={"body": signal.body_json if body is None else body})

    def _tell_hub(self, consult_id: str, bed: str, from_peer: str, kind: str, body: str) -> None:
        signal = uplink_pb2.Signal(
            consult_id=consult_id,
            from_peer=from_peer,
            to_peer="hub",
            kind=kind,
            body_json=body,
            bed=bed,
            at_unix_ns=time.time_ns(),
        )
        self._out.to_hub(signal)


def _auto(auto_answer: bool) -> str:
    """Body of a ring: with `auto` true the page joins at once, as the camera has answered already."""
    return json.dumps({"auto": auto_answer})


def _plain(consult: Consult, kind: str) -> SignalView:
    return SignalView.model_validate(
        {
            "consult_id": consult.consult_id,
            "from_peer": "hub",
            "to_peer": "bedside",
            "kind": kind,
            "body": "{}",
            "bed_key": consult.bed_key,
            "caller": consult.caller,
        }
    )
