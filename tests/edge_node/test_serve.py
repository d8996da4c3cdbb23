"""A real node as a process: HL7 in over TCP, alarm and reading out on the page's WebSocket, hub absent."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.edge_node.node_process import PASSWORD, NodeProcess, prepare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    process = NodeProcess.at(tmp_path)
    assert process.admit().returncode == 0
    anyio.run(prepare, tmp_path)
    process.start()
    yield process
    if process.process is not None and process.process.poll() is None:
        assert process.stop() == 0


async def sign_in(client: httpx.AsyncClient, username: str = "clinic") -> dict[str, Any]:
    answer = await client.post("/api/v1/session", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
    me: dict[str, Any] = answer.json()
    return me


def live(node: NodeProcess, client: httpx.AsyncClient) -> connect:
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    address = f"ws://127.0.0.1:{node.page_port}/api/v1/live"
    return connect(address, additional_headers={"Cookie": cookie})


async def until(socket: ClientConnection, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    with anyio.fail_after(10):
        while True:
            message: dict[str, Any] = json.loads(await socket.recv())
            if wanted(message):
                return message


@pytest.mark.anyio
async def test_a_monitor_message_is_on_the_page_with_its_alarm_within_two_seconds(node: NodeProcess) -> None:
    async with httpx.AsyncClient(base_url=node.url) as client:
        await sign_in(client)
        async with live(node, client) as socket:
            snapshot = await until(socket, lambda row: row["type"] == "snapshot")
            assert [bed["label"] for bed in snapshot["beds"]] == ["02", "03"]
            assert snapshot["beds"][0]["patient"]["name"] == "示例患者"

            sent_s = time.monotonic()
            answer = await anyio.to_thread.run_sync(lambda: node.send("M-1"))
            assert "MSA|AA|M-1" in answer
            # The alarm is told before the values that raised it.
            alarm = await until(socket, lambda row: row["type"] == "alarm" and row["alarm"]["bed_key"].endswith("B02"))
            message = await until(socket, lambda row: row["type"] == "readings")
            assert {row["measure"]: row["value"] for row in message["readings"]} == {
                "hr": "112",
                "rr": "22",
                "spo2": "93",
                "nibp_sys": "105",
                "nibp_dia": "62",
                "temp": "38.4",
            }
            assert (message["news2"]["total"], message["news2"]["complete"]) == (8, False)
            assert time.monotonic() - sent_s < 2
            assert alarm["alarm"]["condition"] == "news2-high"
            assert alarm["alarm"]["priority"] == "high"

            accepted = await client.post(
                f"/api/v1/alarms/{alarm['alarm']['alarm_id']}/actions", json={"action": "accept"}
            )
            assert accepted.json()["accepted_by"] == {"zh": "黄芪", "en": "clinic"}
            moved = await until(socket, lambda row: row["type"] == "alarm" and row["alarm"]["accepted_by"] is not None)
            assert [step["phase"] for step in moved["alarm"]["steps"]] == ["start", "accepted"]


@pytest.mark.anyio
async def test_a_node_that_was_stopped_knows_its_alarms_and_referrals_again(node: NodeProcess) -> None:
    referral_id = "01939d2e-5c00-7000-8000-000000000001"
    async with httpx.AsyncClient(base_url=node.url) as client:
        await sign_in(client)
        await anyio.to_thread.run_sync(lambda: node.send("M-1"))
        body = {"referral_id": referral_id, "bed_key": "baoshan-clinic:B02", "main_signs": ["speech"]}
        first = await client.post("/api/v1/referrals", json=body)
        assert (first.status_code, first.json()["sync"], first.json()["offline"]) == (201, "saved-here", True)
        assert (await client.post("/api/v1/referrals", json=body)).status_code == 200
    assert await anyio.to_thread.run_sync(node.stop) == 0
    await anyio.to_thread.run_sync(node.start)
    async with httpx.AsyncClient(base_url=node.url) as client:
        await sign_in(client)
        referrals = (await client.get("/api/v1/referrals")).json()["referrals"]
        assert [row["referral_id"] for row in referrals] == [referral_id]
        async with live(node, client) as socket:
            snapshot = await until(socket, lambda row: row["type"] == "snapshot")
        standing = [row["condition"] for row in snapshot["alarms"] if row["bed_key"].endswith("B02") and row["active"]]
        assert "news2-high" in standing
        assert len(standing) == len(set(standing))


@pytest.mark.anyio
async def test_a_caregiver_sees_and_observes_their_own_person_alone(node: NodeProcess) -> None:
    async with httpx.AsyncClient(base_url=node.url) as client:
        await sign_in(client, "daughter")
        async with live(node, client) as socket:
            snapshot = await until(socket, lambda row: row["type"] == "snapshot")
        assert [bed["bed"] for bed in snapshot["beds"]] == ["B02"]
        assert snapshot["referrals"] == []
        assert (await client.get("/api/v1/referrals")).status_code == 403
        assert (await client.get("/api/v1/beds/baoshan-clinic:B03/trends")).status_code == 404
        of_their_own = await client.post("/api/v1/beds/baoshan-clinic:B02/observations", json={"acvpu": "A"})
        of_another = await client.post("/api/v1/beds/baoshan-clinic:B03/observations", json={"acvpu": "A"})
        assert (of_their_own.status_code, of_another.status_code) == (201, 404)


@pytest.mark.anyio
async def test_consciousness_and_oxygen_are_entered_and_complete_the_score(node: NodeProcess) -> None:
    async with httpx.AsyncClient(base_url=node.url) as client:
        await sign_in(client)
        await anyio.to_thread.run_sync(lambda: node.send("M-1"))
        body = {"acvpu": "A", "oxygen": "air"}
        answer = await client.post("/api/v1/beds/baoshan-clinic:B02/observations", json=body)
        assert [row["value"] for row in answer.json()] == ["A", "air"]
        async with live(node, client) as socket:
            snapshot = await until(socket, lambda row: row["type"] == "snapshot")
        score = snapshot["beds"][0]["news2"]
        assert (score["total"], score["complete"]) == (8, True)
        trends = (await client.get("/api/v1/beds/baoshan-clinic:B02/trends?hours=1")).json()
        assert "hr" in {row["measure"] for row in trends["trends"]}


def test_a_port_in_use_is_refused_by_name(node: NodeProcess, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    text = (tmp_path / "node.toml").read_text(encoding="utf-8")
    (other / "node.toml").write_text(text, encoding="utf-8")
    (other / "secret").write_text("secret\n")
    refused = node.command("serve", "--config", str(other / "node.toml"))
    assert refused.returncode == 2
    assert f"hl7.port: port {node.hl7_port}" in refused.stderr


def test_people_are_not_admitted_beside_a_running_node(node: NodeProcess) -> None:
    refused = node.admit()
    assert refused.returncode == 2
    assert "is in use by a running node" in refused.stderr
