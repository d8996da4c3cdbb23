"""Nodes over HTTP: the operator lets in and shuts out, nobody else, and what is shown once is kept nowhere."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from fastapi import FastAPI
from telemed.enrolment import parse_token
from telemed.topics import NodeAddress

from cloud_hub.access import device_ca
from cloud_hub.access.enrolment import TOKEN_LIFE_NS, Enrolment, Rules
from cloud_hub.access.sign_in import Access
from cloud_hub.store.engine import Database
from cloud_hub.web import problems
from cloud_hub.web.api import nodes, session
from cloud_hub.web.parts import NodeDesk
from tests.cloud_hub.access.conftest import PASSWORD, Clock
from tests.cloud_hub.access.test_enrolment import request_for

AUTHORITY = device_ca.new_authority("baoshan")
PINNED = AUTHORITY.certificate.fingerprint(hashes.SHA256())
CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
TOKEN = "/api/v1/nodes/baoshan-clinic/edge-clinic/token"
REVOCATION = "/api/v1/nodes/baoshan-clinic/edge-clinic/revocation"

pytestmark = pytest.mark.anyio


class Face:
    """The routes over a desk, with a browser."""

    def __init__(self, access: Access, care: Database, clock: Clock) -> None:
        self.told: list[str] = []
        self.enrolment = Enrolment(AUTHORITY, Rules("baoshan", timedelta(days=7), timedelta(days=30), "hub"), clock)
        self.care = care

        async def changed() -> None:
            self.told.append("changed")

        self.app = FastAPI()
        self.app.state.access = access
        self.days: int | None = None
        desk = NodeDesk(self.enrolment, "hub.example.org", 8445, PINNED, changed, clock, lambda: self.days)
        self.app.state.parts = SimpleNamespace(
            nodes=desk, config=SimpleNamespace(region="baoshan"), stores=SimpleNamespace(care=care)
        )
        problems.install(self.app)
        self.app.include_router(session.router)
        self.app.include_router(nodes.router)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.app), base_url="http://hub")

    async def sign_in(self, name: str) -> None:
        answer = await self.client.post("/api/v1/session", json={"username": name, "password": PASSWORD})
        self.client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]

    async def enrol(self) -> None:
        token = parse_token((await self.client.post(TOKEN)).json()["token"])
        request = request_for(device_ca.new_key())
        await self.care.write(lambda c: self.enrolment.enrol(c, token.secret, request))


@pytest.fixture
async def face(access: Access, care: Database, clock: Clock) -> AsyncIterator[Face]:
    made = Face(access, care, clock)
    async with made.client:
        yield made


async def test_an_operator_gets_a_token_as_text_and_as_a_picture(face: Face, clock: Clock, audit_of: Any) -> None:
    await face.sign_in("operator")
    answer = await face.client.post(TOKEN)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    shown = answer.json()
    token = parse_token(shown["token"])
    assert (token.host, token.port, token.address) == ("hub.example.org", 8445, CLINIC)
    assert token.ca_sha256 == PINNED
    assert shown["ends_ms"] == (clock() + TOKEN_LIFE_NS) // 1_000_000
    size = len(shown["qr"])
    assert {len(row) for row in shown["qr"]} == {size}
    assert [row[:7] for row in shown["qr"][:2]] == ["1111111", "1000001"], "the corner by which a camera finds it"
    assert audit_of()[-1] == ("operator", "node-invite", "node/baoshan-clinic/edge-clinic", "ok")
    assert token.secret not in str(audit_of())


async def test_a_node_is_listed_until_it_is_revoked_and_the_listeners_are_told(face: Face, clock: Clock) -> None:
    await face.sign_in("operator")
    await face.enrol()
    listed = (await face.client.get("/api/v1/nodes")).json()
    assert listed["is_certified"]
    assert [(row["node"], row["state"]) for row in listed["nodes"]] == [("edge-clinic", "good")]
    clock.pass_s(8 * 24 * 3600)
    await face.sign_in("operator")
    assert (await face.client.get("/api/v1/nodes")).json()["nodes"][0]["state"] == "ended"
    answer = await face.client.post(REVOCATION, json={"reason": "stolen"})
    assert answer.json() == {"certificates": 1}
    assert face.told == ["changed"]
    row = (await face.client.get("/api/v1/nodes")).json()["nodes"][0]
    assert (row["state"], row["reason"]) == ("revoked", "stolen")


@pytest.mark.parametrize("who", ["physician", "clinic", "caregiver"])
async def test_nobody_but_an_operator_may(face: Face, who: str) -> None:
    await face.sign_in(who)
    answers = [
        await face.client.get("/api/v1/nodes"),
        await face.client.post(TOKEN),
        await face.client.post(REVOCATION, json={}),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]


async def test_a_request_that_another_page_sent_makes_no_token(face: Face) -> None:
    await face.sign_in("operator")
    del face.client.headers["X-CSRF-Token"]
    assert (await face.client.post(TOKEN)).status_code == 403


@pytest.mark.parametrize("path", ["/api/v1/nodes/UPPER/edge/token", "/api/v1/nodes/a%2F..%2Fb/edge/token"])
async def test_what_is_no_name_is_refused(face: Face, path: str) -> None:
    await face.sign_in("operator")
    assert (await face.client.post(path)).status_code in {404, 422}


async def test_an_operator_sees_that_the_hub_s_authority_ends_soon(face: Face) -> None:
    await face.sign_in("operator")
    assert (await face.client.get("/api/v1/nodes")).json()["authority_days"] is None
    face.days = 12
    assert (await face.client.get("/api/v1/nodes")).json()["authority_days"] == 12


async def test_a_hub_that_knows_nodes_by_secrets_says_so(face: Face, tmp_path: Path) -> None:
    await face.sign_in("operator")
    face.app.state.parts.nodes = None
    shown = {"is_certified": False, "nodes": [], "authority_days": None}
    assert (await face.client.get("/api/v1/nodes")).json() == shown
    assert (await face.client.post(TOKEN)).status_code == 404
