"""Consents at the bedside: recorded and taken back with the hub gone, and what open pages show then."""

from typing import Any

import httpx
import pytest
from telemed.v1 import event_pb2

from .conftest import SITE, House, agreed, sign_in

pytestmark = pytest.mark.anyio
PATH = "/api/v1/persons/p-1/consents"


def of(answer: httpx.Response, purpose: str) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    (found,) = [one for one in answer.json()["consents"] if one["purpose"] == purpose]
    return dict(found)


async def test_a_consent_is_recorded_and_taken_back_with_the_hub_gone(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client, "clinic")
    answer = await client.post(PATH, json={"purpose": "C7", "version": 0, "method": "signature"})
    found = of(answer, "C7")
    assert (found["state"], found["pending"], found["version"]) == ("given", True, 1)
    assert found["grants"][0]["recorded_by"]["en"] == "clinic"
    gone = of(await client.post(f"{PATH}/withdrawal", json={"purpose": "C7"}), "C7")
    assert (gone["state"], gone["grants"]) == ("withdrawn", [])
    bodies = [event.WhichOneof("body") for event in house.log.waiting]
    assert bodies == ["consent_given", "consent_withdrawn"]
    assert [entry[1:] for entry in house.audit.entries if entry[1].startswith("consent")] == [
        ("consent-give", "Patient/p-1/C7", "ok"),
        ("consent-withdraw", "Patient/p-1/C7", "ok"),
    ]


async def test_a_page_that_shows_the_person_shows_nothing_the_moment_it_is_taken_back(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client, "daughter")
    session = next(iter(house.station.accounts._sessions.values()))
    page = house.station.open_page(session)
    assert '"person_id":"p-1"' in house.station.snapshot(page)
    assert of(await client.get(PATH), "C5")["grants"][0]["grantee_name"]["en"] == "daughter"
    answer = await client.post(f"{PATH}/withdrawal", json={"purpose": "C5", "grantee": "daughter"})
    assert of(answer, "C5")["state"] == "withdrawn"
    assert not page.may_see(f"{SITE}:B01")
    assert '"person_id":"p-1"' not in await page.next(lambda: house.station.snapshot(page))
    assert (await client.get(PATH)).status_code == 404
    assert (await client.get(f"/api/v1/beds/{SITE}:B01/trends")).status_code == 404


async def test_a_withdrawal_ordered_by_the_hub_counts_at_the_bedside(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client, "daughter")
    gone = event_pb2.ConsentWithdrawn(person_id="p-1", purpose="C5")
    house.log.order(
        event_pb2.Event(event_id="w", aggregate_type="consent", aggregate_id="p-1/C5", consent_withdrawn=gone)
    )
    assert (await client.get(PATH)).status_code == 404


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"purpose": "C5"}, ["grantee"]),
        ({"purpose": "C5", "grantee": "clinic"}, ["grantee"]),
        ({"purpose": "C6"}, ["until_ms"]),
        ({"purpose": "C6", "until_ms": 1}, ["until_ms"]),
        ({"purpose": "C1", "giver": "guardian"}, ["giver_name"]),
    ],
)
async def test_what_a_purpose_needs_is_asked_for_by_name(
    client: httpx.AsyncClient, body: dict[str, object], fields: list[str]
) -> None:
    await sign_in(client, "clinic")
    answer = await client.post(PATH, json=body | {"version": 0})
    assert (answer.status_code, answer.json()["fields"]) == (422, fields)


async def test_an_old_page_may_take_back_and_not_give(client: httpx.AsyncClient, house: House) -> None:
    house.log.order(agreed("p-1", "C4"))
    await sign_in(client, "clinic")
    assert (await client.post(PATH, json={"purpose": "C4", "version": 0})).status_code == 409
    assert of(await client.post(f"{PATH}/withdrawal", json={"purpose": "C4"}), "C4")["state"] == "withdrawn"


async def test_family_takes_back_what_is_not_care_itself_and_gives_nothing(client: httpx.AsyncClient) -> None:
    await sign_in(client, "daughter")
    for path, body, status in (
        (PATH, {"purpose": "C4", "version": 0}, 403),
        (f"{PATH}/withdrawal", {"purpose": "C1"}, 403),
        (f"{PATH}/withdrawal", {"purpose": "C4"}, 200),
        ("/api/v1/persons/p-2/consents/withdrawal", {"purpose": "C4"}, 404),
    ):
        assert (await client.post(path, json=body)).status_code == status
