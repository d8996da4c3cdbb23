"""A person's own copy of everything: whole, theirs alone, valid R4, streamed, and in the audit trail."""

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request
from sqlalchemy import insert, select
from telemed.roles import Role
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2, sample_pb2
from telemed.wire import Kind

from cloud_hub.access.rights import Principal, Right
from cloud_hub.errors import NotFound, NotPermitted
from cloud_hub.fhir import export, export_routes
from cloud_hub.fhir.archive import Archive
from cloud_hub.fhir.routes import Face
from cloud_hub.store import accounts, alarms, events, persons
from cloud_hub.store.accounts import Account
from cloud_hub.store.schema import audit, samples_stream
from cloud_hub.store.schema import record as record_table
from cloud_hub.web import guard
from tests.cloud_hub.fhir.conftest import RECEIVED_NS, REGION, Hub, example_set, ns
from tests.cloud_hub.fhir.test_resources import problems_of, r4_schema
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import ImagingHub

__all__ = ["r4_schema"]
pytestmark = pytest.mark.anyio
SITE = "baoshan-clinic"
AT = "2026-11-20T07:30:15+08:00"
DOCTOR = Principal("clinic", Role.CLINIC, "黄芪", "Huang Qi", REGION, frozenset({SITE}))


def face_of(hub: Hub) -> Face:
    return Face(hub.samples, hub.care, hub.access.audit_many, "0.1.0", timedelta(hours=8), is_demo=True)


def furnish(hub: Hub) -> None:
    """An alarm, a referral, a consent, a wave and a look for p-1; measurements for p-1 and for p-2."""
    hub.store(1, example_set())
    hub.store(2, example_set("2026-11-20T09:00:00+08:00", "2026-11-20T09:00:00+08:00"))
    where = NodeAddress(REGION, SITE, "edge-clinic")
    doctor = event_pb2.Actor(username="clinic", role="clinic", name_zh="黄芪")
    step = alarm_pb2.AlarmEvent(
        alarm_id="a-1", alarm_seq=1, phase=alarm_pb2.PHASE_START, condition="spo2-low", bed="B02", person_id="p-1",
        onset_unix_ns=ns(AT), at_unix_ns=ns(AT), text_zh="血氧低", text_en="Low SpO2",
    )  # fmt: skip
    taken = event_pb2.ConsentGiven(
        person_id="p-1", purpose="C7", giver="guardian", giver_name="儿子", method="signature"
    )
    asked = event_pb2.ReferralSubmitted(level_claim="T1", person_id="p-1", bed="B02", question="<b>stroke?</b>")

    def work(c: Any) -> None:
        accounts.save_account(c, Account("clinic", Role.CLINIC, "黄芪", "Huang Qi", (SITE,), "x"), 1)
        alarms.take_step(c, where, step, RECEIVED_NS)
        for kind, key, body in (
            ("consent", "p-1/C7", {"consent_given": taken}),
            ("referral", "r-1", {"referral_submitted": asked}),
        ):
            event = event_pb2.Event(
                event_id=key,
                aggregate_type=kind,
                aggregate_id=key,
                actor=doctor,
                at_unix_ns=ns(AT),
                **body,
            )
            assert not events.take_proposal(c, where, event, RECEIVED_NS).refused
        entry = accounts.AuditEntry(RECEIVED_NS, "clinic", "clinic", "record-read", "Patient/p-1", "ok", REGION, SITE)
        accounts.write_audit(c, entry)

    hub.care.write_blocking(work)
    keep_wave(hub, ns(AT))


def keep_wave(hub: Hub, at_ns: int) -> None:
    """Three samples of an ECG from the monitor of bed B02, the last of them missing."""
    stream = {"id": 9, "region": REGION, "site": SITE, "node": "edge-clinic", "device": "mon-b02"}
    channel = sample_pb2.Channel(
        measure="ecg_II", rate_mhz=250_000, gain=200, baseline=10, unit="mV", deltas=[5, 1, -3], invalid_digits=[3]
    )
    waves = sample_pb2.WaveformSet(measured_at_unix_ns=at_ns, channels=[channel])
    row = dict.fromkeys(("edge_day", "codec", "crc", "mono_ns", "boot", "offset_ms", "offset_error_ms", "shift_ns"), 0)
    hub.next_seq += 1
    row |= {"stream_id": 9, "seq": hub.next_seq, "kind": Kind.WAVEFORM_SET, "schema": 1, "wall_ns": 1, "received_ns": 1}

    def store(c: Any) -> None:
        if c.execute(select(samples_stream.c.id).where(samples_stream.c.id == 9)).first() is None:
            c.execute(insert(samples_stream).values(**stream, name="mon-b02/wave", first_seen_ns=1))
        more = {"epoch": "0" * 16, "measured_ns": at_ns, "payload": waves.SerializeToString()}
        c.execute(insert(record_table).values(row | more))

    hub.samples.write_blocking(store)


async def always() -> bool:
    return True


async def copy_of(hub: Hub, person_id: str, who: Principal = DOCTOR) -> dict[str, bytes]:
    found = await hub.care.read(lambda c: export.subject(c, who, person_id, RECEIVED_NS))
    data = b"".join([chunk async for chunk in export.stream(face_of(hub), found, RECEIVED_NS, always)])
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist()}


def lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.decode().splitlines()]


async def test_a_copy_holds_everything_of_the_person_and_nothing_of_another(hub: Hub) -> None:
    furnish(hub)
    found = await copy_of(hub, "p-1")
    counts = {name: len(lines(data)) for name, data in found.items() if name.endswith("ndjson")}
    assert counts == {
        "Patient.ndjson": 1,
        "Encounter.ndjson": 1,
        "Consent.ndjson": 1,
        "ServiceRequest.ndjson": 1,
        "Flag.ndjson": 1,
        "Observation.ndjson": 6,
        "Observation-waves.ndjson": 1,
        "ImagingStudy.ndjson": 0,
        "DiagnosticReport.ndjson": 0,
        "AuditEvent.ndjson": 1,
    }
    everything = b"".join(found.values()).decode()
    assert "p-2" not in everything
    assert "heming" not in everything
    assert lines(found["Consent.ndjson"])[0]["performer"] == [{"display": "儿子"}]


async def test_what_was_measured_in_the_bed_while_another_lay_there_is_not_in_it(hub: Hub) -> None:
    furnish(hub)
    for number, person, day in ((1, "p-3", 21), (2, "p-1", 23)):
        body = event_pb2.BedAssigned(person_id=person, from_unix_ns=ns(f"2026-11-{day}T08:00:00+08:00"))
        hub.care.write_blocking(
            lambda c, b=body, n=number: persons.assign_bed(c, (REGION, SITE), "B02", b, f"again-{n}")  # type: ignore[misc]
        )
    hub.store(1, example_set("2026-11-22T08:00:00+08:00", "2026-11-22T08:00:00+08:00"))
    keep_wave(hub, ns("2026-11-22T08:00:00+08:00"))
    found = await copy_of(hub, "p-1")
    assert [len(lines(found[f"{name}.ndjson"])) for name in ("Encounter", "Observation", "Observation-waves")] == [
        2,
        6,
        1,
    ]


async def test_what_the_next_in_the_bed_is_measured_while_a_copy_is_made_is_not_in_it(hub: Hub) -> None:
    furnish(hub)
    who = await hub.care.read(lambda c: export.subject(c, DOCTOR, "p-1", RECEIVED_NS))
    body = event_pb2.BedAssigned(person_id="p-3", from_unix_ns=RECEIVED_NS + 60 * 10**9)
    hub.care.write_blocking(lambda c: persons.assign_bed(c, (REGION, SITE), "B02", body, "next"))
    keep_wave(hub, RECEIVED_NS + 120 * 10**9)
    hub.store(1, example_set("2026-11-21T08:05:00+08:00", "2026-11-21T08:05:00+08:00"))
    data = b"".join([chunk async for chunk in export.stream(face_of(hub), who, RECEIVED_NS, always)])
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        counts = [len(lines(opened.read(f"{name}.ndjson"))) for name in ("Observation", "Observation-waves")]
        assert counts == [6, 1]
        # What ended is the copy and not the stay.
        assert lines(opened.read("Encounter.ndjson"))[0]["status"] == "in-progress"


async def test_a_copy_ends_where_the_right_of_its_reader_ends(hub: Hub) -> None:
    furnish(hub)
    asked = []

    async def twice(_request: Request) -> Principal:
        asked.append(1)
        if len(asked) == 3:
            raise NotPermitted("no more")
        return DOCTOR

    hub.app.include_router(export_routes.router(face_of(hub), lambda _right: twice))
    transport = httpx.ASGITransport(app=hub.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        cut = await client.get("/api/v1/persons/p-1/export")
        whole = await client.get("/api/v1/persons/p-1/export")
    assert b"Patient.ndjson" in cut.content
    assert b"Encounter.ndjson" not in cut.content
    assert not zipfile.is_zipfile(io.BytesIO(cut.content))
    assert zipfile.is_zipfile(io.BytesIO(whole.content))


async def test_a_copy_ends_within_a_part_where_the_right_of_its_reader_ends(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 2)
    furnish(hub)
    who = await hub.care.read(lambda c: export.subject(c, DOCTOR, "p-1", RECEIVED_NS))

    async def read(asks_every_s: float) -> tuple[int, bytes]:
        """Take the right away with the first measurements sent; how much came after them, and all of it."""
        monkeypatch.setattr(export, "ASK_EVERY_S", asks_every_s)
        sent, after = b"", 0

        async def until_then() -> bool:
            return b"Observation.ndjson" not in sent

        async for chunk in export.stream(face_of(hub), who, RECEIVED_NS, until_then):
            after += b"Observation.ndjson" in sent
            sent += chunk
        return after, sent

    assert (await read(0))[0] == 0
    after, sent = await read(3600)
    assert after > 2, "what is left of the part"
    assert b"Observation-waves.ndjson" not in sent


async def test_whoever_waits_for_a_long_copy_is_not_signed_out_as_idle(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 2)
    monkeypatch.setattr(export, "ASK_EVERY_S", 0)
    furnish(hub)
    began_ns, asks = hub.access.now_ns(), 0
    hub.access.now_ns = lambda: began_ns + asks * 300 * 10**9

    def slow(right: Right) -> Callable[[Request], Awaitable[Principal]]:
        inner = guard.require(right)

        async def five_minutes_later(request: Request) -> Principal:
            nonlocal asks
            asks += 1
            return await inner(request)

        return five_minutes_later

    opened = await hub.access.sign_in("caregiver", "amber-birch-cedar-0003", "here")
    hub.app.include_router(export_routes.router(face_of(hub), slow))
    transport = httpx.ASGITransport(app=hub.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        client.cookies.set("yz_session", opened.token)
        answer = await client.get("/api/v1/persons/p-2/export")
    assert zipfile.is_zipfile(io.BytesIO(answer.content))
    assert asks * 300 > 2400, "longer than a page may be idle"


async def test_waves_keep_their_samples_and_name_the_missing(hub: Hub) -> None:
    furnish(hub)
    (wave,) = lines((await copy_of(hub, "p-1"))["Observation-waves.ndjson"])
    data = wave["component"][0]["valueSampledData"]
    assert (data["data"], data["period"], data["factor"]) == ("5 6 E", 4, 0.005)
    assert data["origin"]["value"] == -0.05
    assert wave["subject"] == {"reference": "Patient/p-1"}


async def test_every_resource_is_valid_r4(hub: Hub, r4_schema: Any) -> None:
    furnish(hub)
    found = await copy_of(hub, "p-1")
    ids = set()
    for name, data in found.items():
        if name.endswith("ndjson"):
            for resource in lines(data):
                assert problems_of(r4_schema, resource) == [], resource
                ids.add((resource["resourceType"], resource["id"]))
    assert len(ids) == 13


async def test_the_list_has_the_hash_of_every_file_and_the_index_is_safe_to_open(hub: Hub) -> None:
    furnish(hub)
    found = await copy_of(hub, "p-1")
    listed = {one["file"]: one["sha256"] for one in json.loads(found["manifest.json"])}
    assert listed == {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if name.endswith("ndjson")}
    page = found["index.html"].decode()
    assert "示例患者" in page
    assert "Who looked at your record" in page
    assert "<script" not in page
    assert "http" not in page.replace("<!doctype html>", "")


async def test_an_opened_record_cannot_be_taken_away(hub: Hub) -> None:
    stranger = Principal("c", Role.CLINIC, "", "", REGION, frozenset({"elsewhere"}), opened=frozenset({(SITE, "p-1")}))
    with pytest.raises(NotFound):
        await copy_of(hub, "p-1", stranger)


async def test_many_measurements_are_read_and_packed_in_parts(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 2)
    furnish(hub)
    for minute in range(5):
        hub.store(1, example_set(f"2026-11-20T08:0{minute}:00+08:00", f"2026-11-20T08:0{minute}:00+08:00"))
    found = await hub.care.read(lambda c: export.subject(c, DOCTOR, "p-1", RECEIVED_NS))
    chunks = [chunk async for chunk in export.stream(face_of(hub), found, RECEIVED_NS, always)]
    assert len(chunks) > 20
    with zipfile.ZipFile(io.BytesIO(b"".join(chunks))) as opened:
        made = lines(opened.read("Observation.ndjson"))
    assert len(made) == len({one["id"] for one in made}) == 6 + 5 * 6


async def test_the_copy_is_in_the_trail_before_its_first_byte(hub: Hub) -> None:
    furnish(hub)
    hub.app.include_router(export_routes.router(face_of(hub), guard.require))
    opened = await hub.access.sign_in("caregiver", "amber-birch-cedar-0003", "here")
    transport = httpx.ASGITransport(app=hub.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hub") as client:
        client.cookies.set("yz_session", opened.token)
        answer = await client.get("/api/v1/persons/p-2/export")
        refused = await client.get("/api/v1/persons/p-1/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["cache-control"] == "no-store"
    assert refused.status_code == 404
    query = select(audit.c.actor, audit.c.object).where(audit.c.action == "patient-export")
    assert [tuple(row) for row in await hub.care.read(lambda c: c.execute(query).all())] == [
        ("caregiver", "Patient/p-2")
    ]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as opened_zip:
        assert b"patient-export" in opened_zip.read("AuditEvent.ndjson")


async def test_an_archive_holds_no_more_than_what_was_not_taken() -> None:
    archive = Archive(datetime(2026, 1, 1, tzinfo=UTC))
    archive.begin("big.ndjson")
    largest = 0
    for _ in range(200):
        largest = max(largest, len(await asyncio.to_thread(archive.add, [{"data": "x" * 10_000}])))
    assert largest < 100_000
    assert archive._outlet.draw() == b""


@pytest.fixture
async def imaged(hub: Hub, tmp_path: Path) -> AsyncIterator[ImagingHub]:
    """Two studies of p-1, one of them with two contents of one image and with a preview, and one of p-2."""
    found = ImagingHub.over(hub.care, tmp_path / "blobs")
    clinic, home = NodeAddress(REGION, SITE, "edge-clinic"), NodeAddress(REGION, "heming-home", "edge-home")
    found.arrive(clinic, CT, "a")
    found.arrive(clinic, dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.1", PatientID="other"), "a")
    found.arrive(clinic, dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.1", Rows=1), "a", is_preview=True)
    found.arrive(clinic, MR, "b")
    found.arrive(home, dicom_files.image("1.2.3", "1.2.3.1", "1.2.3.1.1"), "c")
    for address, person, group in ((clinic, "p-1", "a"), (clinic, "p-1", "b"), (home, "p-2", "c")):
        found.tell(address, person, group)
    await found.indexer.read_all()
    yield found
    await found.readers.close()


CT = dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.1", StudyDate="20261120")
MR = dicom_files.image("1.2.2", "1.2.2.1", "1.2.2.1.1", Modality="MR", StudyDate="20261121")


async def copy_with_images(hub: Hub, imaged: ImagingHub, may_go_on: export.Ask = always) -> bytes:
    face = replace(face_of(hub), blobs=imaged.blobs)
    found = await hub.care.read(lambda c: export.subject(c, DOCTOR, "p-1", RECEIVED_NS))
    return b"".join([chunk async for chunk in export.stream(face, found, RECEIVED_NS, may_go_on)])


async def test_a_copy_holds_the_images_of_the_person_as_they_came(hub: Hub, imaged: ImagingHub, r4_schema: Any) -> None:
    with zipfile.ZipFile(io.BytesIO(await copy_with_images(hub, imaged))) as opened:
        found = {name: opened.read(name) for name in opened.namelist()}
    files = {name: data for name, data in found.items() if name.startswith("DICOM/")}
    first, second = "DICOM/S0001-20261120", "DICOM/S0002-20261121"
    assert list(files) == [f"{first}/I000001.dcm", f"{first}/I000002.dcm", f"{second}/I000001.dcm"]
    assert (files[f"{first}/I000001.dcm"], files[f"{second}/I000001.dcm"]) == (CT, MR)
    told = lines(found["ImagingStudy.ndjson"])
    assert [one["identifier"][0]["value"] for one in told] == ["urn:oid:1.2.1", "urn:oid:1.2.2"]
    assert [one["numberOfInstances"] for one in told] == [1, 1]
    assert "contained" not in told[0]
    assert problems_of(r4_schema, told[0]) == []
    listed = {one["file"]: one["sha256"] for one in json.loads(found["manifest.json"])}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}.items() <= listed.items()
    page = found["index.html"].decode()
    assert f"<td>{first}/</td><td>影像文件（DICOM） Images (DICOM files)</td><td>2</td>" in page


async def test_an_image_that_is_gone_from_the_disk_is_listed_and_empty(hub: Hub, imaged: ImagingHub) -> None:
    imaged.blobs.forget(hashlib.sha256(CT).hexdigest())
    with zipfile.ZipFile(io.BytesIO(await copy_with_images(hub, imaged))) as opened:
        assert opened.read("DICOM/S0001-20261120/I000001.dcm") == b""
        listed = {one["file"]: one["count"] for one in json.loads(opened.read("manifest.json"))}
        assert opened.read("DICOM/S0002-20261121/I000001.dcm") == MR
    assert [listed[f"DICOM/S0001-20261120/I{n:06}.dcm"] for n in (1, 2)] == [0, 1]


@pytest.mark.parametrize("asks_every_s", [0, 3600])
async def test_images_end_where_the_right_of_the_reader_ends(
    hub: Hub, imaged: ImagingHub, monkeypatch: pytest.MonkeyPatch, asks_every_s: float
) -> None:
    monkeypatch.setattr(export, "ASK_EVERY_S", asks_every_s)
    face = replace(face_of(hub), blobs=imaged.blobs)
    found = await hub.care.read(lambda c: export.subject(c, DOCTOR, "p-1", RECEIVED_NS))
    sent = b""

    async def until_the_first_image() -> bool:
        return b"DICOM/" not in sent

    async for chunk in export.stream(face, found, RECEIVED_NS, until_the_first_image):
        sent += chunk
    assert b"DICOM/S0001" in sent
    assert b"DICOM/S0002" not in sent
    assert b"manifest.json" not in sent
