"""From a monitor's socket to the physician's screen and back, with real processes."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.region.region import Region, running, until
from tests.region.screen import Screen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
SITE, BED = "baoshan-clinic", "baoshan-clinic:B02"
DEVICE = "QY-MON^0A1B2CFFFE3D4E5F^EUI-64"
VALUES = {
    "147842^MDC_ECG_HEART_RATE^MDC": ("112", "264864^MDC_DIM_BEAT_PER_MIN^MDC"),
    "151562^MDC_RESP_RATE^MDC": ("22", "264928^MDC_DIM_RESP_PER_MIN^MDC"),
    "150456^MDC_PULS_OXIM_SAT_O2^MDC": ("93", "262688^MDC_DIM_PERCENT^MDC"),
    "150021^MDC_PRESS_BLD_NONINV_SYS^MDC": ("105", "266016^MDC_DIM_MMHG^MDC"),
    "150364^MDC_TEMP_BODY^MDC": ("38.4", "268192^MDC_DIM_DEGC^MDC"),
}


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    with running(Region(tmp_path_factory.mktemp("region"))) as started:
        yield started


@pytest.fixture
def physician(region: Region) -> Iterator[tuple[Any, Screen]]:
    client = region.signed_in(region.hub_url, "physician")
    screen = Screen(client)
    yield client, screen
    screen.socket.close()
    client.close()


def send(region: Region, **changed: str) -> None:
    """Send one set of the monitor at B02, as of now, and wait for its acknowledgement."""
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S.%f")[:-3] + "+0000"
    control = f"T{time.time_ns()}"
    head = (
        f"MSH|^~\\&|{DEVICE}|BAOSHAN-CLINIC|EDGE-GW|BAOSHAN-EDGE|{now}||ORU^R01^ORU_R01|{control}|P|2.6|||NE|AL|CHN"
        "|UNICODE UTF-8|||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
    )
    lines = [
        head,
        "PID|||",
        "PV1||O|OBS^R1^B02^BAOSHAN-CLINIC",
        f"OBR|1|{control}|{control}|182777000^monitoring of patient^SCT|||{now}",
    ]
    for number, (code, (value, unit)) in enumerate(VALUES.items(), 1):
        text = changed.get("hr", value) if code.startswith("147842") else value
        lines.append(f"OBX|{number}|NM|{code}|1.1.1.{number}|{text}|{unit}|||||R")
    with socket.create_connection(("127.0.0.1", region.ports["edge-clinic.hl7"]), 5) as monitor:
        monitor.sendall(b"\x0b" + "\r".join(lines).encode() + b"\r\x1c\r")
        assert b"MSA|AA" in monitor.recv(4096)


def readings(bed: dict[str, Any]) -> dict[str, str]:
    return {one["measure"]: one["value"] for one in bed["readings"]}


def test_a_value_at_the_monitors_socket_is_on_the_physicians_screen(region: Region, physician: Any) -> None:
    _client, screen = physician
    send(region, hr="117")
    message = screen.until("readings", lambda one: one["bed_key"] == BED and readings(one).get("hr") == "117", 5)

    assert readings(message)["spo2"] == "93"
    assert next(one for one in message["readings"] if one["measure"] == "spo2")["limit_low"] == "92"
    assert (message["news2"]["total"], message["news2"]["complete"]) == (8, False)
    assert [site["link"] for site in screen.snapshot["sites"]] == ["live"]


def test_an_alarm_taken_at_the_hub_is_confirmed_by_the_edge(region: Region, physician: Any) -> None:
    client, screen = physician
    send(region)

    known = [one for one in screen.snapshot["alarms"] if one["condition"].startswith("news2")]
    raised = known[0] if known else screen.until("alarm", _is_news2)["alarm"]
    answer = client.post(f"/api/v1/alarms/{raised['alarm_id']}/actions", json={"action": "accept"})
    again = client.post(f"/api/v1/alarms/{raised['alarm_id']}/actions", json={"action": "accept"})
    confirmed = screen.until(
        "alarm",
        lambda one: (
            one["alarm"]["alarm_id"] == raised["alarm_id"]
            and one["alarm"]["accepted_by"]
            and one["alarm"]["bedside_knows"]
        ),
        10,
    )

    assert raised["text"]["zh"].startswith("NEWS2")
    assert answer.status_code == 200
    assert answer.json()["accepted_by"]["zh"] == "杜仲 医师"
    assert again.status_code == 409
    assert "accept" not in again.json()["allowed"]
    assert confirmed["alarm"]["accepted_by"]["zh"] == "杜仲 医师"


def test_a_referral_written_at_the_bedside_is_accepted_at_the_hub_and_the_answer_comes_back(
    region: Region, physician: Any
) -> None:
    client, screen = physician
    doctor = region.signed_in(region.page_url(), "clinic")
    referral_id = "01930000-0000-7000-8000-000000000001"
    body = {"referral_id": referral_id, "bed_key": BED, "main_signs": ["speech"], "callback": "13800000000"}
    assert doctor.post("/api/v1/referrals", json=body).status_code < 300
    arrived = screen.until("referral", lambda one: one["referral"]["referral_id"] == referral_id)["referral"]

    step = {"action": "triage-accept", "version": arrived["version"]}
    answer = client.post(f"/api/v1/referrals/{referral_id}/moves", json=step)
    late = client.post(f"/api/v1/referrals/{referral_id}/moves", json=step)

    assert (arrived["state"], arrived["level"], arrived["patient"]["name"]) == ("SUBMITTED", "T0", "示例患者")
    assert arrived["deadline_ms"] == arrived["received_at_ms"] + 120_000
    assert answer.status_code == 200
    assert [move["state"] for move in answer.json()["moves"]] == ["SUBMITTED", "TRIAGED", "ACCEPTED"]
    assert (late.status_code, "SCHEDULED" in late.json()["allowed"]) == (409, True)
    until(lambda: _state_at_bedside(doctor, referral_id) == "ACCEPTED", 10, "the answer is at the bedside")
    doctor.close()


def test_a_page_without_a_session_or_of_another_origin_gets_no_socket(region: Region) -> None:
    client = region.signed_in(region.hub_url, "physician")
    cookie = client.cookies["yz_session"]
    address = region.hub_url.replace("http", "ws") + "/api/v1/live"
    for headers in ({}, {"Cookie": f"yz_session={cookie}", "Origin": "http://elsewhere.example"}):
        with pytest.raises(Exception, match="403"):
            connect(address, additional_headers=headers)
    client.close()


def test_a_caregiver_sees_their_own_person_alone_and_an_operator_sees_nobody(region: Region) -> None:
    with (
        closing(region.signed_in(region.hub_url, "caregiver")) as client,
        closing(region.signed_in(region.hub_url, "operator")) as other,
    ):
        family = Screen(client)
        operator = Screen(other)
        refused = client.get(f"/api/v1/beds/{BED}/trends")
    family.socket.close()
    operator.socket.close()

    assert [bed["key"] for bed in family.snapshot["beds"]] == ["baoshan-clinic:B01"]
    assert family.snapshot["beds"][0]["patient"]["identifiers"] == []
    assert family.snapshot["referrals"] == []
    assert refused.status_code == 404
    assert operator.snapshot["beds"] == []
    assert [site["site"] for site in operator.snapshot["sites"]] == [SITE]
    told = json.dumps(operator.snapshot, ensure_ascii=False)
    assert not any(name in told for name in ("谷", "示例"))


def test_trends_come_back_for_the_bed(region: Region, physician: Any) -> None:
    client, _screen = physician
    send(region)

    def points() -> Any:
        trends = client.get(f"/api/v1/beds/{BED}/trends?hours=6").json()["trends"]
        return [one for trend in trends if trend["measure"] == "hr" for one in trend["points"]]

    until(lambda: any(one["low"] <= 112 <= one["high"] for one in points()), 15, "a point of the heart rate")


def test_a_silent_site_is_an_alarm_at_the_hub(region: Region, physician: Any) -> None:
    _client, screen = physician
    region.kill("edge-clinic")
    raised = screen.until("alarm", lambda one: one["alarm"]["condition"] == "site-silent", 25)["alarm"]
    region.start_edge()
    ended = screen.until(
        "alarm", lambda one: one["alarm"]["condition"] == "site-silent" and not one["alarm"]["active"], 30
    )["alarm"]

    assert (raised["technical"], raised["priority"], raised["text"]["zh"]) == (True, "medium", "本站失联")
    assert ended["alarm_id"] == raised["alarm_id"]


def test_a_killed_broker_comes_back_and_its_new_process_id_is_told(region: Region, physician: Any) -> None:
    _client, screen = physician
    before = region.broker_pid()
    os.kill(before, signal.SIGKILL)
    until(lambda: region.broker_pid() != before, 10, "a new process id in the file")
    region.until_ready(region.hub_url, 15)
    send(region, hr="99")

    screen.until("readings", lambda one: one["bed_key"] == BED and readings(one).get("hr") == "99", 20)


def test_a_restarted_hub_shows_the_last_values_and_alarms_at_once(region: Region) -> None:
    send(region, hr="98")
    client = region.signed_in(region.hub_url, "physician")
    screen = Screen(client)
    if not any(readings(bed).get("hr") == "98" for bed in screen.snapshot["beds"]):
        screen.until("readings", lambda one: readings(one).get("hr") == "98")
    region.kill("hub")
    region.start_hub()
    again = Screen(client)
    bed = next(one for one in again.snapshot["beds"] if one["key"] == BED)

    assert readings(bed)["hr"] == "98"
    assert bed["patient"]["name"] == "示例患者"
    assert [one["referral_id"] for one in again.snapshot["referrals"]]
    assert any(one["condition"].startswith("news2") for one in again.snapshot["alarms"])
    again.socket.close()
    client.close()


def test_a_hub_that_is_asked_to_stop_ends_in_bounded_time_with_pages_open(region: Region) -> None:
    client = region.signed_in(region.hub_url, "physician")
    screen = Screen(client)
    broker, hub = region.broker_pid(), region.processes["hub"].popen
    hub.terminate()

    assert hub.wait(12) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(broker, 0)
    screen.socket.close()
    client.close()
    region.processes.pop("hub")
    region.start_hub()


def _is_news2(message: Any) -> bool:
    return str(message["alarm"]["condition"]).startswith("news2")


def _state_at_bedside(doctor: Any, referral_id: str) -> str:
    listed = doctor.get("/api/v1/referrals").json()["referrals"]
    return next((str(one["state"]) for one in listed if one["referral_id"] == referral_id), "")
