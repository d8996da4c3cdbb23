"""What every answer of the bedside page carries, and what a browser of another site can do with it: nothing."""

import inspect
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts

from edge_node.bedside import application
from edge_node.bedside.socket import REFUSED
from edge_node.bedside.station import Station

from .conftest import SITE, House, sign_in

pytestmark = pytest.mark.anyio
PATHS = ("/api/v1/station", "/api/v1/session", "/api/v1/referrals", f"/api/v1/beds/{SITE}:B01/trends", "/api/v1/none")


async def test_no_other_origin_may_read_an_answer(client: httpx.AsyncClient) -> None:
    await sign_in(client)
    client.headers["Origin"] = "https://evil.example"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-csrf-token"}
    for path in (*PATHS, "/healthz", "/metrics"):
        for answer in (await client.get(path), await client.options(path, headers=asked)):
            assert [name for name in answer.headers if name.startswith("access-control")] == [], path


async def test_the_token_of_a_session_is_in_the_cookie_alone_and_each_answer_says_its_type(
    client: httpx.AsyncClient,
) -> None:
    await sign_in(client)
    (token,) = client.cookies.values()
    assert len(token) == 43, "256 bits"
    for path in (*PATHS, "/healthz", "/metrics", "/openapi.json"):
        answer = await client.get(path)
        assert token not in answer.text
        assert not [value for value in answer.headers.values() if token in value]
        kind = answer.headers["content-type"]
        assert kind.split(";")[0].endswith("json") or "charset=utf-8" in kind


async def test_asking_changes_nothing(client: httpx.AsyncClient, house: House) -> None:
    taken: list[object] = []
    house.ward.on_readings.append(lambda *readings: taken.append(readings))
    for username in ("clinic", "physician", "daughter"):
        await sign_in(client, username)
        before = len(house.log.rows), list(house.log.waiting), house.ward.alarms()
        for path in PATHS:
            assert (await client.get(path)).status_code in (200, 403, 404)
        assert (len(house.log.rows), list(house.log.waiting), house.ward.alarms()) == before
    assert taken == []


async def test_trace_is_not_served(client: httpx.AsyncClient) -> None:
    for path in PATHS:
        assert (await client.request("TRACE", path)).status_code == 405


@pytest.mark.parametrize(("origin", "is_served"), [("http://station", True), ("https://evil.example", False)])
async def test_a_socket_is_for_pages_of_this_station_alone(
    client: httpx.AsyncClient, house: House, origin: str, is_served: bool
) -> None:
    await sign_in(client)
    ((name, token),) = client.cookies.items()
    sent: list[MutableMapping[str, Any]] = []
    steps: Iterator[MutableMapping[str, Any]] = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
    )

    async def receive() -> MutableMapping[str, Any]:
        return next(steps)

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": "/api/v1/live",
        "raw_path": b"/api/v1/live",
        "query_string": b"",
        "headers": [(b"host", b"station"), (b"origin", origin.encode()), (b"cookie", f"{name}={token}".encode())],
        "subprotocols": [],
        "server": ("station", 80),
    }
    await house.app(scope, receive, send)
    closed = [one["code"] for one in sent if one["type"] == "websocket.close"]
    assert (REFUSED not in closed) is is_served


async def test_an_unforeseen_fault_says_nothing_of_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_station: Station) -> dict[str, object]:
        raise ValueError("patient 秋禾")

    monkeypatch.setattr(Station, "for_strangers", fail)
    transport = httpx.ASGITransport(app=house.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://station") as found:
        answer = await found.get("/api/v1/station")
    assert (answer.status_code, answer.json()["code"]) == (500, "edge-error")
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "秋禾" not in answer.text
    assert "ValueError" not in answer.text


async def test_no_folder_is_listed_and_nothing_outside_of_the_page_is_served(house: House, tmp_path: Path) -> None:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<title>page</title>")
    (static / "assets" / "secret-name.js").write_text("1")
    (tmp_path / "secret.txt").write_text("not for you")
    app = application.build(house.station, static=static)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://station") as found:
        for path in ("/assets", "/assets/", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/.git/config"):
            answer = await found.get(path)
            assert "secret-name" not in answer.text
            assert "not for you" not in answer.text
        assert (await found.get("/assets/secret-name.js")).text == "1"


def test_whatever_answers_runs_on_the_thread_of_what_it_reads(house: House) -> None:
    """A plain function is given a thread of its own: figures of a dictionary that grew meanwhile ended in a 500."""
    routes = [context.original_route for context in iter_route_contexts(house.app.routes)]
    waits = [route.dependant for route in routes if isinstance(route, APIRoute | APIWebSocketRoute)]
    assert len(waits) > 10
    for dependant in waits:
        waits += dependant.dependencies
    calls = {dependant.call for dependant in waits if dependant.call is not None}
    assert [call for call in calls if not inspect.iscoroutinefunction(call)] == []
