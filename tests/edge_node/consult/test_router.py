"""The node's router: one room, one state, and only members speak (row 35)."""

import json

import pytest
from telemed.screen import Consult, SignalView
from telemed.v1 import uplink_pb2

from edge_node.consult.pipe import Step
from edge_node.consult.router import ALIVE_EVERY_S, CONSULT_LIMIT, RING_LIMIT_S, UNKNOWN, ConsultRouter, Outlets
from edge_node.errors import NotFound, NotPermitted, SignalRefused, StepRefused


class FakeMedia:
    """Remembers what the consult process was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def prepare(self) -> None:
        pass

    def permit(self, consult_id: str, bed: str) -> None:
        self.told.append(("permit", consult_id, bed))

    def forget(self, consult_id: str) -> None:
        self.told.append(("forget", consult_id))

    def step(self, step: Step) -> None:
        self.told.append(step)


class Room:
    """A router with everything that leaves it."""

    def __init__(self, auto_answer: bool = False) -> None:
        self.media = FakeMedia()
        self.up: list[uplink_pb2.Signal] = []
        self.pages: list[tuple[str | None, SignalView]] = []
        self.states: list[str] = []
        outlets = Outlets(self.up.append, lambda client, view: self.pages.append((client, view)), self._changed)
        self.router = ConsultRouter("clinic", auto_answer, self.media, outlets)

    def _changed(self, consult: Consult) -> None:
        self.states.append(consult.state)

    def hub(self, kind: str, to_peer: str = "camera", body: str = "{}", consult_id: str = "c1") -> None:
        caller = uplink_pb2.Caller(username="liu", name_zh="刘医生", name_en="Dr Liu")
        self.router.from_hub(
            uplink_pb2.Signal(
                consult_id=consult_id,
                from_peer="hub",
                to_peer=to_peer,
                kind=kind,
                body_json=body,
                bed="B01",
                caller=caller,
            )
        )

    def page(self, kind: str, client: str = "p1", body: str = "{}", **changes: str) -> None:
        fields = {"consult_id": "c1", "from_peer": "bedside", "to_peer": "hub", "kind": kind, "body": body} | changes
        self.router.from_page(client, SignalView.model_validate(fields))

    def said_up(self) -> list[tuple[str, str]]:
        return [(signal.from_peer, signal.kind) for signal in self.up]


def test_an_invitation_rings_at_every_page_and_no_media_starts() -> None:
    room = Room()
    room.hub("invite", body=json.dumps({"referral_id": "r1", "started_at_ms": 5}))
    assert [(client, view.kind) for client, view in room.pages] == [(None, "ring")]
    assert room.said_up() == [("camera", "ring")]
    assert room.media.told == []
    consult = room.router.consults()[0]
    assert (consult.state, consult.bed_key, consult.referral_id, consult.caller.zh) == (
        "ringing",
        "clinic:B01",
        "r1",
        "刘医生",
    )


def test_an_invitation_sent_twice_rings_once() -> None:
    room = Room()
    room.hub("invite")
    room.hub("invite")
    assert len(room.pages) == 1
    assert room.said_up() == [("camera", "ring")] * 2


def test_the_page_that_accepts_lets_media_start_and_is_the_only_one_that_speaks() -> None:
    room = Room()
    room.hub("invite")
    room.page("accept")
    assert room.media.told == [("permit", "c1", "B01")]
    assert room.states == ["ringing", "active"]
    assert room.said_up()[-1] == ("bedside", "accept")
    with pytest.raises(NotPermitted):
        room.page("answer", client="p2")
    with pytest.raises(NotPermitted):
        room.page("accept", client="p2")
    room.hub("offer", "bedside")
    assert room.pages[-1][0] == "p1"


def test_with_auto_answer_the_camera_answers_at_once_and_a_page_joins_after() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    assert json.loads(room.pages[0][1].body) == {"auto": True}
    assert room.said_up() == [("camera", "ring"), ("camera", "accept")]
    assert room.states == ["ringing", "active"]
    room.page("accept")
    assert room.said_up()[-1] == ("bedside", "accept")


def test_signals_for_the_camera_go_to_the_consult_process_and_its_answers_to_the_hub() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    room.hub("offer", body='{"sdp": "x"}')
    assert room.media.told[-1] == Step("c1", "offer", '{"sdp": "x"}')
    room.router.from_camera(Step("c1", "answer", "{}"))
    room.router.from_camera(Step("other", "answer", "{}"))
    assert room.said_up()[-1] == ("camera", "answer")
    assert room.up[-1].bed == "B01"


@pytest.mark.parametrize("side", ["hub", "page"])
def test_a_hang_up_on_either_side_ends_it_for_everybody_and_lets_go_of_the_camera(side: str) -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    room.page("accept")
    room.hub("bye") if side == "hub" else room.page("bye")
    assert room.media.told[-1] == ("forget", "c1")
    assert room.states[-1] == "ended"
    assert room.pages[-1] == (None, room.pages[-1][1])
    assert room.pages[-1][1].kind == "bye"
    assert room.router.consults() == []


def test_a_declined_call_never_opens_the_camera() -> None:
    room = Room()
    room.hub("invite")
    room.page("decline")
    assert room.states == ["ringing", "declined"]
    assert room.said_up()[-1] == ("bedside", "decline")
    assert room.media.told == [("forget", "c1")]


def test_an_answered_call_cannot_be_declined() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    with pytest.raises(StepRefused):
        room.page("decline")


def test_an_offer_for_a_consult_one_is_no_member_of_is_refused() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    with pytest.raises(NotPermitted):
        room.page("offer")
    with pytest.raises(NotPermitted):
        room.page("offer", from_peer="hub")
    with pytest.raises(NotPermitted):
        room.page("offer", to_peer="camera")
    with pytest.raises(NotFound):
        room.page("offer", consult_id="c2")
    assert room.said_up() == [("camera", "ring"), ("camera", "accept")]


def test_a_page_cannot_call_and_cannot_send_what_is_no_json() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    room.page("accept")
    with pytest.raises(StepRefused):
        room.page("invite")
    with pytest.raises(SignalRefused):
        room.page("answer", body="[" * 1000)


def test_a_signal_for_a_consult_that_is_over_here_is_answered_with_bye() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    room.page("accept")
    room.page("bye")
    room.up.clear()
    room.hub("offer")
    assert [(signal.consult_id, signal.kind) for signal in room.up] == [("c1", "bye")]
    room.hub("bye")
    assert len(room.up) == 1


def test_a_node_that_started_anew_says_so_and_rings_again_before_anything_flows() -> None:
    room = Room()
    room.hub("offer")
    assert [(signal.kind, signal.body_json) for signal in room.up] == [("state", UNKNOWN)]
    room.hub("invite")
    assert room.states == ["ringing"]
    assert room.media.told == []


def test_the_hub_is_told_now_and_then_that_a_consult_lives_here() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    room.up.clear()
    room.router.expire(1000.0)
    room.router.expire(1000.0 + ALIVE_EVERY_S - 1)
    room.router.expire(1000.0 + ALIVE_EVERY_S)
    assert room.said_up() == [("camera", "ring")] * 2


def test_a_second_page_is_told_in_words_that_another_has_answered() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    room.page("accept")
    with pytest.raises(NotPermitted):
        room.page("accept", client="p2")
    client, view = room.pages[-1]
    assert (client, view.kind) == ("p2", "state")
    assert json.loads(view.body)["refused"]["zh"] == "本站另一页面已接听"


def test_a_page_that_closed_leaves_its_place_to_the_next() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    room.page("accept")
    room.router.page_gone("p1")
    room.page("accept", client="p2")
    assert room.states[-1] == "active"


def test_a_page_that_lost_its_socket_can_still_hang_up() -> None:
    room = Room(auto_answer=True)
    room.hub("invite")
    room.page("accept")
    room.router.page_gone("p1")
    room.page("bye", client="p1-again")
    assert room.states[-1] == "ended"


def test_a_ring_that_the_hub_forgot_ends_by_itself_and_an_active_consult_never_does() -> None:
    room = Room()
    room.hub("invite")
    heard_s = room.router._rooms["c1"].heard_s
    room.router.expire(heard_s + RING_LIMIT_S)
    assert room.states == ["ringing"]
    room.router.expire(heard_s + RING_LIMIT_S + 1)
    assert room.states == ["ringing", "ended"]
    active = Room(auto_answer=True)
    active.hub("invite")
    active.router.expire(heard_s + 100_000)
    assert active.states == ["ringing", "active"]


def test_a_flood_of_calls_is_declined() -> None:
    room = Room()
    for number in range(CONSULT_LIMIT + 3):
        room.hub("invite", consult_id=f"c{number}")
    assert len(room.router.consults()) == CONSULT_LIMIT
    assert room.said_up()[-1] == ("camera", "decline")
