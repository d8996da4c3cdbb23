"""The hub's HTTP face as a whole: rights of every route, bad input, and other people's things."""

import asyncio
from collections.abc import AsyncIterator, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, select
from telemed.roles import Role
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub import face
from cloud_hub.access.sign_in import Access
from cloud_hub.config import HubConfig
from cloud_hub.consult.signalling import Consults, Outlets
from cloud_hub.desk.alarms import Alarms
from cloud_hub.desk.consents import Around, Consents
from cloud_hub.desk.intake import Intake
from cloud_hub.desk.referrals import Referrals
from cloud_hub.store import accounts
from cloud_hub.store.accounts import Account
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES, audit
from cloud_hub.web import guard, static_files
from cloud_hub.web.live import Live, Stores
from cloud_hub.web.parts import Parts
from tests.cloud_hub.access.conftest import hashed

REGION, CLINIC, HOME = "baoshan", "baoshan-clinic", "heming-home"
ADDRESS = NodeAddress(REGION, CLINIC, "edge-clinic")
__all__ = ["hashed"]
NOW_NS = 1_800_000_000 * 10**9
PASSWORD = "amber-birch-cedar-0001"
STATIC = {("GET", "/{path:path}"), ("GET", "/metrics")}
"""Files of the page, and the numbers, which guard themselves."""
PEOPLE = {
    "physician": (Role.PHYSICIAN, ()),
    "clinic": (Role.CLINIC, (CLINIC,)),
    "home": (Role.CLINIC, (HOME,)),
    "caregiver": (Role.CAREGIVER, (CLINIC,)),
    "operator": (Role.OPERATOR, ()),
}


@pytest.fixture
def stores(tmp_path: Path, hashed: str) -> Iterator[Stores]:
    opened = Stores(
        Database(f"sqlite:///{tmp_path}/care.db", CARE, "care"),
        Database(f"sqlite:///{tmp_path}/samples.db", SAMPLES, "samples"),
    )
    opened.care.migrate()
    opened.samples.migrate()
    opened.care.write_blocking(lambda c: _fill(c, hashed))
    yield opened
    opened.care.close()
    opened.samples.close()


def _fill(connection: Connection, hashed: str) -> None:
    for username, (role, sites) in PEOPLE.items():
        accounts.save_account(connection, Account(username, role, username, username, sites, hashed), NOW_NS)
    intake = Intake(lambda _taken: None)
    node = event_pb2.Actor(username="edge-clinic", role="node")

    def take(event_id: str, kind: str, which: str, actor: event_pb2.Actor = node, **body: Any) -> None:
        event = event_pb2.Event(
            event_id=event_id, aggregate_type=kind, aggregate_id=which, at_unix_ns=NOW_NS, actor=actor, **body
        )
        intake.take_event(connection, ADDRESS, event, NOW_NS)

    beds = [event_pb2.BedLabel(bed="B01", label="01")]
    take("n", "node", "edge-clinic", node_described=event_pb2.NodeDescribed(name_zh="卫生院", beds=beds))
    take("p", "person", "p1", person_registered=event_pb2.PersonRegistered(family_name="谷", given_name="雨"))
    take("b", "bed", "B01", bed_assigned=event_pb2.BedAssigned(person_id="p1", from_unix_ns=NOW_NS))
    doctor = event_pb2.Actor(username="clinic", role="clinic")
    submitted = event_pb2.ReferralSubmitted(level_claim="T0", bed="B01", person_id="p1")
    take("r", "referral", "r1", doctor, referral_submitted=submitted)
    step = alarm_pb2.AlarmEvent(
        alarm_id="a1", alarm_seq=1, phase=alarm_pb2.PHASE_START, condition="spo2-low", bed="B01", person_id="p1"
    )
    intake.take_alarm(connection, ADDRESS, step, NOW_NS)


@pytest.fixture
async def app(stores: Stores) -> FastAPI:
    config = HubConfig.model_validate(
        {
            "region": REGION,
            "name_zh": "中心",
            "name_en": "Hub",
            "demo": True,
            "store": {"samples_url": "sqlite://", "care_url": "sqlite://"},
            "broker": {"secrets_file": "x"},
        }
    )
    live = Live(stores, REGION, 15, lambda: NOW_NS)
    await live.load()

    async def forget(_address: NodeAddress, _event: event_pb2.Event) -> None: ...

    outlets = Outlets(lambda _a, _s: None, live.to_page, live.consult_changed, live.picture.node_at, forget, str)
    consults = Consults(outlets)
    parts = Parts(
        config=config,
        stores=stores,
        live=live,
        alarms=Alarms(stores.care, REGION, live.take, lambda: NOW_NS),
        referrals=Referrals(stores.care, REGION, live.take, lambda: NOW_NS),
        consents=Consents(Around(stores.care, REGION, live.take, lambda: NOW_NS)),
        calls=consults,
        signals=consults,
        is_ready=lambda: ["broker"],
    )
    return face.build(parts, Access(stores.care, REGION), CollectorRegistry(), "0.0.0")


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("127.0.0.1", 9))
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        yield client


async def _sign_in(client: httpx.AsyncClient, username: str) -> None:
    answer = await client.post("/api/v1/session", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]


@pytest.mark.anyio
async def test_every_route_names_a_right_or_is_in_the_open_list(app: FastAPI) -> None:
    routes = guard.rights_by_route(app)
    bare = {
        (method, path)
        for (method, path), right in routes.items()
        if right is None and path not in guard.OPEN_PATHS and not path.startswith("/fhir/R4/{rest")
    }

    assert bare == STATIC
    assert {"/api/v1/live", "/api/v1/referrals", "/api/v1/alarms/{alarm_id}/actions"} <= {path for _, path in routes}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/referrals"),
        ("POST", "/api/v1/referrals/r1/moves"),
        ("POST", "/api/v1/alarms/a1/actions"),
        ("GET", f"/api/v1/beds/{CLINIC}:B01/trends"),
        ("POST", "/api/v1/consults"),
        ("GET", "/api/v1/nodes"),
        ("POST", "/api/v1/nodes/baoshan-clinic/edge-clinic/token"),
        ("POST", "/api/v1/nodes/baoshan-clinic/edge-clinic/revocation"),
        ("GET", "/fhir/R4/Patient"),
    ],
)
async def test_a_stranger_gets_nothing(stranger: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await stranger.request(method, path, json={} if method == "POST" else None)

    assert answer.status_code == 401
    assert "谷" not in answer.text


@pytest.mark.anyio
async def test_what_is_open_answers_without_a_session(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.get("/healthz")).json() == {"status": "ok"}
    ready = await stranger.get("/readyz")
    assert (ready.status_code, ready.json()["missing"]) == (503, ["broker"])
    assert (await stranger.get("/openapi.json")).status_code == 200
    assert (await stranger.get("/metrics")).status_code == 200


@pytest.mark.anyio
async def test_other_peoples_things_are_not_found_and_the_attempt_is_audited(
    stranger: httpx.AsyncClient, stores: Stores
) -> None:
    await _sign_in(stranger, "home")
    move = {"action": "move", "to_state": "CANCELLED", "reason_code": "x", "version": 1}
    answers = [
        await stranger.post("/api/v1/alarms/a1/actions", json={"action": "accept"}),
        await stranger.post("/api/v1/referrals/r1/moves", json=move),
        await stranger.get(f"/api/v1/beds/{CLINIC}:B01/trends"),
    ]
    absent = await stranger.get(f"/api/v1/beds/{HOME}:B99/trends")
    listed = await stranger.get("/api/v1/referrals")
    rows = stores.care.read_blocking(lambda c: c.execute(select(audit).where(audit.c.result == "not-found")).all())

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    # Nothing tells what exists elsewhere from what does not exist at all.
    assert answers[2].json() == absent.json()
    assert listed.json() == {"referrals": []}
    assert len(rows) >= 3


@pytest.mark.anyio
async def test_roles_may_do_what_the_table_says_and_no_more(stranger: httpx.AsyncClient) -> None:
    # An operator answers for technical alarms, and is not told that there are others.
    expected = {"caregiver": 403, "operator": 404}
    for username, status in expected.items():
        await _sign_in(stranger, username)
        assert (await stranger.post("/api/v1/alarms/a1/actions", json={"action": "accept"})).status_code == status
        assert (await stranger.get("/api/v1/referrals")).status_code == 403
    await _sign_in(stranger, "clinic")
    triage = await stranger.post("/api/v1/referrals/r1/moves", json={"action": "triage-accept", "version": 1})
    call = await stranger.post("/api/v1/consults", json={"bed_key": f"{CLINIC}:B01"})
    assert (triage.status_code, call.status_code) == (403, 403)


@pytest.mark.anyio
async def test_a_change_without_the_token_or_after_signing_out_is_refused(stranger: httpx.AsyncClient) -> None:
    await _sign_in(stranger, "physician")
    token = stranger.headers.pop("X-CSRF-Token")
    cookie = stranger.cookies["yz_session"]
    forged = await stranger.post("/api/v1/alarms/a1/actions", json={"action": "accept"})
    stranger.headers["X-CSRF-Token"] = token
    await stranger.delete("/api/v1/session")
    replayed = await stranger.post(
        "/api/v1/alarms/a1/actions", json={"action": "accept"}, headers={"Cookie": f"yz_session={cookie}"}
    )

    assert (forged.status_code, replayed.status_code) == (403, 401)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 10_000 + b"]" * 10_000, 400),
        (b'{"action": "accept", "action": "reset"}', 400),
        (b'{"action": "accept", "text": "' + b"x" * 10_000_000 + b'"}', 413),
        (b'{"action": "accept", "text": "\\u0000"}', 400),
        (b'{"action": "fly"}', 422),
        (b"{", 400),
    ],
)
async def test_bad_bodies_are_refused_with_the_field(stranger: httpx.AsyncClient, body: bytes, status: int) -> None:
    await _sign_in(stranger, "physician")
    answer = await stranger.post(
        "/api/v1/alarms/a1/actions", content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["fields"]
    assert answer.json()["text"]["zh"]


@pytest.mark.anyio
@pytest.mark.parametrize("hours", ["1e9", "-1", "nan", "inf", "0", "x", "6' OR 1=1", "%00"])
async def test_bad_questions_are_refused(stranger: httpx.AsyncClient, hours: str) -> None:
    await _sign_in(stranger, "physician")
    answer = await stranger.get(f"/api/v1/beds/{CLINIC}:B01/trends?hours={hours}")

    assert answer.status_code == 422


@pytest.mark.anyio
async def test_a_physician_takes_a_referral_and_sees_what_is_allowed_next(stranger: httpx.AsyncClient) -> None:
    await _sign_in(stranger, "physician")
    body = {"action": "triage-accept", "version": 1}
    done = await stranger.post("/api/v1/referrals/r1/moves", json=body)
    again = await stranger.post("/api/v1/referrals/r1/moves", json=body)

    assert (done.status_code, done.json()["state"], done.json()["owner"]) == (200, "ACCEPTED", "physician")
    assert (again.status_code, again.json()["code"]) == (409, "refused-illegal-state")
    assert "SCHEDULED" in again.json()["allowed"]


@pytest.mark.anyio
async def test_a_session_that_asks_too_often_is_told_when_to_come_back(
    app: FastAPI, stranger: httpx.AsyncClient
) -> None:
    await _sign_in(stranger, "physician")
    for _ in range(100):
        assert (await stranger.get("/api/v1/session")).status_code == 200
    refused = await stranger.get("/api/v1/session")
    while refused.status_code == 200:  # a busy machine takes so long for a hundred that one more is allowed
        refused = await stranger.get("/api/v1/session")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.json()["code"], refused.json()["text"]["zh"][:2]) == ("too-many-requests", "请求")
    as_fhir = await stranger.get("/fhir/R4/Patient")
    assert (as_fhir.status_code, as_fhir.json()["resourceType"]) == (429, "OperationOutcome")
    assert (await stranger.get("/healthz")).status_code == 200
    stranger.cookies.clear()
    await _sign_in(stranger, "clinic")
    assert (await stranger.get("/api/v1/session")).status_code == 200


@pytest.mark.anyio
async def test_every_answer_carries_the_security_headers(stranger: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/api/v1/referrals", "/nowhere", "/fhir/R4/metadata"):
        headers = (await stranger.get(path)).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.anyio
async def test_the_page_is_served_for_its_own_paths_and_nothing_outside_the_bundle(tmp_path: Path) -> None:
    bundle = tmp_path / "hub"
    (bundle / "assets").mkdir(parents=True)
    (bundle / "index.html").write_text("<title>page</title>")
    (bundle / "assets" / "a.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    app = FastAPI()
    static_files.install(app, bundle)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        pages = await asyncio.gather(*(client.get(path) for path in ("/", "/wall", "/patient/x:B01")))
        script = await client.get("/assets/a.js")
        missing = [(await client.get(path)).status_code for path in ("/api/v1/none", "/assets/none.js")]
        outside = [await client.get(path) for path in ("/..%2fsecret.txt", "/%2e%2e/secret.txt", "/a%00b")]

    assert all("page" in page.text for page in pages)
    assert "immutable" in script.headers["cache-control"]
    assert missing == [404, 404]
    assert all("secret" not in answer.text for answer in outside)


@pytest.mark.anyio
async def test_a_hub_without_its_page_says_what_to_do(tmp_path: Path) -> None:
    app = FastAPI()
    static_files.install(app, tmp_path / "none")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        answer = await client.get("/")

    assert answer.status_code == 404
    assert "make ui" in answer.text


async def _page_that_leaves(app: FastAPI, cookie: str) -> list[str]:
    """Open the live socket as a server does, leave after the snapshot, and refuse what is sent after that."""
    sent: list[str] = []
    snapshot = asyncio.Event()
    steps: Iterator[MutableMapping[str, Any]] = iter(
        [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
    )

    async def receive() -> MutableMapping[str, Any]:
        step = next(steps)
        if step["type"] == "websocket.disconnect":
            await snapshot.wait()
        return step

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.close":
            raise OSError("the peer is gone")
        if message["type"] == "websocket.send":
            snapshot.set()

    scope = {
        "type": "websocket",
        "scheme": "ws",
        "path": "/api/v1/live",
        "raw_path": b"/api/v1/live",
        "query_string": b"",
        "headers": [(b"host", b"hub"), (b"origin", b"http://hub"), (b"cookie", f"yz_session={cookie}".encode())],
        "subprotocols": [],
    }
    await app(scope, receive, send)
    return sent


@pytest.mark.anyio
async def test_a_page_that_closes_leaves_no_error_and_no_feed_behind(app: FastAPI, stranger: httpx.AsyncClient) -> None:
    await _sign_in(stranger, "physician")
    sent = await _page_that_leaves(app, stranger.cookies["yz_session"])

    assert sent[:2] == ["websocket.accept", "websocket.send"]
    assert not app.state.parts.live.feeds
