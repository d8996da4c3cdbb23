"""Consults at the hub: one room, one state, members only (rows 34 and 35)."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from telemed.roles import Role
from telemed.screen import Consult, SignalMessage, SignalView
from telemed.topics import NodeAddress
from telemed.v1 import event_pb2, uplink_pb2

from cloud_hub.access.rights import Principal
from cloud_hub.consult.rooms import CANDIDATE_LIMIT, INVITE_EVERY_S, RING_LIMIT_S, TABLE, Move, Room, State, move
from cloud_hub.consult.signalling import Clock, Consults, Outlets
from cloud_hub.errors import BadRequest, NotFound, NotPermitted, StepRefused, StoreFailure

EDGE = NodeAddress("baoshan", "clinic", "edge-clinic")
OTHER = NodeAddress("baoshan", "home", "edge-home")
LIU = Principal("liu", Role.PHYSICIAN, "刘医生", "Dr Liu", "baoshan", None)
ZHAO = Principal("zhao", Role.PHYSICIAN, "赵医生", "Dr Zhao", "baoshan", None)
CLINIC = Principal("chen", Role.CLINIC, "陈医生", "Dr Chen", "baoshan", frozenset({"clinic"}))
FAR = Principal("far", Role.PHYSICIAN, "远", "Far", "baoshan", frozenset({"elsewhere"}))
CAREGIVER = Principal("mei", Role.CAREGIVER, "梅", "Mei", "baoshan", frozenset({"clinic"}), persons=frozenset({"p"}))


@dataclass
class Hub:
    """Consults with a clock set by hand and everything that leaves them."""

    down: list[tuple[NodeAddress, uplink_pb2.Signal]] = field(default_factory=list)
    pages: list[tuple[str, str | None, SignalMessage]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    logged: list[event_pb2.Event] = field(default_factory=list)
    failures: int = 0
    mono_s: float = 100.0
    ids: int = 0
    all_logged: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        outlets = Outlets(
            to_edge=lambda address, signal: self.down.append((address, signal)),
            to_page=lambda user, client, message: self.pages.append((user, client, message)),
            changed=self._changed,
            locate=lambda site, bed: EDGE if (site, bed) in (("clinic", "B01"), ("clinic", "B02")) else None,
            log=self._log,
            new_id=self._new_id,
        )
        self.consults = Consults(outlets, Clock(unix_ns=lambda: 1_000_000_000, mono_s=lambda: self.mono_s))

    def _changed(self, consult: Consult) -> None:
        self.states.append(consult.state)

    def _new_id(self, _now_ns: int) -> str:
        self.ids += 1
        return f"id{self.ids}"

    async def _log(self, address: NodeAddress, event: event_pb2.Event) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreFailure("busy")
        self.logged.append(event)
        if event.consult_logged.what == "ended":
            self.all_logged.set()

    def edge(
        self,
        kind: str,
        consult_id: str,
        from_peer: str = "camera",
        address: NodeAddress = EDGE,
        body: str = "{}",
    ) -> None:
        signal = uplink_pb2.Signal(
            consult_id=consult_id, from_peer=from_peer, to_peer="hub", kind=kind, body_json=body, bed="B01"
        )
        self.consults.from_edge(address, signal)

    def page(self, who: Principal, consult_id: str, kind: str = "offer", to: str = "camera", body: str = "{}") -> None:
        view = SignalView.model_validate(
            {"consult_id": consult_id, "from_peer": "hub", "to_peer": to, "kind": kind, "body": body}
        )
        self.consults.from_page(who, "page-1", view)

    def kinds_down(self) -> list[str]:
        return [signal.kind for _, signal in self.down]


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("what", list(Move))
def test_every_step_outside_the_table_is_refused(state: State, what: Move) -> None:
    room = Room("c", EDGE, "B01", "liu", "刘", "Liu", 0, 0.0, state=state)
    if (state, what) in TABLE:
        assert move(room, what).state is TABLE[state, what]
    else:
        with pytest.raises(StepRefused):
            move(room, what)


def test_a_call_invites_the_bed_s_node_with_the_caller_s_name() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01", "r1")
    assert (consult.state, consult.bed_key, consult.referral_id) == ("ringing", "clinic:B01", "r1")
    address, signal = hub.down[0]
    assert (address, signal.kind, signal.to_peer, signal.bed) == (EDGE, "invite", "camera", "B01")
    assert signal.caller.name_zh == "刘医生"
    assert json.loads(signal.body_json)["referral_id"] == "r1"
    assert hub.consults.start(LIU, "clinic:B01") == consult
    assert len(hub.down) == 1


def test_only_who_may_start_consults_can_call_and_only_within_scope() -> None:
    hub = Hub()
    for who in (CLINIC, CAREGIVER):
        with pytest.raises(NotPermitted):
            hub.consults.start(who, "clinic:B01")
    with pytest.raises(NotFound):
        hub.consults.start(FAR, "clinic:B01")
    with pytest.raises(NotFound):
        hub.consults.start(LIU, "clinic:B77")
    assert hub.down == []


def test_one_bed_has_one_consult() -> None:
    hub = Hub()
    hub.consults.start(LIU, "clinic:B01")
    with pytest.raises(StepRefused):
        hub.consults.start(ZHAO, "clinic:B01")
    hub.consults.start(ZHAO, "clinic:B02")


def test_an_invitation_is_repeated_until_the_node_rings_and_the_ringing_ends() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.mono_s += INVITE_EVERY_S
    hub.consults.tick()
    hub.edge("ring", consult.consult_id)
    hub.mono_s += INVITE_EVERY_S
    hub.consults.tick()
    assert hub.kinds_down() == ["invite", "invite"]
    hub.mono_s += RING_LIMIT_S
    hub.consults.tick()
    assert hub.kinds_down()[-1] == "bye"
    assert hub.states == ["ringing", "ended"]


def test_an_active_consult_never_ends_by_itself() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    hub.mono_s += 100_000
    hub.consults.tick()
    assert hub.states == ["ringing", "active"]


def test_media_starts_on_accept_only() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    with pytest.raises(StepRefused):
        hub.page(LIU, consult.consult_id)
    hub.edge("accept", consult.consult_id)
    hub.page(LIU, consult.consult_id)
    assert hub.kinds_down() == ["invite", "offer"]
    hub.edge("answer", consult.consult_id)
    assert hub.pages[-1][:2] == ("liu", "page-1")
    assert hub.pages[-1][2].signal.kind == "answer"


def test_an_offer_for_a_consult_one_is_not_a_member_of_is_refused_and_goes_nowhere() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    for who in (ZHAO, CLINIC):
        with pytest.raises(NotPermitted):
            hub.page(who, consult.consult_id)
        with pytest.raises(NotPermitted):
            hub.consults.end(who, consult.consult_id)
    with pytest.raises(NotFound):
        hub.page(FAR, consult.consult_id)
    with pytest.raises(NotFound):
        hub.page(LIU, "no-such")
    assert hub.kinds_down() == ["invite"]


def test_another_node_cannot_speak_in_this_consult() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id, address=OTHER)
    hub.edge("offer", consult.consult_id)
    assert hub.states == ["ringing"]
    assert hub.pages == []


@pytest.mark.parametrize(
    ("kind", "to"), [("invite", "camera"), ("accept", "camera"), ("ring", "bedside"), ("offer", "hub")]
)
def test_a_page_says_only_what_a_page_may_say(kind: str, to: str) -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    with pytest.raises(BadRequest):
        hub.page(LIU, consult.consult_id, kind, to)


def test_a_body_over_64_kib_or_without_sense_is_refused() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    for body in ("[]", "{", json.dumps({"sdp": "远" * 30_000}, ensure_ascii=False)):
        with pytest.raises(BadRequest):
            hub.page(LIU, consult.consult_id, body=body)


def test_ten_thousand_candidates_stop_at_the_limit_and_a_new_offer_starts_anew() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    for _ in range(CANDIDATE_LIMIT):
        hub.page(LIU, consult.consult_id, "candidate")
    for _ in range(10):
        with pytest.raises(BadRequest):
            hub.page(LIU, consult.consult_id, "candidate")
    assert hub.kinds_down().count("candidate") == CANDIDATE_LIMIT
    hub.page(LIU, consult.consult_id)
    hub.page(LIU, consult.consult_id, "candidate")


@pytest.mark.parametrize("side", ["page", "bedside", "button"])
def test_a_hang_up_from_page_or_bedside_ends_it_everywhere(side: str) -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    if side == "page":
        hub.page(LIU, consult.consult_id, "bye")
    elif side == "bedside":
        hub.edge("bye", consult.consult_id, "bedside")
    else:
        hub.consults.end(LIU, consult.consult_id)
    assert hub.states[-1] == "ended"
    assert hub.kinds_down()[-1] == "bye"
    assert hub.pages[-1][2].signal.kind == "bye"
    assert hub.consults.consults(LIU) == []


def test_a_declined_call_is_declined_and_an_answered_one_is_not() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("decline", consult.consult_id, "bedside")
    assert hub.states == ["ringing", "declined"]
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    hub.edge("decline", consult.consult_id, "bedside")
    assert hub.states == ["ringing", "active"]


def test_a_node_that_speaks_of_an_unknown_consult_is_told_that_it_is_over() -> None:
    hub = Hub()
    hub.edge("state", "old")
    assert [(signal.consult_id, signal.kind, signal.to_peer) for _, signal in hub.down] == [("old", "bye", "camera")]
    hub.edge("bye", "old")
    assert len(hub.down) == 1


def test_a_node_that_started_anew_is_invited_again_and_the_consult_goes_on() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    pages = len(hub.pages)
    hub.mono_s += INVITE_EVERY_S
    for _ in range(3):
        hub.edge("state", consult.consult_id, body='{"unknown": true}')
    assert hub.kinds_down() == ["invite", "invite"]
    assert len(hub.pages) == pages
    hub.edge("accept", consult.consult_id)
    assert hub.pages[-1][2].signal.kind == "accept"
    assert hub.states == ["ringing", "active"]


def test_a_hub_that_started_anew_takes_up_the_consults_that_were_active() -> None:
    old, new = Hub(), Hub()
    for bed in ("clinic:B01", "clinic:B02"):
        old.consults.start(LIU, bed, "r1")
    logged: dict[tuple[str, str], list[event_pb2.Event]] = {}
    old.edge("accept", "id1")
    while not old.consults._to_log.empty():
        _, event = old.consults._to_log.get_nowait()
        logged.setdefault(("clinic", event.aggregate_id), []).append(event)
    new.consults.restore(logged)
    assert new.consults.consults(LIU) == [old.consults.consults(LIU)[0]]
    new.page(LIU, "id1")
    assert new.kinds_down() == ["offer"]
    new.consults.end(LIU, "id1")
    _, event = new.consults._to_log.get_nowait()
    assert (event.base_version, event.consult_logged.what) == (2, "ended")


def test_screens_show_consults_within_scope_only() -> None:
    hub = Hub()
    hub.consults.start(LIU, "clinic:B01")
    assert [len(hub.consults.consults(who)) for who in (LIU, ZHAO, CLINIC, FAR, CAREGIVER)] == [1, 1, 1, 0, 0]


def test_a_page_that_closed_is_followed_by_the_next_page_of_the_same_person() -> None:
    hub = Hub()
    consult = hub.consults.start(LIU, "clinic:B01")
    hub.edge("accept", consult.consult_id)
    hub.page(LIU, consult.consult_id)
    hub.consults.page_gone("page-1")
    hub.edge("state", consult.consult_id)
    assert hub.pages[-1][:2] == ("liu", None)


def test_a_refusal_tells_the_page_in_both_languages() -> None:
    hub = Hub()
    view = SignalView(consult_id="c", from_peer="hub", to_peer="camera", kind="offer")
    body = json.loads(hub.consults.refused(view, NotPermitted("no")).signal.body)
    assert body["code"] == "refused-rights"
    assert set(body["refused"]) == {"zh", "en"}


@pytest.mark.anyio
async def test_the_event_log_tells_who_called_and_how_it_ended_even_if_the_store_was_busy_once() -> None:
    hub = Hub(failures=1)
    task = asyncio.create_task(hub.consults.run())
    consult = hub.consults.start(LIU, "clinic:B01", "r1")
    hub.edge("accept", consult.consult_id)
    hub.consults.end(LIU, consult.consult_id)
    async with asyncio.timeout(10):
        await hub.all_logged.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [event.consult_logged.what for event in hub.logged] == ["started", "answered", "ended"]
    assert [event.base_version for event in hub.logged] == [0, 1, 2]
    assert [event.actor.username for event in hub.logged] == ["liu", "", "liu"]
    assert {event.aggregate_id for event in hub.logged} == {consult.consult_id}
