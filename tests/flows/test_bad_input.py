"""Bad inputs against a running region: hub, broker and one edge as processes, and a rogue node that speaks MQTT.

The table with what is expected is docs/bad-input.md; a test of the architecture holds both together.
"""

import asyncio
import contextlib
import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest
from telemed.topics import Up
from telemed.wire import Kind, encode

from cloud_hub.ingest.mqtt import BrokerLink, BrokerLogin
from tests.fakes.brokers import running
from tests.fakes.containers import CLINIC, HOME, numeric, of_schema, sealed, wave
from tests.fakes.edge import FakeEdge
from tests.region.region import PASSWORD, Clinic, Region, until
from tests.region.screen import Screen

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
BED, SITE, ROGUE = "baoshan-clinic:B02", "baoshan-clinic", "heming-home"
HR, SPO2 = "147842^MDC_ECG_HEART_RATE^MDC", "150456^MDC_PULS_OXIM_SAT_O2^MDC"
UNITS = {HR: "264864^MDC_DIM_BEAT_PER_MIN^MDC", SPO2: "262688^MDC_DIM_PERCENT^MDC"}
STALL_S = 30.0


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """A hub and the clinic's edge; the edge of the home is not started: tests speak in its name."""
    made = Region(tmp_path_factory.mktemp("region"), (Clinic(), Clinic(ROGUE, "edge-home", ("S01",))))
    made.prepare()
    try:
        made.start_hub()
        made.start_edge("edge-clinic")
        made.until_ready(made.page_url("edge-clinic"))
        yield made
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.stop()


@pytest.fixture(scope="module")
def stalled(region: Region) -> Iterator[tuple[socket.socket, float]]:
    """A connection that began a message long ago."""
    with connected(region) as line:
        line.sendall(b"\x0bMSH|^~\\&|a message that never")
        yield line, time.monotonic()


@pytest.fixture(scope="module")
def operator(region: Region) -> Iterator[httpx.Client]:
    with contextlib.closing(region.signed_in(region.hub_url, "operator")) as client:
        yield client


@pytest.fixture
def physician(region: Region) -> Iterator[tuple[httpx.Client, Screen]]:
    client = region.signed_in(region.hub_url, "physician")
    screen = Screen(client)
    yield client, screen
    screen.socket.close()
    client.close()


def connected(region: Region) -> socket.socket:
    return socket.create_connection(("127.0.0.1", region.ports["edge-clinic.hl7"]), 5)


def message(values: dict[str, str], *, year: str = "", patient: str = "", control: str = "") -> bytes:
    """A set of the monitor at B02, as of now."""
    now = year or datetime.now(UTC).strftime("%Y")
    now += datetime.now(UTC).strftime("%m%d%H%M%S.%f")[:-3] + "+0000"
    control = control or f"T{time.time_ns()}"
    head = (
        f"MSH|^~\\&|QY-MON^0A1B2CFFFE3D4E5F^EUI-64|BAOSHAN-CLINIC|EDGE-GW|BAOSHAN-EDGE|{now}||ORU^R01^ORU_R01|{control}"
        "|P|2.6|||NE|AL|CHN|UNICODE UTF-8|||IHE_PCD_001^IHE PCD^1.3.6.1.4.1.19376.1.6.1.1.1^ISO"
    )
    lines = [
        head,
        f"PID|||{patient}",
        "PV1||O|OBS^R1^B02^BAOSHAN-CLINIC",
        f"OBR|1|{control}|{control}|182777000^monitoring of patient^SCT|||{now}",
    ]
    for number, (code, value) in enumerate(values.items(), 1):
        lines.append(f"OBX|{number}|NM|{code}|1.1.1.{number}|{value}|{UNITS[code]}|||||R")
    return "\r".join(lines).encode()


def ask(line: socket.socket, payload: bytes) -> str:
    """Send a message and return the code of its acknowledgement."""
    line.sendall(b"\x0b" + payload + b"\x1c\r")
    answer = b""
    while not answer.endswith(b"\x1c\r"):
        answer += line.recv(4096)
    found = re.search(rb"MSA\|(\w\w)", answer)
    assert found, answer
    return found[1].decode()


def figure(region: Region, pattern: str) -> float:
    """Sum of the edge's figures whose line matches."""
    text = httpx.get(f"{region.page_url('edge-clinic')}/metrics", timeout=5).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(pattern, line))


def stuck(operator: httpx.Client, site: str, code: str) -> str:
    """Wait until the operator's screen shows this code at a site, and return its English words."""

    def words() -> str:
        screen = Screen(operator)
        screen.socket.close()
        shown = (one for view in screen.snapshot["sites"] if view["site"] == site for one in view["stuck"])
        return next((str(one["text"]["en"]) for one in shown if one["code"] == code), "")

    return until(words, 15, f"{code} at {site}")


def audited(region: Region) -> list[tuple[str, str, str]]:
    with contextlib.closing(sqlite3.connect(region.folder / "hub" / "care.db")) as database:
        return list(database.execute("SELECT action, object, result FROM audit"))


def as_rogue(region: Region, work: Callable[[FakeEdge], Awaitable[None]]) -> None:
    """Do something at the broker as the node of the home."""
    login = BrokerLogin("127.0.0.1", region.ports["broker"], "edge-home", "trial-secret-of-edge-home")

    async def speak() -> None:
        edge = FakeEdge(login, HOME)
        async with running(edge.run()):
            await edge.until(lambda: edge.link.is_connected)
            await work(edge)

    asyncio.run(speak())


def test_row_01_begins_a_frame_that_will_stall(stalled: tuple[socket.socket, float]) -> None:
    """Its end is the last test of this module: the limit is 30 s."""
    assert stalled[1] > 0


def test_row_02_a_frame_without_end_is_cut_at_one_megabyte(region: Region) -> None:
    with connected(region) as line:
        answer = b""
        with contextlib.suppress(ConnectionError):
            line.sendall(b"\x0bMSH|^~\\&|" + bytes([65]) * 1_200_000)
            while part := line.recv(4096):
                answer += part
        assert b"MSA|AR" in answer
    with connected(region) as line:
        assert ask(line, message({HR: "71"})) == "AA"


def test_row_03_a_message_without_its_head_is_refused_and_kept(region: Region) -> None:
    before = figure(region, r"edge_hl7_refusals_total")
    with connected(region) as line:
        assert ask(line, b"PID|||1\rOBX|1|NM|x") == "AR"
        assert ask(line, message({HR: "72"})) == "AA"
    assert figure(region, r"edge_hl7_refusals_total") == before + 1


def test_row_04_a_message_sent_twice_is_stored_once(region: Region) -> None:
    before = figure(region, r"edge_hl7_duplicates_total")
    with connected(region) as line:
        twice = message({HR: "73"})
        assert [ask(line, twice), ask(line, twice)] == ["AA", "AA"]
    assert figure(region, r"edge_hl7_duplicates_total") == before + 1


@pytest.mark.parametrize("wrong", ["NaN", "1e999", "1,5"])
def test_row_05_a_value_that_is_no_number_hides_no_other(
    region: Region, physician: tuple[httpx.Client, Screen], wrong: str
) -> None:
    right = str(80 + len(wrong))
    with connected(region) as line:
        assert ask(line, message({HR: wrong, SPO2: right})) == "AE"
    seen = physician[1].until("readings", lambda one: right in [row["value"] for row in one["readings"]], 10)
    assert wrong not in json.dumps(seen)


def test_row_06_a_message_about_somebody_else_waits_for_a_person(
    region: Region, physician: tuple[httpx.Client, Screen], operator: httpx.Client
) -> None:
    with connected(region) as line:
        assert ask(line, message({HR: "199"}, patient="P-NOBODY^^^X^MR")) == "AA"
    bed = physician[1].until("bed", lambda one: one["bed"]["key"] == BED and one["bed"]["unassigned"], 10)["bed"]
    assert bed["unassigned"] >= 1
    assert "199" not in [row["value"] for row in bed["readings"]]
    assert "B02 ×1" in stuck(operator, SITE, "identity-mismatch")
    with connected(region) as line:
        assert ask(line, message({HR: "74"})) == "AA"


@pytest.mark.parametrize("year", ["1970", "2061"])
def test_row_07_a_time_that_cannot_be_is_shown_by_our_own_clock(
    region: Region, physician: tuple[httpx.Client, Screen], operator: httpx.Client, year: str
) -> None:
    value = year[2:]
    with connected(region) as line:
        assert ask(line, message({HR: value}, year=year)) == "AA"
    seen = physician[1].until("readings", lambda one: value in [row["value"] for row in one["readings"]], 10)
    reading = next(row for row in seen["readings"] if row["value"] == value)
    assert reading["clock_suspect"]
    assert abs(reading["measured_at_ms"] / 1000 - time.time()) < 60
    assert "mon-b02" in stuck(operator, SITE, "clock-suspect")


def test_row_17_a_publish_to_another_nodes_topic_reaches_nobody_and_is_told(
    region: Region, operator: httpx.Client
) -> None:
    forged = encode([numeric(1, "1")])

    async def forge(edge: FakeEdge) -> None:
        for _ in range(3):
            edge.link.publish(CLINIC.up(Up.VITALS), forged, 1)
        edge.send(Up.VITALS, numeric(1))
        await edge.drained()

    as_rogue(region, forge)
    assert "edge-home ×3" in stuck(operator, ROGUE, "topic-refused")
    until(lambda: ("notice", f"node/{ROGUE}/edge-home", "topic-refused") in audited(region), 5, "audit entry")
    with contextlib.closing(sqlite3.connect(region.folder / "hub" / "samples.db")) as database:
        names = [row[0] for row in database.execute("SELECT name FROM stream WHERE site = ?", (SITE,))]
    assert "mon-b01/numeric" not in names


def test_row_18_two_sessions_of_one_client_are_told_after_the_second_flip(
    region: Region, operator: httpx.Client
) -> None:
    async def twice(edge: FakeEdge) -> None:
        login = BrokerLogin("127.0.0.1", region.ports["broker"], "edge-home", "trial-secret-of-edge-home")
        clone = BrokerLink(login, [HOME.down_prefix + "#"], lambda _topic, _payload: None)
        async with running(clone.run()):
            await asyncio.sleep(3)

    as_rogue(region, twice)
    assert "edge-home" in stuck(operator, ROGUE, "node-taken-over")


def test_rows_19_to_24_what_cannot_be_read_is_kept_counted_and_told(region: Region, operator: httpx.Client) -> None:
    async def misbehave(edge: FakeEdge) -> None:
        edge.send(Up.VITALS, sealed(Kind.NUMERIC_SET, b"\xff\xff", 2), numeric(3, "93"))
        edge.send(Up.VITALS, of_schema(sealed(Kind.NUMERIC_SET, b"from the future", 4), 99))
        edge.send(Up.WAVES, wave(1), sealed(Kind.WAVEFORM_SET, b"\x28\xb5\x2f\xfd bomb", 2))
        await edge.drained()
        edge.raw(Up.VITALS, encode([numeric(3, "39")]))
        edge.raw(Up.VITALS, bytes(300_000))
        edge.send(Up.VITALS, numeric(1_000_000_005))
        await edge.drained()
        assert edge.last("mon-b01/numeric").contig == 4

    as_rogue(region, misbehave)
    for code in ("payload-unreadable", "schema-unknown", "key-conflict", "seq-jump"):
        assert "edge-home" in stuck(operator, ROGUE, code)
        until(lambda code=code: code in [row[2] for row in audited(region)], 5, f"{code} audited")  # type: ignore[misc]
    assert "upgrade the hub" in stuck(operator, ROGUE, "schema-unknown")


DEEP = b"[" * 10_000 + b"]" * 10_000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (DEEP, 400),
        (b'{"username": "a", "username": "b", "password": "c"}', 400),
        (b"[" + b" " * 10_000_000 + b"]", 413),
    ],
    ids=["deep", "a key twice", "10 MB"],
)
def test_row_28_absurd_json_is_refused_by_field_at_both_faces(region: Region, body: bytes, status: int) -> None:
    for url in (region.hub_url, region.page_url("edge-clinic")):
        headers = {"Content-Type": "application/json", "Origin": url}
        answer = httpx.post(f"{url}/api/v1/session", content=body, headers=headers, timeout=20)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["fields"]


def test_row_30_absurd_questions_are_refused_and_markup_is_only_text(
    region: Region, physician: tuple[httpx.Client, Screen]
) -> None:
    client = physician[0]
    assert client.get(f"/api/v1/beds/{BED}/trends", params={"hours": "1e9"}).status_code == 422
    assert client.get("/api/v1/referrals?limit=%00").status_code == 422
    with contextlib.closing(region.fhir()) as fhir:
        found = fhir.get("/fhir/R4/Patient", params={"name": "<script>' OR 1=1 --"})
        assert found.status_code == 200
        assert "entry" not in found.json() or not found.json()["entry"]
        assert "<script>" not in found.text


def test_row_32_another_sites_bed_is_not_found_and_the_attempt_is_audited(region: Region) -> None:
    with contextlib.closing(region.signed_in(region.hub_url, "clinic")) as client:
        assert client.get(f"/api/v1/beds/{ROGUE}:S01/trends").status_code == 404
    assert ("refused", f"GET /api/v1/beds/{ROGUE}:S01/trends", "not-found") in audited(region)


def test_row_33_a_cookie_without_its_token_or_after_sign_out_is_worth_nothing(region: Region) -> None:
    for url in (region.hub_url, region.page_url("edge-clinic")):
        with contextlib.closing(region.signed_in(url, "clinic")) as client:
            move = {"action": "triage-accept", "version": 1}
            forged = client.post("/api/v1/referrals/x/moves", json=move, headers={"X-CSRF-Token": ""})
            assert forged.status_code == 403
            elsewhere = client.post("/api/v1/referrals/x/moves", json=move, headers={"Origin": "http://evil.example"})
            assert elsewhere.status_code == 403
            kept = dict(client.cookies)
            assert client.delete("/api/v1/session").status_code == 204
        assert httpx.get(f"{url}/api/v1/session", cookies=kept).status_code == 401
        assert PASSWORD not in region.logs()


def test_row_40_a_wrong_configuration_is_refused_with_its_place(region: Region) -> None:
    for module, name in (("cloud_hub", "hub.toml"), ("edge_node", "edge-clinic.toml")):
        text = (region.folder / name).read_text()
        (region.folder / f"wrong-{name}").write_text("colour = 'red'\n" + text)
        command = [sys.executable, "-m", module, "check-config", "--config", f"wrong-{name}"]
        done = subprocess.run(command, cwd=region.folder, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode != 0
        assert f"wrong-{name}" in done.stdout + done.stderr
        assert "colour" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_row_01_a_frame_that_stalls_is_dropped_and_the_line_can_go_on(
    region: Region, stalled: tuple[socket.socket, float]
) -> None:
    line, began_s = stalled
    until(
        lambda: figure(region, r"edge_hl7_frame_faults_total") >= 1 and time.monotonic() - began_s > STALL_S,
        STALL_S + 5,
        "the partial frame is dropped",
    )
    line.settimeout(5)
    assert ask(line, message({HR: "75"})) == "AA"
