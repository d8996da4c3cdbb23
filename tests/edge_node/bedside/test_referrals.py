"""The six-field referral at the bedside, with and without the hub, and its answers."""

from typing import Any

import httpx
import pytest
from telemed.v1 import event_pb2

from edge_node.samples.identifiers import uuid7
from edge_node.samples.measurement import Intake, NumericSet, Value

from .conftest import NS, SITE, START_NS, House, sign_in

pytestmark = pytest.mark.anyio
ID = "01939d2e-5c00-7000-8000-000000000001"
BODY = {
    "referral_id": ID,
    "bed_key": f"{SITE}:B01",
    "level_claim": "T0",
    "last_known_well_ms": START_NS // 1_000_000 - 3_600_000,
    "last_known_well_code": "known",
    "main_signs": ["weakness", "speech"],
    "anticoagulant": "unknown",
}


async def send(client: httpx.AsyncClient, **changes: object) -> httpx.Response:
    return await client.post("/api/v1/referrals", json=BODY | changes)


async def move(client: httpx.AsyncClient, to_state: str, version: int, **more: object) -> httpx.Response:
    body = {"action": "move", "to_state": to_state, "version": version} | more
    return await client.post(f"/api/v1/referrals/{ID}/moves", json=body)


async def listed(client: httpx.AsyncClient) -> dict[str, Any]:
    rows = (await client.get("/api/v1/referrals")).json()["referrals"]
    assert len(rows) == 1
    row: dict[str, Any] = rows[0]
    return row


def hub_moves(house: House, to_state: str, level: str = "", owner: str = "") -> event_pb2.Event:
    """What the hub's physician did, as it comes down."""
    event = event_pb2.Event(
        event_id=uuid7(),
        aggregate_type="referral",
        aggregate_id=ID,
        at_unix_ns=house.now_ns,
        actor=event_pb2.Actor(username="su", role="physician", name_zh="苏叶", name_en="Su"),
        referral_moved=event_pb2.ReferralMoved(to_state=to_state, level=level, owner=owner),
    )
    house.log.order(event)
    return event


async def test_a_referral_carries_the_six_fields_and_what_the_monitor_says(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    values = (Value("spo2", "88", "%"), Value("hr", "120", "/min"), Value("rr", "26", "/min"))
    await house.ward.take(Intake(sets=(NumericSet("m1", house.now_ns, house.now_ns, values),)))
    answer = await send(client)
    assert answer.status_code == 201
    row = answer.json()
    assert (row["state"], row["level"], row["sync"], row["offline"]) == ("SUBMITTED", "T0", "saved-here", False)
    assert (row["patient"]["person_id"], row["callback"]) == ("p-1", "028-0000-0000")
    assert {reading["measure"]: reading["value"] for reading in row["readings"]} == {
        "spo2": "88",
        "hr": "120",
        "rr": "26",
    }
    assert (row["news2_total"], row["news2_complete"]) == (8, False)
    assert row["moves"][0]["pending"] is True
    proposed = house.log.waiting[-1]
    assert (proposed.base_version, proposed.actor.username) == (0, "clinic")
    assert proposed.referral_submitted.last_known_well_unix_ns == START_NS - 3600 * NS


async def test_the_emptiest_referral_is_taken_too(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    answer = await client.post("/api/v1/referrals", json={"referral_id": ID, "bed_key": f"{SITE}:B02"})
    assert (answer.status_code, answer.json()["level_claim"]) == (201, "T0")


async def test_with_the_hub_gone_it_is_saved_here_and_says_so(client: httpx.AsyncClient, house: House) -> None:
    house.link.last_hub_ns = 0
    await sign_in(client)
    assert (await send(client)).json()["offline"] is True
    assert (await listed(client))["sync"] == "saved-here"
    house.log.order(house.log.waiting[-1])
    row = await listed(client)
    assert (row["sync"], row["version"], row["moves"][0]["pending"]) == ("at-hub", 1, False)


@pytest.mark.parametrize(("silent_s", "state", "offline"), [(9, "weak", False), (11, "live", True), (60, "lost", True)])
async def test_offline_means_that_the_hub_missed_two_heartbeats(
    client: httpx.AsyncClient, house: House, silent_s: int, state: str, offline: bool
) -> None:
    house.link.state, house.link.last_hub_ns = state, house.now_ns - silent_s * NS
    await sign_in(client)
    assert (await send(client)).json()["offline"] is offline


async def test_sending_twice_makes_one(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    assert (await send(client)).status_code == 201
    assert (await send(client, question="again")).status_code == 200
    assert len(house.log.waiting) == 1
    await listed(client)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"referral_id": "x"}, "referral_id"),
        ({"bed_key": "other:B01"}, "bed_key"),
        ({"bed_key": f"{SITE}:B77"}, "bed_key"),
        ({"main_signs": ["headache"]}, "main_signs"),
        ({"level_claim": "T9"}, "body.level_claim"),
        ({"anticoagulant": "maybe"}, "body.anticoagulant"),
        ({"main_signs": ["speech"] * 9}, "body.main_signs"),
    ],
)
async def test_a_wrong_field_is_named(client: httpx.AsyncClient, changes: dict[str, object], field: str) -> None:
    await sign_in(client)
    answer = await send(client, **changes)
    assert (answer.status_code, answer.json()["fields"]) == (422, [field])


async def test_only_a_clinic_doctor_signs_a_referral(client: httpx.AsyncClient) -> None:
    await sign_in(client, "physician")
    assert (await send(client)).status_code == 403


async def test_the_clock_runs_until_the_hub_answers_and_then_until_the_video(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    await send(client)
    row = await listed(client)
    start_ms = START_NS // 1_000_000
    assert (row["deadline_ms"] - start_ms, row["escalates_at_ms"] - start_ms) == (120_000, 60_000)
    house.log.order(house.log.waiting[-1])
    hub_moves(house, "TRIAGED", level="T1")
    hub_moves(house, "ACCEPTED", owner="su")
    row = await listed(client)
    assert (row["state"], row["level"], row["owner"]) == ("ACCEPTED", "T1", "su")
    assert row["deadline_ms"] - start_ms == 3_600_000
    assert [step["state"] for step in row["moves"]] == ["SUBMITTED", "TRIAGED", "ACCEPTED"]
    assert row["allowed"] == ["CANCELLED", "DECEASED"]


async def test_a_step_that_is_not_legal_is_answered_with_what_is(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    await send(client)
    answer = await move(client, "CLOSED", 1)
    assert answer.status_code == 409
    assert answer.json()["allowed"] == ["TRIAGED", "CANCELLED", "DECEASED"]
    assert (await move(client, "TRIAGED", 1, level="T1")).status_code == 403
    assert (await move(client, "NOWHERE", 1)).status_code == 422
    missing = await client.post("/api/v1/referrals/other/moves", json={"action": "move", "version": 1})
    assert missing.status_code == 404


async def test_a_step_on_an_old_version_is_refused_and_shows_what_is_possible_now(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    await send(client)
    house.log.order(house.log.waiting[-1])
    hub_moves(house, "TRIAGED", level="T0")
    answer = await move(client, "CANCELLED", 1)
    assert (answer.status_code, answer.json()["code"]) == (409, "refused-version")
    assert "CANCELLED" in answer.json()["allowed"]
    assert (await move(client, "CANCELLED", 2, reason_code="recovered")).json()["state"] == "CANCELLED"


async def test_a_cancel_without_the_hub_counts_on_top_of_the_submission(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    await send(client)
    assert (await move(client, "CANCELLED", 1)).json()["state"] == "CANCELLED"
    assert [event.base_version for event in house.log.waiting] == [0, 1]


async def test_a_step_that_lost_against_the_hub_is_shown_with_what_happened_instead(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    await send(client)
    house.log.order(house.log.waiting[-1])
    await move(client, "CANCELLED", 1)
    mine = house.log.waiting[-1]
    hub_moves(house, "TRIAGED", level="T0")
    house.log.order(mine, refusal="refused-version")
    row = await listed(client)
    assert row["state"] == "TRIAGED"
    assert [(step["state"], step["refused"]) for step in row["moves"]] == [
        ("SUBMITTED", ""),
        ("TRIAGED", ""),
        ("CANCELLED", "refused-version"),
    ]


async def test_a_returned_referral_is_sent_again_and_a_reported_one_closed(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    await send(client)
    house.log.order(house.log.waiting[-1])
    for state in ("TRIAGED", "MORE_INFO"):
        hub_moves(house, state, level="T2" if state == "TRIAGED" else "")
    assert (await move(client, "SUBMITTED", 3, text="CT done")).json()["state"] == "SUBMITTED"
    house.log.order(house.log.waiting[-1])
    for state in ("TRIAGED", "ACCEPTED", "IN_CONSULT", "REPORTED"):
        hub_moves(house, state)
    assert (await move(client, "CLOSED", 8, reason_code="outcome-reached")).json()["state"] == "CLOSED"


async def test_a_physician_at_the_bedside_triages_and_accepts_in_one_press(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    await send(client)
    await sign_in(client, "physician")
    body = {"action": "triage-accept", "version": 1}
    answer = await client.post(f"/api/v1/referrals/{ID}/moves", json=body)
    assert (answer.json()["state"], answer.json()["level"]) == ("ACCEPTED", "T0")
    assert [event.base_version for event in house.log.waiting] == [0, 1, 2]
