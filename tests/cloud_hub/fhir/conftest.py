"""A hub with the two patients, the device and the stored message of clinical 3.1, asked over HTTP."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, insert, select
from telemed.roles import Role
from telemed.v1 import event_pb2, sample_pb2
from telemed.wire import Kind

from cloud_hub.access.oauth import OAuth
from cloud_hub.access.passwords import hash_password
from cloud_hub.access.sign_in import Access
from cloud_hub.fhir import outcome
from cloud_hub.fhir.routes import Face, router
from cloud_hub.store import consents, persons
from cloud_hub.store.accounts import Account, save_account
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES, audit, samples_stream
from cloud_hub.store.schema import record as record_table
from cloud_hub.web import guard, problems

REGION = "baoshan"
AUDIT_SCOPE, CONSENT_SCOPE = "system/AuditEvent.rs", "system/Consent.rs"
SECRET = "amber-birch-cedar-0003"


def ns(text: str) -> int:
    """Return an ISO 8601 time in nanoseconds since the epoch."""
    return int(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000


RECEIVED_NS = ns("2026-11-21T08:00:00+08:00")


@dataclass
class Hub:
    """A hub's two stores and its FHIR face."""

    samples: Database
    care: Database
    app: FastAPI
    access: Access
    next_seq: int = 0

    def stream(self, stream_id: int, site: str, node: str, device: str) -> None:
        values = {
            "id": stream_id,
            "region": REGION,
            "site": site,
            "node": node,
            "name": f"{device}/numeric",
            "device": device,
            "first_seen_ns": 1,
        }
        self.samples.write_blocking(lambda c: c.execute(insert(samples_stream).values(values)))

    def store(
        self,
        stream_id: int,
        *sets: sample_pb2.NumericSet,
        received_ns: int = ns("2026-11-21T08:00:00+08:00"),
        shift_ns: int = 0,
    ) -> None:
        rows = []
        for sample in sets:
            self.next_seq += 1
            rows.append(
                {
                    "stream_id": stream_id,
                    "epoch": "0" * 16,
                    "seq": self.next_seq,
                    "edge_day": 0,
                    "kind": Kind.NUMERIC_SET,
                    "schema": 1,
                    "codec": 0,
                    "crc": 0,
                    "wall_ns": received_ns,
                    "mono_ns": 0,
                    "boot": 0,
                    "offset_ms": 0,
                    "offset_error_ms": 0,
                    "measured_ns": sample.measured_at_unix_ns + shift_ns,
                    "shift_ns": shift_ns,
                    "received_ns": received_ns,
                    "payload": sample.SerializeToString(),
                }
            )
        self.samples.write_blocking(lambda c: c.execute(insert(record_table), rows))

    async def bearer(self, client_id: str = "api", scope: str = "") -> dict[str, str]:
        grant = await OAuth(self.access).for_program(client_id, SECRET, scope, "test")
        return {"Authorization": f"Bearer {grant.access_token}"}

    @contextlib.asynccontextmanager
    async def client(self, client_id: str = "api", scope: str = "") -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app=self.app)
        headers = await self.bearer(client_id, scope)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub", headers=headers) as client:
            yield client


def value(measure: str, text: str, unit: str, mdc: int, at: str = "", **more: object) -> sample_pb2.NumericValue:
    found = sample_pb2.NumericValue(
        measure=measure, value=text, unit=unit, mdc=mdc, status="R", quality=sample_pb2.QUALITY_VALID
    )
    if at:
        found.measured_at_unix_ns = ns(at)
    for name, one in more.items():
        setattr(found, name, one)
    return found


def example_set(
    at: str = "2026-11-20T07:30:15+08:00", cuff_at: str = "2026-11-20T07:28:10+08:00"
) -> sample_pb2.NumericSet:
    """The message of clinical 3.1 as the edge stores it: eight values."""
    return sample_pb2.NumericSet(
        measured_at_unix_ns=ns(at),
        origin=sample_pb2.ORIGIN_LIVE,
        assignment=sample_pb2.ASSIGNMENT_BED,
        source_ref="BS01-20261120-000417",
        values=[
            value("hr", "112", "/min", 147842),
            value("rr", "22", "/min", 151562),
            value("spo2", "93", "%", 150456),
            value("pr_oxim", "112", "/min", 149530),
            value("nibp_sys", "105", "mm[Hg]", 150021, cuff_at),
            value("nibp_dia", "62", "mm[Hg]", 150022, cuff_at),
            value("nibp_map", "76", "mm[Hg]", 150023, cuff_at),
            value("temp", "38.40", "Cel", 150364),
        ],
    )


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub on SQLite."""
    samples = Database(f"sqlite:///{tmp_path}/samples.db", SAMPLES, "samples")
    care = Database(f"sqlite:///{tmp_path}/care.db", CARE, "care")
    samples.migrate()
    care.migrate()
    yield make_hub(samples, care)
    samples.close()
    care.close()


@pytest.fixture
def hub_on_both(samples_db: Database, care_db: Database) -> Hub:
    """A hub on SQLite, and then on PostgreSQL."""
    return make_hub(samples_db, care_db)


def make_hub(samples: Database, care: Database) -> Hub:
    access = Access(care, REGION)
    app = FastAPI()
    app.state.access = access
    problems.install(app, {"/fhir/": outcome.answer})
    face = Face(samples, care, access.audit_many, "0.1.0", timedelta(hours=8), is_demo=True, now_ns=lambda: RECEIVED_NS)
    app.include_router(router(face, guard.require))
    found = Hub(samples, care, app, access)
    _people(found)
    return found


def _people(hub: Hub) -> None:
    where, elsewhere = (REGION, "baoshan-clinic"), (REGION, "heming-home")
    admitted = ns("2026-11-19T08:00:00+08:00")
    ill = event_pb2.PersonRegistered(
        family_name="示例",
        given_name="患者",
        name_en="Example Patient",
        gender="female",
        birth_date="1952-03-14",
        identifiers=[event_pb2.Identifier(system="BAOSHAN", value="P-51018201-0093")],
    )
    other = event_pb2.PersonRegistered(
        family_name="秋", given_name="禾", gender="male", birth_date="1941", caregiver="caregiver"
    )
    scopes = tuple(
        f"system/{kind}.rs" for kind in ("Patient", "Observation", "Device", "ImagingStudy", "DiagnosticReport")
    )

    def work(c: Connection) -> None:
        persons.save_person(c, where, "p-1", ill, admitted)
        persons.save_person(c, elsewhere, "p-2", other, admitted)
        agreed = event_pb2.ConsentGiven(person_id="p-2", purpose="C5", grantee="caregiver")
        consents.note(c, elsewhere, event_pb2.Event(consent_given=agreed), admitted)
        persons.assign_bed(c, where, "B02", event_pb2.BedAssigned(person_id="p-1", from_unix_ns=admitted), "e1")
        persons.assign_bed(c, elsewhere, "H01", event_pb2.BedAssigned(person_id="p-2", from_unix_ns=admitted), "e2")
        placed = event_pb2.DevicePlaced(
            eui64="0A1B2CFFFE3D4E5F", bed="B02", model="QY-MON 12", family="hl7_monitor", node="edge-clinic"
        )
        persons.place_device(c, where, "mon-b02", placed, ns("2026-11-21T06:00:00+08:00"))
        at_home = event_pb2.DevicePlaced(bed="H01", model="QY-MON 12", node="edge-home")
        persons.place_device(c, elsewhere, "mon-h01", at_home, admitted)
        hashed = hash_password(SECRET)
        save_account(
            c, Account("api", Role.PROGRAM, "程序", "Program", (), hashed, (*scopes, AUDIT_SCOPE, CONSENT_SCOPE)), 1
        )
        save_account(c, Account("clinic-api", Role.PROGRAM, "程", "P", ("baoshan-clinic",), hashed, scopes), 1)
        save_account(c, Account("caregiver", Role.CAREGIVER, "家", "Carer", ("heming-home",), hashed), 1)

    hub.care.write_blocking(work)
    hub.stream(1, "baoshan-clinic", "edge-clinic", "mon-b02")
    hub.stream(2, "heming-home", "edge-home", "mon-h01")


@pytest.fixture(name="example_set")
def _example_set() -> Any:
    return example_set


@pytest.fixture
def numeric_set() -> Any:
    """Make a set with one heart rate, so many seconds after 7 o'clock."""

    def make(second: int, rate: str = "72") -> sample_pb2.NumericSet:
        return sample_pb2.NumericSet(
            measured_at_unix_ns=ns("2026-11-20T07:00:00+08:00") + second * 1_000_000_000,
            origin=sample_pb2.ORIGIN_LIVE,
            assignment=sample_pb2.ASSIGNMENT_BED,
            values=[value("hr", rate, "/min", 147842)],
        )

    return make


@pytest.fixture
def audit_of(hub: Hub) -> Any:
    """Read the audit trail as (actor, action, object, result)."""

    def read() -> list[tuple[str, str, str, str]]:
        query = select(audit.c.actor, audit.c.action, audit.c.object, audit.c.result).order_by(audit.c.id)
        return [tuple(row) for row in hub.care.read_blocking(lambda c: c.execute(query).all())]

    return read
