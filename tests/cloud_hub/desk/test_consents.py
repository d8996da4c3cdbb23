"""Consents at the hub: what is ordered, who is shown whom from then on, and what goes on without consent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select
from telemed.consent import Purpose
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.access.rights import Principal
from cloud_hub.desk.intake import EventTaken
from cloud_hub.store import accounts, care_team, consents, events
from cloud_hub.store.events import Place
from cloud_hub.store.schema import audit
from cloud_hub.web.feeds import Message
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.role_world import NOW_NS, REGION, SITE, app, stores

__all__ = ["app", "hashed", "stores"]
pytestmark = pytest.mark.anyio
PATH = "/api/v1/persons/own/consents"
HERE = Place(REGION, SITE)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as found:
        yield found


async def enter(client: httpx.AsyncClient, username: str) -> None:
    client.cookies.clear()
    answer = await client.post("/api/v1/session", json={"username": username, "password": world.PASSWORD})
    client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]


def of(answer: httpx.Response, purpose: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (found,) = [one for one in answer.json()["consents"] if one["purpose"] == purpose]
    return dict(found)


def proposal(event_id: str, base_version: int = 0, role: str = "clinic", person: str = "own") -> event_pb2.Event:
    return event_pb2.Event(
        event_id=event_id,
        aggregate_type="consent",
        aggregate_id=f"{person}/C4",
        base_version=base_version,
        actor=event_pb2.Actor(username=role, role=role),
    )


def given(event_id: str, base_version: int = 0, **more: str) -> event_pb2.Event:
    event = proposal(event_id, base_version, **more)
    body = event_pb2.ConsentGiven(person_id=more.get("person", "own"), purpose="C4", giver="self", method="verbal")
    event.consent_given.CopyFrom(body)
    return event


def withdrawn(event_id: str, base_version: int = 0) -> event_pb2.Event:
    event = proposal(event_id, base_version)
    event.consent_withdrawn.CopyFrom(event_pb2.ConsentWithdrawn(person_id="own", purpose="C4"))
    return event


async def propose(stores: Stores, event: event_pb2.Event, site: str = SITE) -> event_pb2.OrderedEvent:
    return await stores.care.write(lambda c: events.take_proposal(c, Place(REGION, site), event, NOW_NS))


async def records(stores: Stores) -> bool:
    return await stores.care.read(lambda c: consents.permits(c, "own", Purpose.RECORDING, NOW_NS))


async def trail(stores: Stores, action: str) -> list[tuple[str, ...]]:
    query = select(audit.c.actor, audit.c.object, audit.c.result).where(audit.c.action == action)
    return [tuple(row) for row in await stores.care.read(lambda c: c.execute(query).all())]


async def test_a_no_made_offline_counts_over_a_yes_that_its_author_never_saw(stores: Stores) -> None:
    assert not (await propose(stores, given("1"))).refused
    assert not (await propose(stores, given("2", 1))).refused
    late = await propose(stores, withdrawn("3"))
    assert (late.refused, late.version) == (False, 3)
    assert not await records(stores)


async def test_a_yes_made_offline_does_not_undo_a_no_that_its_author_never_saw(stores: Stores) -> None:
    await propose(stores, withdrawn("1"))
    late = await propose(stores, given("2"))
    assert (late.refused, late.refusal) == (True, "refused-version")
    assert not await records(stores)
    assert not (await propose(stores, given("3", 1))).refused
    assert await records(stores)


@pytest.mark.parametrize("site", [SITE, world.FAR_SITE])
async def test_a_site_speaks_for_its_own_persons_alone(stores: Stores, site: str) -> None:
    taken = await propose(stores, given("1", person="elsewhere", role="physician"), site)
    assert taken.refused is (site == SITE)


async def test_a_person_is_asked_recorded_and_takes_it_back(client: httpx.AsyncClient, stores: Stores) -> None:
    await enter(client, "clinic")
    assert of(await client.get(PATH), "C7")["state"] == "never"
    found = of(
        await client.post(PATH, json={"purpose": "C7", "version": 0, "giver": "guardian", "giver_name": "子"}), "C7"
    )
    assert (found["state"], found["version"], found["grants"][0]["giver_name"]) == ("given", 1, "子")
    assert (await client.post(PATH, json={"purpose": "C7", "version": 0})).status_code == 409
    assert of(await client.post(f"{PATH}/withdrawal", json={"purpose": "C7"}), "C7")["state"] == "withdrawn"
    assert await trail(stores, "consent-give") == [("clinic", "Patient/own/C7", "ok")]
    assert await trail(stores, "consent-withdraw") == [("clinic", "Patient/own/C7", "ok")]
    log = await stores.care.read(lambda c: events.of_aggregate(c, HERE, "consent", "own/C7"))
    assert [one.event.WhichOneof("body") for one in log] == ["consent_given", "consent_withdrawn"]


@pytest.mark.parametrize("version", [-1, 2**31, 28242246241])
async def test_a_version_that_no_event_can_hold_is_refused_by_name(client: httpx.AsyncClient, version: int) -> None:
    await enter(client, "clinic")
    answer = await client.post(PATH, json={"purpose": "C1", "version": version})
    assert (answer.status_code, answer.json()["fields"]) == (422, ["body.version"])


async def test_access_is_given_to_family_of_the_person_alone(client: httpx.AsyncClient) -> None:
    await enter(client, "clinic")
    assert [one["username"] for one in (await client.get(PATH)).json()["family"]] == ["caregiver"]
    body = {"purpose": "C5", "grantee": "care-worker", "version": 1}
    assert (await client.post(PATH, json=body)).json()["fields"] == ["grantee"]
    assert (await client.post(PATH, json=body | {"grantee": "caregiver"})).status_code == 200


async def test_family_without_consent_sees_nobody_by_any_way(client: httpx.AsyncClient) -> None:
    await enter(client, "caregiver")
    ways = (PATH, f"/api/v1/beds/{SITE}:B01/trends", "/fhir/R4/Observation?patient=Patient/own")
    assert [(await client.get(way)).status_code for way in ways] == [200, 200, 200]
    assert '"total":0' not in (await client.get(ways[2])).text
    assert (await client.post(f"{PATH}/withdrawal", json={"purpose": "C5"})).status_code == 200
    assert [(await client.get(way)).status_code for way in ways[:2]] == [404, 404]
    assert (await client.get(ways[2])).json().get("entry", []) == []


async def test_an_open_page_of_family_goes_blank_in_the_same_moment(app: FastAPI, stores: Stores) -> None:
    live = app.state.parts.live
    who = await stores.care.read(lambda c: _principal(app, c, "caregiver"))
    feed = live.join(who, "page")
    assert await feed.next() is None
    assert live.picture.beds_for(feed.principal, NOW_NS)
    feed.put("queued before")
    event = proposal("w")
    event.aggregate_id = "own/C5"
    event.consent_withdrawn.CopyFrom(event_pb2.ConsentWithdrawn(person_id="own", purpose="C5", grantee="caregiver"))
    live.take([EventTaken(REGION, SITE, await propose(stores, event))])
    assert not live.picture.beds_for(feed.principal, NOW_NS)
    feed.offer(Message("bed", SITE, "own", "full", "reduced"))
    assert await asyncio.wait_for(feed.next(), 1) is None  # a fresh picture, without what was queued
    assert feed.rights_changed.is_set()


async def test_another_relatives_page_stays(app: FastAPI, stores: Stores) -> None:
    live = app.state.parts.live
    feed = live.join(await stores.care.read(lambda c: _principal(app, c, "caregiver")), "page")
    event = proposal("w")
    event.aggregate_id = "own/C5"
    event.consent_withdrawn.CopyFrom(event_pb2.ConsentWithdrawn(person_id="own", purpose="C5", grantee="somebody"))
    live.take([EventTaken(REGION, SITE, await propose(stores, event))])
    assert live.picture.beds_for(feed.principal, NOW_NS)


async def test_whoever_says_no_to_being_shown_elsewhere_is_for_their_own_site_alone(
    client: httpx.AsyncClient, stores: Stores
) -> None:
    await enter(client, "clinic")
    assert (await client.post(f"{PATH}/withdrawal", json={"purpose": "C2"})).status_code == 200
    assert (await client.get("/fhir/R4/Patient/own")).status_code == 200
    for username in ("physician", "nurse"):
        await enter(client, username)
        assert (await client.get("/fhir/R4/Patient/own")).status_code == 404
        assert (await client.get(f"/api/v1/beds/{SITE}:B01/trends")).status_code == 404
        assert (await client.get("/fhir/R4/Patient/other")).status_code == 200


async def test_in_an_emergency_the_record_opens_without_consent_and_that_is_told(
    client: httpx.AsyncClient, stores: Stores
) -> None:
    await enter(client, "clinic")
    await client.post(f"{PATH}/withdrawal", json={"purpose": "C2"})
    await enter(client, "physician")
    body = {"person": "own", "reason_code": "emergency", "text": "stroke call", "password": world.PASSWORD}
    assert (await client.post("/api/v1/break-glass", json=body)).status_code == 201
    assert (await client.get("/fhir/R4/Patient/own")).status_code == 200
    told = [row for row in await trail(stores, "emergency-without-consent") if row[0] == "physician"]
    assert "Patient/own" in [row[1] for row in told]


async def test_an_urgent_referral_without_consent_goes_on_and_is_told(stores: Stores) -> None:
    # The world's referrals are T1, and nobody there was ever asked about C2.
    told = await trail(stores, "emergency-without-consent")
    assert ("clinic", "Patient/own", "ok") in told
    assert ("far-clinic", "Patient/elsewhere", "ok") in told


async def test_a_consult_is_not_recorded_without_consent_nor_with_it(client: httpx.AsyncClient, stores: Stores) -> None:
    await enter(client, "physician")
    consult = (await client.post("/api/v1/consults", json={"bed_key": f"{SITE}:B01"})).json()["consult_id"]
    path = f"/api/v1/consults/{consult}/recording"
    refused = await client.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "consent-missing")
    await propose(stores, given("1"))
    refused = await client.post(path)
    assert (refused.status_code, refused.json()["code"]) == (409, "recording-absent")
    assert [row[2] for row in await trail(stores, "consult-record")] == ["consent-missing", "recording-absent"]


def _principal(app: FastAPI, connection: Any, username: str) -> Principal:
    access = app.state.access
    account = next(one for one in accounts.accounts(connection) if one.username == username)
    own = care_team.own_persons(connection, REGION, account, NOW_NS)
    return Principal(username, Role.CAREGIVER, "", "", access.region, frozenset({SITE}), persons=own)
