"""The consults of this hub: starts and ends them, and carries their signals between pages and nodes.

Everything here runs on the event loop.  What is to be remembered (who called whom, how it ended) goes to the
site's event log through `Outlets.log`, in order, by the task that runs `Consults.run`.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog
from telemed.screen import Consult, SignalMessage, SignalView, Text2
from telemed.topics import NodeAddress
from telemed.v1 import event_pb2, uplink_pb2

from cloud_hub.access.rights import Principal, Right
from cloud_hub.consult.rooms import (
    INVITE_EVERY_S,
    OVER,
    RING_LIMIT_S,
    ROOM_LIMIT,
    Move,
    Room,
    State,
    check_from_edge,
    check_from_page,
    move,
)
from cloud_hub.errors import BadRequest, CareError, HubError, NotFound, NotPermitted, StepRefused

TICK_S = 1.0
LOG_TRIES = 3

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Outlets:
    """Where the consults' words go; all but `log` are called on the event loop and must not block."""

    to_edge: Callable[[NodeAddress, uplink_pb2.Signal], None]
    to_page: Callable[[str, str | None, SignalMessage], None]
    """(user name, client or None for all pages of that person, message)."""
    changed: Callable[[Consult], None]
    locate: Callable[[str, str], NodeAddress | None]
    """(site, bed) -> the node that serves consults there, or None for an unknown bed."""
    log: Callable[[NodeAddress, event_pb2.Event], Awaitable[None]]
    """Append a hub event to the site's log, e.g. through `events.append_hub_event`."""
    new_id: Callable[[int], str]
    """UUIDv7 for a time in ns."""


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is; replaced in tests."""

    unix_ns: Callable[[], int] = time.time_ns
    mono_s: Callable[[], float] = time.monotonic


class Consults:
    """All consults that ring or are active at this hub."""

    def __init__(self, outlets: Outlets, clock: Clock | None = None) -> None:
        self._out = outlets
        self._clock = clock or Clock()
        self._rooms: dict[str, Room] = {}
        self._to_log: asyncio.Queue[tuple[NodeAddress, event_pb2.Event]] = asyncio.Queue()

    async def run(self) -> None:
        """Repeat invitations, end unanswered calls and write the log, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_log())
            while True:
                self.tick()
                await asyncio.sleep(TICK_S)

    def restore(self, logged: Mapping[tuple[str, str], Sequence[event_pb2.Event]]) -> None:
        """Take up the consults that were active when this hub last ended; pages and nodes go on where they were.

        Args:
            logged: (site, consult id) -> the events of that consult in order; those that are over are left out.
        """
        for (site, consult_id), events in logged.items():
            first, last = events[0], events[-1]
            address = self._out.locate(site, first.consult_logged.bed)
            if last.consult_logged.what != "answered" or address is None:
                continue
            self._rooms[consult_id] = Room(
                consult_id=consult_id,
                address=address,
                bed=first.consult_logged.bed,
                caller=first.actor.username,
                caller_zh=first.actor.name_zh,
                caller_en=first.actor.name_en,
                started_ns=first.at_unix_ns,
                started_mono_s=self._clock.mono_s(),
                referral_id=first.consult_logged.referral_id,
                state=State.ACTIVE,
                is_heard=True,
                version=len(events),
            )

    def consults(self, principal: Principal) -> list[Consult]:
        """Return what this person's screen shows: consults of the sites within scope."""
        if not principal.may(Right.JOIN_CONSULT):
            return []
        return [room.view for room in self._rooms.values() if principal.sees_site(room.address.site)]

    def start(self, principal: Principal, bed_key: str, referral_id: str = "") -> Consult:
        """Call the bedside of a bed; calling a bed again that this person already calls gives the same consult.

        Raises:
            NotPermitted: this person may not start consults.
            NotFound: no such bed within scope.
            StepRefused: somebody else has a consult at this bed, or too many run.
        """
        principal.demand(Right.START_CONSULT)
        site, _, bed = bed_key.partition(":")
        principal.demand_site(site)
        address = self._out.locate(site, bed)
        if address is None or address.region != principal.region:
            raise NotFound("no such bed within scope")
        for room in self._rooms.values():
            if room.address.site == site and room.bed == bed:
                if room.caller != principal.username:
                    raise StepRefused("there is a consult at this bed already", [])
                return room.view
        if len(self._rooms) >= ROOM_LIMIT:
            raise StepRefused("too many consults at once", [])
        return self._open(principal, address, bed, referral_id)

    def end(self, principal: Principal, consult_id: str) -> Consult:
        """End a consult for everybody.

        Raises:
            NotFound: no such consult within scope; one that is over is not there any more.
            NotPermitted: somebody else's consult.
        """
        room = self._room_of(principal, consult_id)
        if room.caller != principal.username:
            raise NotPermitted("not a member of this consult")
        return self._close(room, Move.END, principal.username)

    def from_page(self, principal: Principal, client: str, view: SignalView) -> None:
        """Take one signal of a physician's page.

        Raises:
            NotFound, NotPermitted, StepRefused, BadRequest: see `rooms.check_from_page`; `refused` makes the
                message that tells the page.
        """
        room = check_from_page(self._room_of(principal, view.consult_id), principal.username, view)
        if view.kind == "bye":
            self._close(room, Move.END, principal.username)
            return
        self._rooms[room.consult_id] = replace(room, client=client)
        self._out.to_edge(room.address, self._signal(room, view.to_peer, view.kind, view.body))

    def refused(self, view: SignalView, error: CareError) -> SignalMessage:
        """Return what a page is told whose signal was refused."""
        texts = _REFUSALS.get(type(error), _REFUSALS[BadRequest])
        body = json.dumps({"refused": texts, "code": error.code}, ensure_ascii=False)
        return SignalMessage(
            signal=SignalView(
                consult_id=view.consult_id,
                from_peer="camera",
                to_peer="hub",
                kind="state",
                body=body,
                bed_key=view.bed_key,
            )
        )

    def page_gone(self, client: str) -> None:
        """A page closed: its consult goes on, and another page of the same person may take it up."""
        for room in list(self._rooms.values()):
            if room.client == client:
                self._rooms[room.consult_id] = replace(room, client=None)

    def from_edge(self, address: NodeAddress, signal: uplink_pb2.Signal) -> None:
        """Take one signal that came up from a node; what it may not say is logged and dropped."""
        room = self._rooms.get(signal.consult_id)
        if room is None:
            self._answer_unknown(address, signal)
            return
        try:
            check_from_edge(room, address, signal.from_peer, signal.kind, signal.body_json)
        except (NotPermitted, BadRequest) as error:
            _log.warning("consult signal refused", site=address.site, node=address.node, code=error.code)
            return
        self._take_from_edge(room, signal)

    def tick(self) -> None:
        """Repeat unheard invitations and end unanswered calls; called once a second."""
        now_s = self._clock.mono_s()
        for room in list(self._rooms.values()):
            if room.state is not State.RINGING:
                continue
            if now_s - room.started_mono_s >= RING_LIMIT_S:
                self._close(room, Move.NO_ANSWER, "")
            elif not room.is_heard and now_s - room.invited_mono_s >= INVITE_EVERY_S:
                self._invite(room)

    def _open(self, principal: Principal, address: NodeAddress, bed: str, referral_id: str) -> Consult:
        now_ns = self._clock.unix_ns()
        room = Room(
            consult_id=self._out.new_id(now_ns),
            address=address,
            bed=bed,
            caller=principal.username,
            caller_zh=principal.name_zh,
            caller_en=principal.name_en,
            started_ns=now_ns,
            started_mono_s=self._clock.mono_s(),
            referral_id=referral_id,
        )
        room = self._remember(room, "started", principal.username)
        self._invite(room)
        self._out.changed(room.view)
        return room.view

    def _invite(self, room: Room) -> None:
        body = {"referral_id": room.referral_id, "started_at_ms": room.started_ns // 1_000_000}
        self._rooms[room.consult_id] = replace(room, invited_mono_s=self._clock.mono_s())
        self._out.to_edge(room.address, self._signal(room, "camera", "invite", json.dumps(body)))

    def _take_from_edge(self, room: Room, signal: uplink_pb2.Signal) -> None:
        if signal.kind == "ring":
            self._rooms[room.consult_id] = replace(room, is_heard=True)
            return
        if signal.kind == "decline":
            if room.state is State.RINGING:
                self._close(room, Move.DECLINE, "")
            return
        if signal.kind == "bye":
            self._close(room, Move.END, "")
            return
        if signal.kind == "state" and _is_unknown(signal.body_json):
            self._invite_again(room)
            return
        if signal.kind == "accept" and room.state is State.RINGING:
            room = self._remember(replace(move(room, Move.ACCEPT), is_heard=True), "answered", "")
            self._out.changed(room.view)
        self._out.to_page(room.caller, room.client, _message(room, signal))

    def _invite_again(self, room: Room) -> None:
        """The node started anew: it rings there again, and the consult goes on when it is accepted."""
        if self._clock.mono_s() - room.invited_mono_s >= INVITE_EVERY_S:
            self._invite(room)

    def _close(self, room: Room, what: Move, by: str) -> Consult:
        over = move(room, what)
        assert over.state in OVER
        self._remember(over, "declined" if over.state is State.DECLINED else "ended", by)
        del self._rooms[room.consult_id]
        self._out.to_edge(room.address, self._signal(room, "camera", "bye", "{}"))
        self._out.to_page(room.caller, None, _message(room, self._signal(room, "hub", "bye", "{}")))
        self._out.changed(over.view)
        return over.view

    def _answer_unknown(self, address: NodeAddress, signal: uplink_pb2.Signal) -> None:
        if signal.kind in ("bye", "decline"):
            return
        # This hub restarted, or ended it while the node was away: the node must let go of its camera.
        bye = uplink_pb2.Signal(consult_id=signal.consult_id, from_peer="hub", to_peer="camera", kind="bye")
        bye.body_json, bye.bed, bye.at_unix_ns = "{}", signal.bed, self._clock.unix_ns()
        self._out.to_edge(address, bye)

    def _room_of(self, principal: Principal, consult_id: str) -> Room:
        room = self._rooms.get(consult_id)
        if room is None or not principal.sees_site(room.address.site):
            raise NotFound("no such consult within scope")
        return room

    def _signal(self, room: Room, to_peer: str, kind: str, body: str) -> uplink_pb2.Signal:
        return uplink_pb2.Signal(
            consult_id=room.consult_id,
            from_peer="hub",
            to_peer=to_peer,
            kind=kind,
            body_json=body,
            bed=room.bed,
            caller=uplink_pb2.Caller(username=room.caller, name_zh=room.caller_zh, name_en=room.caller_en),
            at_unix_ns=self._clock.unix_ns(),
        )

    def _remember(self, room: Room, what: str, by: str) -> Room:
        now_ns = self._clock.unix_ns()
        event = event_pb2.Event(
            event_id=self._out.new_id(now_ns),
            aggregate_type="consult",
            aggregate_id=room.consult_id,
            base_version=room.version,
            at_unix_ns=now_ns,
            consult_logged=event_pb2.ConsultLogged(what=what, bed=room.bed, referral_id=room.referral_id),
        )
        if by:
            event.actor.username, event.actor.role = by, "physician"
            event.actor.name_zh, event.actor.name_en = room.caller_zh, room.caller_en
        room = self._rooms[room.consult_id] = replace(room, version=room.version + 1)
        self._to_log.put_nowait((room.address, event))
        return room

    async def _write_log(self) -> None:
        while True:
            address, event = await self._to_log.get()
            for attempt in range(1, LOG_TRIES + 1):
                try:
                    await self._out.log(address, event)
                    break
                except HubError as error:
                    _log.warning("consult not logged", attempt=attempt, code=error.code)
                    await asyncio.sleep(TICK_S * attempt)


def _is_unknown(body: str) -> bool:
    """True where a node says that it knows nothing of a consult."""
    return json.loads(body or "{}").get("unknown") is True


def _message(room: Room, signal: uplink_pb2.Signal) -> SignalMessage:
    return SignalMessage(
        signal=SignalView.model_validate(
            {
                "consult_id": room.consult_id,
                "from_peer": signal.from_peer,
                "to_peer": "hub",
                "kind": signal.kind,
                "body": signal.body_json,
                "bed_key": room.view.bed_key,
                "caller": Text2(zh=room.caller_zh, en=room.caller_en),
            }
        )
    )


_REFUSALS: dict[type[CareError], dict[str, str]] = {
    NotPermitted: {"zh": "您不是此会诊的成员", "en": "You are not a member of this consult"},
    NotFound: {"zh": "此会诊不存在或已结束", "en": "This consult does not exist, or is over"},
    StepRefused: {"zh": "会诊尚未接听或已结束", "en": "The consult is not answered yet, or is over"},
    BadRequest: {"zh": "信令无法接受：过大或不正确", "en": "The signal was refused: too large or not right"},
}
