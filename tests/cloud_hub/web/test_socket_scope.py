"""An open page and rights that change meanwhile."""

from collections.abc import Iterable
from dataclasses import replace
from types import SimpleNamespace
from typing import Literal, cast

import pytest
from fastapi import FastAPI
from starlette.types import Message
from starlette.websockets import WebSocket
from telemed.roles import Role

from cloud_hub.access.rights import Principal
from cloud_hub.web import socket as live_socket
from cloud_hub.web.feeds import Feed, text_for
from cloud_hub.web.feeds import Message as Told
from cloud_hub.web.parts import Parts

FAMILY = Principal("f", Role.CAREGIVER, "", "", "baoshan", frozenset({"s"}), persons=frozenset({"p1"}))


NOBODY_LIES_HERE = cast(
    "Parts", SimpleNamespace(live=SimpleNamespace(picture=SimpleNamespace(persons_for=lambda _who: set())))
)


class Unwritten:
    """Stands for the memory of who was shown whom."""

    async def show(self, _who: Principal, _action: str, _person_ids: Iterable[str]) -> None:
        """Write nothing."""


class Answers:
    """Stands for the identity store: says who holds the token, answer by answer, then that nobody does."""

    def __init__(self, *answers: Principal) -> None:
        self.answers = list(answers)

    async def present(self, _token: str, _kind: str) -> Principal | None:
        return self.answers.pop(0) if self.answers else None


def _socket(answers: Answers, sent: list[Message]) -> WebSocket:
    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = FastAPI()
    app.state.access = answers
    app.state.viewed = Unwritten()
    scope = {"type": "websocket", "app": app, "headers": [], "scheme": "ws", "path": "/", "query_string": b""}
    return WebSocket(scope, receive, send)


@pytest.mark.anyio
async def test_a_page_shows_no_more_and_no_less_than_its_person_may_see_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "STILL_SIGNED_IN_S", 0)
    feed = Feed(FAMILY, "page")
    sent: list[Message] = []
    await feed.next()
    feed.put("before")
    with pytest.raises(live_socket._Over):
        await live_socket._still_signed_in(
            _socket(Answers(FAMILY, replace(FAMILY, persons=frozenset({"p2"}))), sent), NOBODY_LIES_HERE, feed
        )
    feed.offer(Told("bed", "s", "p1", "full", "of p1"))
    assert await feed.next() is None  # a snapshot: what was queued for the former rights is gone
    feed.offer(Told("bed", "s", "p1", "full", "of p1"))
    feed.offer(Told("bed", "s", "p2", "full", "of p2"))
    assert await feed.next() == "of p2"
    assert sent[-1]["type"] == "websocket.close"


@pytest.mark.anyio
async def test_a_page_whose_rights_stay_as_they_are_is_not_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "STILL_SIGNED_IN_S", 0)
    feed = Feed(FAMILY, "page")
    await feed.next()
    feed.put("before")
    with pytest.raises(live_socket._Over):
        await live_socket._still_signed_in(_socket(Answers(FAMILY), []), NOBODY_LIES_HERE, feed)
    assert await feed.next() == "before"


NARROW = replace(FAMILY, scopes=frozenset({"user/Patient.rs"}))
OPENED = Principal("d", Role.CLINIC, "", "", "baoshan", frozenset({"x"}), opened=frozenset({("s", "p1")}))


@pytest.mark.parametrize("kind", ["bed", "alarm"])
@pytest.mark.parametrize(
    ("who", "hears"),
    [
        (FAMILY, True),
        (OPENED, True),
        (NARROW, False),
        (replace(FAMILY, must_enrol=True), False),
        (replace(OPENED, must_enrol=True), False),
    ],
)
def test_values_and_alarms_go_only_to_who_may_see_vitals(
    kind: Literal["bed", "alarm"], who: Principal, hears: bool
) -> None:
    assert bool(text_for(who, Told(kind, "s", "p1", "full", "reduced"))) is hears


@pytest.mark.anyio
async def test_a_page_that_is_open_hears_no_more_of_the_bed_of_who_took_sharing_back_but_of_their_alarms() -> None:
    feed = Feed(replace(FAMILY, role=Role.PHYSICIAN, persons=None), "page")
    assert await feed.next() is None
    feed.loses("p1")
    assert await feed.next() is None
    feed.offer(Told("bed", "s", "p1", "values of p1", ""))
    feed.offer(Told("alarm", "s", "p1", "alarm of p1", ""))
    feed.offer(Told("bed", "s", "", "empty bed", ""))
    assert [await feed.next(), await feed.next()] == ["alarm of p1", "empty bed"]
