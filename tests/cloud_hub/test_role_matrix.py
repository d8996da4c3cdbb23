"""Every route of the hub, for every role, for one's own, another, a far and a past person, against a table by hand."""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, select
from telemed.roles import Role

from cloud_hub.access.oauth import OAuth
from cloud_hub.access.sign_in import Access, SecondFactor
from cloud_hub.access.wall_displays import WallDisplays
from cloud_hub.fhir.audit_event import HASH_SHOWN_CHARS
from cloud_hub.store import accounts
from cloud_hub.store.accounts import SetBy
from cloud_hub.store.schema import audit
from cloud_hub.web import guard
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.role_world import app, stores
from tests.rights.table import ALLOW, FORBID, HIDE, OBJECTS, OUTCOMES, TECHNICAL, Route, routes

__all__ = ["app", "hashed", "stores"]
pytestmark = pytest.mark.anyio
TABLE = routes("hub_routes.csv")
OPEN = {row.path for row in TABLE if row.kind == "open"}


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        yield client


async def test_the_table_names_every_route_of_the_hub_and_no_other(app: FastAPI) -> None:
    listed = {(row.method, row.path) for row in TABLE if row.method != "*"}
    any_method = {row.path for row in TABLE if row.method == "*"}
    served = {one for one in guard.rights_by_route(app) if one[1] not in any_method}
    assert served == listed


async def test_only_what_the_table_calls_open_is_open(app: FastAPI) -> None:
    bare = {path for (_, path), right in guard.rights_by_route(app).items() if right is None}
    # Signing in has the same path as asking who one is.
    assert bare - {"/api/v1/session"} == OPEN - {"/api/v1/session"}


@pytest.mark.parametrize("role", sorted(Role))
async def test_each_cell_is_as_the_table_says(role: Role, app: FastAPI, stranger: httpx.AsyncClient) -> None:
    asker = await Asker.signed_in(app, stranger, role)
    wrong = []
    for row in TABLE:
        for what, expected in _expected(row, role).items():
            outcome = await asker.ask(row, what)
            if outcome != expected:
                wrong.append((row.method, row.path, what, expected, outcome))
    assert not wrong


def _expected(row: Route, role: Role) -> dict[str, str]:
    if row.kind in ("open", "self"):
        return {}
    outcomes = OUTCOMES[row.marks[role.value]]
    things = (*OBJECTS, TECHNICAL) if row.kind == "alarm" else OBJECTS
    expected = {what: outcomes[what] for what in things}
    if row.kind in ("any", "absent"):
        return {"own": outcomes["own"]}
    if row.kind.startswith("device") and row.marks[role.value] != "–":
        return {what: outcomes[what] for what in ("own", "elsewhere")}
    if row.kind == "live":
        # There is one socket for all who are signed in; what they may not see is not in it.
        expected = {what: HIDE if outcome == FORBID else outcome for what, outcome in expected.items()}
    return expected


def _entry_about(connection: Connection, person: str) -> str:
    entry = connection.execute(select(audit).where(audit.c.object == f"Patient/{person}")).first()
    assert entry is not None
    return f"h-{entry.id}-{entry.hash[:HASH_SHOWN_CHARS]}"


class Asker:
    """Somebody of one role, signed in; knows how to ask for each kind of thing."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self._app, self._client = app, client
        self._parts = app.state.parts
        self._ids: dict[str, str] = {}
        self._displays = WallDisplays(app.state.access)

    @classmethod
    async def signed_in(cls, app: FastAPI, client: httpx.AsyncClient, role: Role) -> "Asker":
        found = cls(app, client)
        await found._learn_ids()
        if role is Role.PROGRAM:
            await found._take_token()
        elif role is Role.DISPLAY:
            _, code = await found._displays.make(world.OPERATOR, world.SITE, "wall")
            answer = await client.post("/api/v1/displays/pair", json={"code": code})
            client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        else:
            answer = await client.post("/api/v1/session", json={"username": role.value, "password": world.PASSWORD})
            assert answer.status_code == 200, answer.text
            client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        return found

    async def ask(self, row: Route, what: str) -> str:
        """Ask for a thing; return what came of it."""
        if row.kind == "live":
            text = await world.first_message(self._app, self._headers())
            return ALLOW if f'"key":"{self._key(what)}","' in text else HIDE
        if row.kind.startswith("display"):
            site = world.PLACES[what][0]
            made, _ = await self._displays.make(world.OPERATOR, site, "wall")
            self._ids[f"{row.kind}-{what}"] = made.display_id
        path, body = self._request(row, what)
        if row.kind == "image-store":
            answer = await self._store(path, what)
        else:
            answer = await self._client.request(row.method, path, json=body)
        if answer.status_code == 403:
            return FORBID
        if answer.status_code == 404:
            return ALLOW if row.kind in ("absent", "node") else HIDE
        assert answer.status_code in (200, 201, 204, 409), (answer.status_code, row.path, answer.text)
        listed = not row.kind.endswith("-list") or self._listed(row.kind, what) in answer.text
        return ALLOW if listed else HIDE

    def _request(self, row: Route, what: str) -> tuple[str, dict[str, object] | None]:
        names = {
            "alarm_id": f"a-{what}",
            "referral_id": f"r-{what}",
            "key": self._key(what),
            "site": world.PLACES.get(what, (world.SITE,))[0],
            "node": "edge-1",
            "person_id": what,
            "username": "far-worker" if what == "elsewhere" else "care-worker",
            "break_id": "none" if row.kind == "absent" else f"b-{what}",
            "fhir_id": self._fhir_id(row.kind, what),
            **world.image_names(what),
            "study_key": world.study_key(what),
            "study_uid": "1.2.3",
            "finding_uid": "2.25.1",
            "display_id": self._ids.get(f"display-{what}", ""),
            "consult_id": self._consult(what) if row.kind == "consult-end" else "",
        }
        bodies: dict[str, dict[str, object]] = {
            "alarm": {"action": "accept"},
            "referral": {"action": "triage-accept", "version": 1},
            "break": {"person": what, "reason_code": "cover", "text": "covering", "password": world.PASSWORD},
            "absent": {"password": world.PASSWORD},
            "node": {"reason": "stolen"},
            "consent-give": {"purpose": "C7", "version": 0, "method": "verbal"},
            "consent-end": {"purpose": "C4"},
            "review": {"verdict": "justified", "text": "looked at"},
            "consult-start": {"bed_key": self._key(what)},
            "study-read": {"images": 1},
            "finding-review": {
                "review_id": "00000000-0000-4000-8000-000000000000",
                "sha256": "0" * 64,
                "version": 0,
                "verdict": "accepted",
            },
            "display-new": {"site": world.PLACES.get(what, (world.SITE,))[0], "name": "wall"},
        }
        query = f"?patient=Patient/{what}" if row.kind in ("observation-list", "audit-list", "consent-list") else ""
        # Only FastAPI writes a path that may have slashes in it so.
        return row.path.replace(":path}", "}").format(**names) + query, bodies.get(row.kind)

    def _fhir_id(self, kind: str, what: str) -> str:
        known = {"consent": f"{what}-C1", "imaging-study": world.study_key(what), "absent": "none"}
        return known.get(kind) or self._ids.get(f"{kind}-{what}", "")

    async def _store(self, path: str, what: str) -> httpx.Response:
        """Store the image of a person once more."""
        content = b"--b\r\n\r\n" + world.image_of(what) + b"\r\n--b--\r\n"
        headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
        return await self._client.post(f"{path}?person={what}", content=content, headers=headers)

    def _key(self, what: str) -> str:
        site, bed = world.PLACES.get(what, (world.SITE, "B01"))
        return f"{site}:{bed}"

    def _listed(self, kind: str, what: str) -> str:
        """Text that stands in a list where the thing is in it."""
        if kind == "display-list":
            return self._ids[f"display-list-{what}"]
        if kind == "device-list":
            return f'"id":"{self._ids["device-" + what]}"'
        return {
            "review-list": f'"break_id":"b-{what}"',
            "referral-list": f'"referral_id":"r-{what}"',
            "patient-list": f'"id":"{what}"',
            "imaging-study-list": f'urn:oid:{world.STUDIES.get(what)}"',
            "study-list": f'"study_uid":"{world.STUDIES.get(what)}"',
            "image-list": f"/studies/{world.STUDIES.get(what)}",
            "observation-list": f'"reference":"Patient/{what}"',
            "audit-list": f'"reference":"Patient/{what}"',
            "consent-list": f'"id":"{what}-C1"',
        }[kind]

    def _consult(self, what: str) -> str:
        """A consult that the physician holds at the bed of this person."""
        return str(self._parts.calls.start(world.PHYSICIAN, self._key(what)).consult_id)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        if "Authorization" in self._client.headers:
            return [(b"authorization", self._client.headers["Authorization"].encode())]
        return [(b"cookie", f"yz_session={self._client.cookies['yz_session']}".encode())]

    async def _learn_ids(self) -> None:
        """Find the FHIR ids, as a program that may read everything; of consents they are known."""
        await self._parts.stores.care.write(world.agree_to_care)
        await self._take_token()
        for person, (_, bed) in world.PLACES.items():
            found = (await self._client.get(f"/fhir/R4/Observation?patient=Patient/{person}")).json()
            self._ids[f"observation-{person}"] = found["entry"][0]["resource"]["id"]
            devices = (await self._client.get("/fhir/R4/Device")).json()["entry"]
            (device,) = [one["resource"] for one in devices if f"mon-{bed.lower()}" in str(one)]
            self._ids[f"device-{person}"] = device["id"]
            self._ids[f"audit-event-{person}"] = await self._parts.stores.care.read(
                partial(_entry_about, person=person)
            )
        del self._client.headers["Authorization"]

    async def _take_token(self) -> None:
        grant = await OAuth(self._app.state.access).for_program("program", world.PASSWORD, "", "test")
        self._client.headers["Authorization"] = f"Bearer {grant.access_token}"


@pytest.mark.parametrize("what", ["must change", "must enrol"])
async def test_whose_sign_in_is_incomplete_reads_no_notices(
    app: FastAPI, stranger: httpx.AsyncClient, what: str
) -> None:
    access: Access = app.state.access

    def give_first_password(connection: Connection) -> None:
        account = accounts.account_of(connection, "clinic")
        assert account is not None
        given = replace(account, password_by=SetBy.OPERATOR, password_ns=access.now_ns())
        accounts.save_account(connection, given, access.now_ns())

    if what == "must change":
        await access.database.write(give_first_password)
    else:
        access.second = SecondFactor(frozenset({Role.CLINIC}))
    await Asker.signed_in(app, stranger, Role.CLINIC)
    assert (await stranger.get("/api/v1/break-glass/notices")).status_code == 403
    assert (await stranger.post("/api/v1/break-glass/b-own/seen")).status_code == 403
