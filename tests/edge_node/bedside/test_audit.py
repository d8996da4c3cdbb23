"""What a bedside station writes into the audit trail: who came, whom they looked at, what they did."""

import asyncio
from typing import cast

import httpx
import pytest
from fastapi import WebSocket
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts
from telemed.screen import SignalMessage, SignalView

from edge_node.bedside import socket
from edge_node.bedside.accounts import FREE_FAILURES, Session
from edge_node.bedside.live import Page
from edge_node.bedside.refusals import (
    KNOWN_A_MINUTE,
    MANY,
    MINUTE_NS,
    REFUSED,
    STRANGERS_A_MINUTE,
    Refusals,
)
from edge_node.samples.alarm import Who
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.edge_node.bedside.conftest import HASH, SITE, House, sign_in

pytestmark = pytest.mark.anyio
SHOWS_A_PERSON = {
    ("GET", "/api/v1/persons/{person_id}/consents"),
    ("GET", "/api/v1/beds/{key}/trends"),
    ("GET", "/api/v1/referrals"),
    ("GET", "/api/v1/studies"),
    ("WS", "/api/v1/live"),
}
ACTS = {
    ("POST", "/api/v1/persons/{person_id}/consents"),
    ("POST", "/api/v1/persons/{person_id}/consents/withdrawal"),
    ("POST", "/api/v1/session"),
    ("DELETE", "/api/v1/session"),
    ("POST", "/api/v1/alarms/{alarm_id}/actions"),
    ("POST", "/api/v1/beds/{key}/observations"),
    ("POST", "/api/v1/referrals"),
    ("POST", "/api/v1/referrals/{referral_id}/moves"),
    ("POST", "/api/v1/studies/{study_id}/person"),
    ("POST", "/api/v1/persons/{person_id}/imports"),
    ("POST", "/dicom-web/studies"),
    ("POST", "/dicom-web/studies/{study}"),
}
SHOWS_NOBODY = {
    ("GET", "/api/v1/station"),
    ("GET", "/api/v1/session"),
    # Of a file that one handed in oneself: imported or not.
    ("GET", "/api/v1/persons/{person_id}/imports/{import_id}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/{path:path}"),
}


class Window:
    """A page's socket: notes how long the trail was when something was shown."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.shown: list[int] = []

    async def send_text(self, _text: str) -> None:
        self.shown.append(len(self.house.audit.entries))


def page_of(house: House, username: str = "clinic", role: str = "clinic") -> Page:
    session = Session(f"token-{username}", "csrf", Who(username, role), 2**62, HASH)
    house.station.accounts._sessions[session.token] = session
    return house.station.open_page(session)


async def show(house: House, page: Page) -> list[int]:
    """Send a page what waits for it; return how long the trail was each time."""
    window = Window(house)
    sending = asyncio.create_task(socket._send(cast("WebSocket", window), house.station, page))
    for _ in range(20):
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    return window.shown


async def with_alarm(house: House) -> str:
    value = Value("spo2", "80", "%")
    for second in range(60):
        house.now_ns += 10**9
        at_ns = house.now_ns
        await house.ward.take(Intake(sets=(NumericSet("m1", at_ns, at_ns, (value,)),)))
        if house.ward.alarms() and second > 30:
            break
    return house.ward.alarms()[0].alarm_id


async def test_every_route_either_shows_nobody_or_is_written_down(house: House) -> None:
    found = set()
    for context in iter_route_contexts(house.app.routes):
        route = context.original_route
        if isinstance(route, APIRoute | APIWebSocketRoute):
            methods = context.methods if isinstance(route, APIRoute) else None
            found |= {(method, context.path or "") for method in methods or {"WS"}}
    # A new route must be put into one of the three lists, with its entry in the trail tested below.
    assert found == SHOWS_A_PERSON | ACTS | SHOWS_NOBODY


async def test_signing_in_and_out_and_failing_to_are_written_down(house: House, client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/session", json={"username": "clinic", "password": "wrong"})
    await sign_in(client)
    await client.delete("/api/v1/session")
    assert house.audit.entries == [
        ("clinic", "sign-in", "account", "sign-in-refused"),
        ("clinic", "sign-in", "account/clinic", "ok"),
        ("clinic", "sign-out", "account/clinic", "ok"),
    ]


async def test_a_stranger_cannot_fill_the_trail_with_refusals(house: House, client: httpx.AsyncClient) -> None:
    for number in range(2 * STRANGERS_A_MINUTE):
        await client.post("/api/v1/session", json={"username": f"name-{number}", "password": "wrong"})
    each = [(f"name-{number}", "sign-in", "account", "sign-in-refused") for number in range(STRANGERS_A_MINUTE)]
    assert house.audit.entries == [*each, ("", "sign-in", "account", "many-refused")]
    house.audit.entries.clear()
    # A known name is bounded by its own wait, and is told in the midst of the crowd.
    for _ in range(FREE_FAILURES):
        await client.post("/api/v1/session", json={"username": "clinic", "password": "wrong"})
    assert house.audit.entries == [("clinic", "sign-in", "account", "sign-in-refused")] * FREE_FAILURES
    house.audit.entries.clear()
    house.now_ns += MINUTE_NS
    for name in ("name", "clinic", "clinic", "clinic"):
        await client.post("/api/v1/session", json={"username": name, "password": "wrong"})
    assert house.audit.entries == [(name, "sign-in", "account", "sign-in-refused") for name in ("name", "clinic")]


def test_what_is_tried_on_known_names_is_bounded_too_and_told_apart_from_the_crowd() -> None:
    refusals = Refusals()
    for _ in range(2 * STRANGERS_A_MINUTE):
        refusals.result(5, is_known=False)
    told = [refusals.result(6, is_known=True) for _ in range(2 * KNOWN_A_MINUTE)]
    assert told == [*[REFUSED] * KNOWN_A_MINUTE, MANY, *[None] * (KNOWN_A_MINUTE - 1)]
    assert refusals.result(7, is_known=False) is None
    assert [refusals.result(5 + MINUTE_NS, is_known=known) for known in (True, False)] == [REFUSED] * 2


async def test_nobody_is_shown_before_it_is_written_down(house: House) -> None:
    page = page_of(house)
    page.start_over()
    assert await show(house, page) == [2]
    assert house.audit.entries == [
        ("clinic", "live-view", "Patient/p-1", "ok"),
        ("clinic", "live-view", "Patient/p-2", "ok"),
    ]


async def test_whoever_goes_on_looking_is_written_down_again_each_quarter_of_an_hour(house: House) -> None:
    page = page_of(house, "daughter", "caregiver")
    for minutes in range(31):
        page.push("{}")
        await show(house, page)
        house.now_ns += 60 * 10**9
        assert len(house.audit.entries) == 1 + minutes // 15
    assert set(house.audit.entries) == {("daughter", "live-view", "Patient/p-1", "ok")}


async def test_trends_and_referrals_are_views(house: House, client: httpx.AsyncClient) -> None:
    await sign_in(client)
    house.audit.entries.clear()
    for _ in range(2):
        assert (await client.get(f"/api/v1/beds/{SITE}:B01/trends")).status_code == 200
        assert (await client.get("/api/v1/referrals")).status_code == 200
    assert house.audit.entries == [("clinic", "trend-read", "Patient/p-1", "ok")]


async def test_what_is_done_to_an_alarm_is_written_down_with_what_came_of_it(
    house: House, client: httpx.AsyncClient
) -> None:
    await sign_in(client)
    alarm_id = await with_alarm(house)
    house.audit.entries.clear()
    for action in ("pause", "accept"):
        answer = await client.post(f"/api/v1/alarms/{alarm_id}/actions", json={"action": action})
        assert answer.status_code == 200, answer.text
    await client.post("/api/v1/alarms/none/actions", json={"action": "accept"})
    assert house.audit.entries == [
        ("clinic", "alarm-pause", f"alarm/{alarm_id}", "ok"),
        ("clinic", "alarm-accept", f"alarm/{alarm_id}", "ok"),
        ("clinic", "alarm-accept", "alarm/none", "not-found"),
    ]


async def test_what_is_typed_in_is_written_down_without_its_value(house: House, client: httpx.AsyncClient) -> None:
    await sign_in(client)
    house.audit.entries.clear()
    await client.post(f"/api/v1/beds/{SITE}:B01/observations", json={"acvpu": "P"})
    assert house.audit.entries == [("clinic", "observation-entered", "Patient/p-1", "ok")]


async def test_joining_and_leaving_a_consult_is_written_down_and_each_candidate_is_not(house: House) -> None:
    page = page_of(house)
    for kind in ("accept", "candidate", "bye"):
        view = SignalView(consult_id="c-1", from_peer="bedside", to_peer="hub", kind=kind)
        await socket._take(SignalMessage(signal=view), house.station, page)
    assert [entry[1:] for entry in house.audit.entries] == [
        ("consult-accept", "consult/c-1", "ok"),
        ("consult-bye", "consult/c-1", "ok"),
    ]
