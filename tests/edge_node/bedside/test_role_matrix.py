"""Every route of the bedside page, for every role, for one's own, another, a far and a past person, by a table."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts
from telemed.roles import AT_BEDSIDE, OWN_ONLY, Role
from telemed.v1 import event_pb2

from edge_node.bedside.accounts import Session
from edge_node.bedside.live import Page
from edge_node.samples.alarm import Who
from edge_node.samples.measurement import Intake, NumericSet, Value
from tests.rights.table import ALLOW, FORBID, HIDE, OBJECTS, OUTCOMES, Route, routes

from .conftest import HASH, NS, SITE, Content, House, account, agreed, multipart, sign_in

pytestmark = pytest.mark.anyio
TABLE = routes("bedside_routes.csv")
REFERRAL = {
    "referral_id": "01939d2e-5c00-7000-8000-000000000001",
    "bed_key": f"{SITE}:B01",
    "level_claim": "T1",
    "main_signs": ["weakness"],
    "last_known_well_ms": None,
    "last_known_well_code": "unknown",
    "anticoagulant": "unknown",
}


def populate(house: House) -> None:
    """Two accounts of each role, related to the persons in the first and the second bed; an alarm in the first."""
    for role in Role:
        for number in ("1", "2"):
            event = account(f"{role.value}-{number}", role.value)
            event.account_set.persons.extend([f"p-{number}"] if role in OWN_ONLY else [])
            house.log.order(event)
            if role is Role.CAREGIVER:
                house.log.order(agreed(f"p-{number}", "C5", f"{role.value}-{number}"))
    submitted = event_pb2.ReferralSubmitted(level_claim="T1", bed="B01", person_id="p-1")
    actor = event_pb2.Actor(username="clinic-1", role="clinic")
    house.log.order(
        event_pb2.Event(
            event_id="r", aggregate_type="referral", aggregate_id="r-1", actor=actor, referral_submitted=submitted
        )
    )


async def raise_alarm(house: House) -> str:
    for _ in range(3):
        value = Value("hr", "150", "/min", status="F")
        await house.ward.take(Intake(sets=(NumericSet("m1", house.now_ns, house.now_ns, (value,)),)))
        house.now_ns += 10 * NS
    await house.ward.tick()
    return next(alarm.alarm_id for alarm in house.ward.alarms() if not alarm.finding.technical)


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    populate(house)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=house.app), base_url="http://station") as found:
        yield found


def test_the_table_names_every_route_of_the_bedside_and_no_other(house: House) -> None:
    served = set()
    for context in iter_route_contexts(house.app.routes):
        if isinstance(context.original_route, APIRoute | APIWebSocketRoute):
            methods = context.methods if isinstance(context.original_route, APIRoute) else None
            served |= {(method, context.path or "") for method in methods or {"WS"}}
    assert served == {(row.method, row.path) for row in TABLE}


@pytest.mark.parametrize("role", sorted(set(Role) - AT_BEDSIDE))
async def test_who_has_no_business_at_a_bedside_cannot_sign_in(role: Role, client: httpx.AsyncClient) -> None:
    body = {"username": f"{role.value}-1", "password": "correct horse battery"}
    assert (await client.post("/api/v1/session", json=body)).status_code == 401
    assert {row.marks[role.value] for row in TABLE if row.kind != "open"} == {"x"}


@pytest.mark.parametrize("role", sorted(AT_BEDSIDE))
@pytest.mark.parametrize("what", OBJECTS)
async def test_each_cell_is_as_the_table_says(role: Role, what: str, client: httpx.AsyncClient, house: House) -> None:
    alarm_id = await raise_alarm(house)
    if what == "ended":
        left = event_pb2.BedVacated(at_unix_ns=house.now_ns)
        house.log.order(event_pb2.Event(event_id="out", aggregate_type="bed", aggregate_id="B01", bed_vacated=left))
    username = f"{role.value}-{2 if what == 'other' else 1}"
    await sign_in(client, username)
    wrong = []
    for row in TABLE:
        if row.kind in ("open", "self"):
            continue
        expected = expected_of(row, role, what, is_home=False)
        outcome = await ask(client, house, row, what, (username, role.value, alarm_id))
        if outcome != expected:
            wrong.append((row.method, row.path, expected, outcome))
    assert not wrong


def expected_of(row: Route, role: Role, what: str, *, is_home: bool) -> str:
    mark = row.marks[role.value]
    if mark == "✔h" and not is_home:
        return FORBID
    if row.kind in ("referral-list", "study-list", "images-store") and mark == "●" and what == "elsewhere":
        return ALLOW  # a node's list has nothing of another site, and images say themselves whose they are
    return OUTCOMES[mark][what]


async def ask(client: httpx.AsyncClient, house: House, row: Route, what: str, asker: tuple[str, str, str]) -> str:
    username, role, alarm_id = asker
    key = "elsewhere:B01" if what == "elsewhere" else f"{SITE}:B01"
    if row.kind == "live":
        session = Session("t", "c", Who(username, role), house.now_ns + 10**12, HASH)
        page = Page(session, lambda: house.station.own_beds(session))
        return ALLOW if f'"key":"{key}"' in house.station.snapshot(page) else HIDE
    far = what == "elsewhere"
    person_id = "p-far" if far else "p-1"
    names = {
        "person_id": person_id,
        "key": key,
        "alarm_id": "a-far" if far else alarm_id,
        "referral_id": "r-far" if far else "r-1",
        "study_id": "s-1",
        "study": "1.2.3",
        "import_id": "a" * 32,
    }
    bodies = {
        "observe": {"acvpu": "A"},
        "alarm": {"action": "accept"},
        "referral": {"action": "move", "to_state": "CANCELLED", "reason_code": "x", "version": 1},
        "consent-give": {"purpose": "C7", "version": 0},
        "consent-end": {"purpose": "C4"},
        "study": {"person_id": person_id},
        "referral-new": REFERRAL | {"bed_key": key},
    }
    body = multipart(b"image") if row.kind == "images-store" else Content(json=bodies.get(row.kind))
    if row.kind == "photo":
        body = Content(content=b"image", headers={"content-type": "image/jpeg"})
    if row.kind == "photo-asked":
        (house.jobs / names["import_id"]).mkdir(parents=True, exist_ok=True)
    answer = await client.request(row.method, row.path.format(**names), **body)
    if answer.status_code in (403, 404):
        return FORBID if answer.status_code == 403 else HIDE
    if row.kind == "referral-new" and answer.status_code == 422:
        assert answer.json()["fields"] == ["bed_key"]  # as for a bed that there is nowhere
        return HIDE
    assert answer.status_code in (200, 201, 202, 409), (row.path, answer.text)
    return ALLOW


async def test_at_home_family_answers_for_their_own_person_and_for_nobody_else(
    client: httpx.AsyncClient, house: House
) -> None:
    alarm_id = await raise_alarm(house)
    node = house.station.around.config.node.model_copy(update={"home": True})
    config = house.station.around.config.model_copy(update={"node": node})
    object.__setattr__(house.station.around, "config", config)
    object.__setattr__(house.ward.layout, "home", True)
    path = f"/api/v1/alarms/{alarm_id}/actions"
    await sign_in(client, "caregiver-2")
    assert (await client.post(path, json={"action": "accept"})).status_code == 404
    await sign_in(client, "caregiver-1")
    assert (await client.post(path, json={"action": "accept"})).status_code == 200
