"""The live feed: bounded for a slow page, waves for watchers only, and nothing that is not one's own."""

import json
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import TypeAdapter
from telemed.screen import ServerMessage, Tick
from telemed.v1 import event_pb2

from edge_node.bedside.accounts import Session
from edge_node.bedside.live import QUEUE_LIMIT, Page
from edge_node.samples.alarm import Ask, Who
from edge_node.samples.measurement import Channel, Intake, NumericSet, Origin, Value, WaveformSet

from .conftest import HASH, NS, SITE, House, sign_in

pytestmark = pytest.mark.anyio
MESSAGES: TypeAdapter[Any] = TypeAdapter(ServerMessage)
KEY = f"{SITE}:B01"


def page_of(house: House, username: str = "clinic", role: str = "clinic") -> Page:
    session = Session(f"token-{username}", "csrf", Who(username, role), 2**62, HASH)
    return house.station.open_page(session)


async def drain(house: House, page: Page) -> list[dict[str, Any]]:
    """What the page would be sent now; each message is checked against the contract."""
    found = []
    while page.is_waiting:
        text = await page.next(lambda: house.station.snapshot(page))
        MESSAGES.validate_json(text)
        found.append(json.loads(text))
    return found


def numerics(house: House, **values: str) -> Intake:
    rows = tuple(Value(name, text, "%" if name == "spo2" else "/min") for name, text in values.items())
    return Intake(sets=(NumericSet("m1", house.now_ns, house.now_ns, rows),))


def wave(house: House, origin: Origin = Origin.LIVE) -> Intake:
    digits = np.array([1, 2, -32768], dtype=np.int32)
    channel = Channel("ecg_II", 250.0, digits, 200.0, 0.0, "mV", "II", (-32768,))
    return Intake(waves=(WaveformSet("m1", house.now_ns, house.now_ns, (channel,), origin),))


async def test_the_first_message_is_a_snapshot_of_everything(house: House) -> None:
    await house.ward.take(numerics(house, spo2="88", hr="72"))
    await house.ward.take(wave(house))
    page = page_of(house)
    page.start_over()
    (snapshot,) = await drain(house, page)
    assert (snapshot["type"], snapshot["face"], snapshot["demo"]) == ("snapshot", "bedside", False)
    bed = snapshot["beds"][0]
    assert (bed["label"], bed["patient"]["name"], bed["waves"]) == ("01", "谷p-1", ["ecg_II"])
    reading = next(row for row in bed["readings"] if row["measure"] == "spo2")
    assert (reading["value"], reading["limit_low"], reading["stale_after_s"]) == ("88", "92", 300)
    site = snapshot["sites"][0]
    assert (site["link"], site["waiting"]["care"], site["buffer_hours"]) == ("live", 2, 71.0)
    assert len(bed["news2"]["parts"]) == 7


async def test_what_is_stuck_is_told_to_the_staff_and_not_to_families(house: House) -> None:
    house.stuck = [("identity-mismatch", "B02 ×3")]
    shown = {}
    for role in ("clinic", "caregiver"):
        page = page_of(house, "daughter", role)
        page.start_over()
        (snapshot,) = await drain(house, page)
        shown[role] = [one["code"] for one in snapshot["sites"][0]["stuck"]]
    assert shown == {"clinic": ["identity-mismatch"], "caregiver": []}


async def test_new_readings_go_out_with_the_score(house: House) -> None:
    page = page_of(house)
    await house.ward.take(numerics(house, spo2="88", hr="72"))
    messages = await drain(house, page)
    assert [row["type"] for row in messages] == ["alarm", "readings"]
    assert messages[1]["news2"]["total"] == 3


async def test_a_page_that_does_not_read_gets_one_snapshot_instead_of_a_longer_queue(house: House) -> None:
    page = page_of(house)
    for number in range(QUEUE_LIMIT + 50):
        page.push(Tick(server_time_ms=number).model_dump_json())
    messages = await drain(house, page)
    assert messages[0]["type"] == "snapshot"
    assert len(messages) <= QUEUE_LIMIT


async def test_waves_go_to_the_pages_that_watch_the_bed(house: House) -> None:
    watching, other = page_of(house), page_of(house)
    watching.watched = {KEY}
    await house.ward.take(wave(house))
    (message,) = await drain(house, watching)
    assert message["channels"][0]["digits"] == [1, 2, None]
    assert await drain(house, other) == []


async def test_a_replay_is_marked_and_not_scored(house: House) -> None:
    page = page_of(house)
    row = Value("spo2", "70", "%")
    await house.ward.take(Intake(sets=(NumericSet("m1", house.now_ns, house.now_ns, (row,), Origin.REPLAY),)))
    (message,) = await drain(house, page)
    assert (message["not_live"], message["news2"], message["readings"][0]["origin"]) == ("replay", None, "replay")


async def test_a_caregiver_is_told_of_their_own_person_only_and_of_alarms_only_the_words(house: House) -> None:
    page = page_of(house, "daughter", "caregiver")
    stranger = page_of(house, "nobody", "caregiver")
    await house.ward.take(numerics(house, spo2="88", rr="8"))
    messages = await drain(house, page)
    assert {row["type"] for row in messages} == {"readings", "alarm"}
    alarm = next(row["alarm"] for row in messages if row["type"] == "alarm")
    assert alarm["text"]["zh"]
    assert (alarm["value"], alarm["limit"], alarm["steps"]) == ("", "", [])
    assert await drain(house, stranger) == []
    page.start_over()
    (snapshot,) = await drain(house, page)
    assert [bed["bed"] for bed in snapshot["beds"]] == ["B01"]
    assert (snapshot["referrals"], snapshot["consults"]) == ([], [])


async def test_an_alarm_is_accepted_paused_and_resolved_over_http(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    await house.ward.take(numerics(house, rr="0"))
    alarm = next(row for row in house.ward.alarms() if row.finding.condition == "apnoea")
    address = f"/api/v1/alarms/{alarm.alarm_id}/actions"
    paused = (await client.post(address, json={"action": "pause", "pause_s": 60})).json()
    assert paused["audio_paused_until_ms"] == house.now_ns // 1_000_000 + 60_000
    assert (await client.post(address, json={"action": "pause"})).status_code == 409
    accepted = (await client.post(address, json={"action": "accept"})).json()
    assert (accepted["accepted_by"]["zh"], accepted["escalates_at_ms"]) == ("clinic中", None)
    resolved = (await client.post(address, json={"action": "resolve", "text": "吸痰", "useful": "yes"})).json()
    assert (resolved["resolved"], resolved["steps"][-1]["note"]) == (True, "吸痰")
    refused = await client.post(address, json={"action": "reset"})
    assert (refused.status_code, refused.json()["allowed"]) == (409, ["accept", "resolve", "seen"])
    assert (await client.post("/api/v1/alarms/none/actions", json={"action": "accept"})).status_code == 404


async def test_an_alarm_unseen_says_when_the_next_person_is_called(house: House) -> None:
    await house.ward.take(numerics(house, rr="0"))
    alarm = next(row for row in house.ward.alarms() if row.finding.condition == "apnoea")
    assert house.station.alarm_view(alarm, staff=True).escalates_at_ms == (house.now_ns + 60 * NS) // 1_000_000
    seen = await house.ward.act(alarm.alarm_id, Ask("seen"), Who("clinic", "clinic", "黄芪", "Huang"))
    view = house.station.alarm_view(seen, staff=True)
    assert view.escalates_at_ms is not None
    assert view.seen_by is not None


async def test_a_person_moved_by_the_hub_is_drawn_anew(house: House) -> None:
    page = page_of(house)
    house.log.order(
        event_pb2.Event(
            event_id="move",
            aggregate_type="bed",
            aggregate_id="B02",
            bed_assigned=event_pb2.BedAssigned(person_id="p-1"),
        )
    )
    (snapshot,) = await drain(house, page)
    assert [bed["patient"] and bed["patient"]["person_id"] for bed in snapshot["beds"]] == [None, "p-1"]


async def test_a_closed_page_is_forgotten(house: House) -> None:
    page = page_of(house)
    house.station.close_page(page)
    assert house.station.live.pages == {}
