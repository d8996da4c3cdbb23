"""A small region for the role matrix: two sites, four persons, one account of each role, and things of each person.

`own` and `ended` are persons the own-only accounts are related to; the stay and the referral of `ended` are over.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, insert
from telemed.roles import REGIONAL, Role
from telemed.study import KEY_IMAGE_NAME
from telemed.topics import NodeAddress
from telemed.transfer import FileKind
from telemed.v1 import alarm_pb2, event_pb2, sample_pb2
from telemed.wire import Kind

from cloud_hub import face
from cloud_hub.access.rights import Principal
from cloud_hub.access.sign_in import Access
from cloud_hub.config import HubConfig, ImagingConfig
from cloud_hub.consult.signalling import Consults, Outlets
from cloud_hub.desk.alarms import Alarms
from cloud_hub.desk.consents import Around, Consents
from cloud_hub.desk.intake import Intake
from cloud_hub.desk.referrals import Referrals
from cloud_hub.imaging import entries
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.fetching import Fetching
from cloud_hub.imaging.readers import Readers
from cloud_hub.store import accounts, broken_glass, care_team, studies, transfers
from cloud_hub.store.accounts import Account
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.broken_glass import Broken
from cloud_hub.store.care_team import Membership
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES, samples_stream
from cloud_hub.store.schema import record as record_table
from cloud_hub.store.transfers import FileFacts
from cloud_hub.web.live import Live, Stores
from cloud_hub.web.parts import Parts
from tests.fakes import dicom_files

REGION, SITE, FAR_SITE = "baoshan", "clinic", "home"
NOW_NS = 1_800_000_000 * 10**9
PASSWORD = "amber-birch-cedar-0001"
PLACES = {"own": (SITE, "B01"), "other": (SITE, "B02"), "ended": (SITE, "B03"), "elsewhere": (FAR_SITE, "H01")}
"""Person to site and bed; person ids are these names."""
PHYSICIAN = Principal("physician", Role.PHYSICIAN, "医", "Doc", REGION, None)
OPERATOR = Principal("operator", Role.OPERATOR, "运", "Ops", REGION, None)
SCOPES = ("system/*.rs",)
KEY_IMAGE = b"\xff\xd8\xff a picture"
KEY_IMAGE_SHA256 = hashlib.sha256(KEY_IMAGE).hexdigest()
STUDIES = {person: f"1.2.90{number}" for number, person in enumerate(PLACES)}
"""Person to the Study Instance UID of their one image; series and instance have .1 and .1.1 after it."""


@pytest.fixture
def stores(tmp_path: Path, hashed: str) -> Iterator[Stores]:
    """Both databases, filled."""
    opened = Stores(
        Database(f"sqlite:///{tmp_path}/care.db", CARE, "care"),
        Database(f"sqlite:///{tmp_path}/samples.db", SAMPLES, "samples"),
    )
    opened.care.migrate()
    opened.samples.migrate()
    fill(opened, hashed)
    yield opened
    opened.care.close()
    opened.samples.close()


@pytest.fixture
async def app(stores: Stores, tmp_path: Path) -> AsyncIterator[FastAPI]:
    """The hub over them."""
    images = Images(Blobs(tmp_path / "blobs"), Readers(ImagingConfig()))
    contents = {sha256_of(person): image_of(person) for person in PLACES} | {KEY_IMAGE_SHA256: KEY_IMAGE}
    for sha256, content in contents.items():
        path = images.blobs.path(sha256)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    yield await build(stores, images=images)
    await images.readers.close()


def image_of(person: str) -> bytes:
    """Return the file of the image of a person."""
    uid = STUDIES[person]
    return dicom_files.image(uid, f"{uid}.1", f"{uid}.1.1", PatientID=person)


def image_names(person: str) -> dict[str, str]:
    """Return what stands in the paths by which the image of a person is asked for."""
    uid = STUDIES.get(person, "")
    return {"study": uid, "series": f"{uid}.1", "instance": f"{uid}.1.1", "numbers": "1", "tags": "7FE00010"}


def study_key(person: str) -> str:
    """Return the key by which the study of a person is filed."""
    site, _ = PLACES.get(person, (SITE, ""))
    return studies.key_of(REGION, site, f"g-{person}", STUDIES.get(person, ""))


def sha256_of(person: str) -> str:
    """Return its hash."""
    return hashlib.sha256(image_of(person)).hexdigest()


def address(site: str) -> NodeAddress:
    """Return the one node of a site."""
    return NodeAddress(REGION, site, f"edge-{site}")


def fill(stores: Stores, password_hash: str) -> None:
    """Put the region into empty stores."""
    stores.care.write_blocking(lambda c: _care(c, password_hash))
    stores.samples.write_blocking(_samples)


async def build(
    stores: Stores,
    now_ns: Callable[[], int] = lambda: NOW_NS,
    images: Images | None = None,
    fetching: Fetching | None = None,
) -> FastAPI:
    """Return the hub's application over filled stores; whoever brings an archive has it run."""
    archive = fetching.archive.config.model_dump() if fetching else None
    config = HubConfig.model_validate(
        {
            "region": REGION,
            "name_zh": "中心",
            "name_en": "Hub",
            "demo": True,
            "store": {"samples_url": "sqlite://", "care_url": "sqlite://"},
            "broker": {"secrets_file": "x"},
            "web": {"requests_per_minute": 1_000_000},
            "imaging": {"archive": archive},
        }
    )
    live = Live(stores, REGION, 15, now_ns)
    await live.load()

    async def forget(_address: NodeAddress, _event: event_pb2.Event) -> None: ...

    ids = iter(f"consult-{number}" for number in range(100))
    outlets = Outlets(
        lambda _a, _s: None, live.to_page, live.consult_changed, live.picture.node_at, forget, lambda _ns: next(ids)
    )
    consults = Consults(outlets)
    parts = Parts(
        config=config,
        stores=stores,
        live=live,
        alarms=Alarms(stores.care, REGION, live.take, now_ns),
        referrals=Referrals(stores.care, REGION, live.take, now_ns),
        consents=Consents(Around(stores.care, REGION, live.take, now_ns)),
        calls=consults,
        signals=consults,
        is_ready=list,
    )
    return face.build(parts, Access(stores.care, REGION), CollectorRegistry(), "0.0.0", images, fetching)


async def first_message(app: FastAPI, headers: list[tuple[bytes, bytes]]) -> str:
    """Open the live socket as a server does; return its first text, empty where it was refused."""
    found: list[str] = []
    heard = asyncio.Event()
    begun = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal begun
        if begun:
            await heard.wait()
            return {"type": "websocket.disconnect", "code": 1001}
        begun = True
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "websocket.send":
            found.append(message["text"])
        if message["type"] in ("websocket.send", "websocket.close"):
            heard.set()

    path = "/api/v1/live"
    scope = {"type": "websocket", "scheme": "ws", "path": path, "raw_path": path.encode(), "query_string": b""}
    await app({**scope, "headers": [(b"host", b"hub"), *headers], "subprotocols": []}, receive, send)
    return found[0] if found else ""


def _care(connection: Connection, password_hash: str) -> None:
    for role in set(Role) - {Role.DISPLAY}:
        sites = () if role in REGIONAL else (SITE,)
        scopes = SCOPES if role is Role.PROGRAM else ()
        account = Account(role.value, role, role.value, role.value, sites, password_hash, scopes)
        accounts.save_account(connection, account, NOW_NS)
    far = Account("far-worker", Role.CARE_WORKER, "远", "Far", (FAR_SITE,), "x")
    accounts.save_account(connection, far, NOW_NS)
    intake = Intake(lambda _taken: None)
    for site in (SITE, FAR_SITE):
        beds = [event_pb2.BedLabel(bed=bed, label=bed) for where, bed in PLACES.values() if where == site]
        _take(connection, intake, site, f"edge-{site}", node_described=event_pb2.NodeDescribed(beds=beds))
    for person, (site, bed) in PLACES.items():
        _person(connection, intake, person, (site, bed), password_hash)
    step = _alarm_of("technical", "B01")
    step.technical, step.person_id, step.condition = True, "", "device-silent"
    intake.take_alarm(connection, address(SITE), step, NOW_NS)


def _person(connection: Connection, intake: Intake, person: str, place: tuple[str, str], password_hash: str) -> None:
    (site, bed), mine = place, person in ("own", "ended")
    body = event_pb2.PersonRegistered(family_name="谷", given_name=person, caregiver="caregiver" if mine else "")
    _take(connection, intake, site, person, person_registered=body)
    _take(connection, intake, site, bed, bed_assigned=event_pb2.BedAssigned(person_id=person, from_unix_ns=NOW_NS))
    placed = event_pb2.DevicePlaced(bed=bed, node=f"edge-{site}", model="M")
    _take(connection, intake, site, f"mon-{bed.lower()}", device_placed=placed)
    # Written by an account that serves the site, or the log would refuse it.
    doctor = event_pb2.Actor(username="physician" if site == FAR_SITE else "clinic", role="clinic")
    if site == FAR_SITE:
        far = Account("far-clinic", Role.CLINIC, "远", "Far", (FAR_SITE,), password_hash)
        accounts.save_account(connection, far, NOW_NS)
        doctor.username = far.username
    submitted = event_pb2.ReferralSubmitted(level_claim="T1", bed=bed, person_id=person)
    _take(connection, intake, site, f"r-{person}", doctor, referral_submitted=submitted)
    intake.take_alarm(connection, address(site), _alarm_of(person, bed), NOW_NS)
    ns = (NOW_NS, NOW_NS + 1, NOW_NS + 2)
    broken = Broken(f"b-{person}", REGION, site, person, "somebody", "clinic", "cover", "covering", *ns)
    broken_glass.save(connection, broken, ())
    _study(connection, person, site)
    entry = accounts.AuditEntry(NOW_NS, "somebody", "clinic", "record-read", f"Patient/{person}", "ok", REGION, site)
    accounts.write_audit(connection, entry)
    if mine:
        agreed = event_pb2.ConsentGiven(
            person_id=person, purpose="C5", grantee="caregiver", giver="self", method="verbal"
        )
        _take(connection, intake, site, f"{person}/C5", doctor, consent_given=agreed)
        member = Membership("care-worker", "clinic", NOW_NS)
        care_team.join(connection, (REGION, site), person, member)
    if person == "ended":
        moved = event_pb2.ReferralMoved(to_state="CANCELLED", reason_code="x")
        _take(connection, intake, site, f"r-{person}", doctor, referral_moved=moved)
        _take(connection, intake, site, bed, bed_vacated=event_pb2.BedVacated(at_unix_ns=NOW_NS + 10**9))


def agree_to_care(connection: Connection) -> None:
    """Have everybody agree to care on paper, by what the node of their site says."""
    for person, (site, _) in PLACES.items():
        cared = event_pb2.ConsentGiven(person_id=person, purpose="C1", giver="self", method="paper")
        _take(connection, Intake(lambda _taken: None), site, f"{person}/C1", consent_given=cared)


def _study(connection: Connection, person: str, site: str) -> None:
    """Index the image of a person as the indexer would."""
    uid, told = STUDIES[person], {"00100020": {"vr": "LO", "Value": [person]}}
    study = told | {"0020000D": {"vr": "UI", "Value": [uid]}}
    series = {"0020000E": {"vr": "UI", "Value": [f"{uid}.1"]}, "00080060": {"vr": "CS", "Value": ["CT"]}}
    instance = {"00080018": {"vr": "UI", "Value": [f"{uid}.1.1"]}}
    levels = {"study": study, "series": series, "instance": instance}
    entry = entries.entry({"levels": levels, "transfer_syntax_uid": "1.2.840.10008.1.2.1", "frames": 1, "flaw": ""})
    content = image_of(person)
    facts = FileFacts(sha256_of(person), len(content), "0" * 64, FileKind.STUDY, "image.dcm", f"g-{person}")
    ahead = FileFacts(KEY_IMAGE_SHA256, len(KEY_IMAGE), "0" * 64, FileKind.STUDY, KEY_IMAGE_NAME, f"g-{person}", True)
    sent = transfers.offer(connection, address(site), ahead, NOW_NS)
    transfers.complete(connection, address(site), sent.transfer_id, NOW_NS)
    row = transfers.offer(connection, address(site), facts, NOW_NS)
    studies.add(connection, row, entry, NOW_NS)
    studies.tell_person(connection, row, person, 1)


def _take(
    connection: Connection,
    intake: Intake,
    site: str,
    which: str,
    actor: event_pb2.Actor | None = None,
    **body: Any,
) -> None:
    (name,) = body
    kind = {"node": "node", "person": "person", "bed": "bed", "device": "device", "referral": "referral"}.get(
        name.split("_")[0], "consent"
    )
    event = event_pb2.Event(
        event_id=f"{name}-{which}",
        aggregate_type=kind,
        aggregate_id=which,
        base_version=1 if name in ("referral_moved", "bed_vacated") else 0,
        at_unix_ns=NOW_NS,
        actor=actor or event_pb2.Actor(username=f"edge-{site}", role="node"),
        **body,
    )
    intake.take_event(connection, address(site), event, NOW_NS)


def _alarm_of(person: str, bed: str) -> alarm_pb2.AlarmEvent:
    return alarm_pb2.AlarmEvent(
        alarm_id=f"a-{person}",
        alarm_seq=1,
        phase=alarm_pb2.PHASE_START,
        condition="spo2-low",
        bed=bed,
        person_id=person,
        onset_unix_ns=NOW_NS,
        at_unix_ns=NOW_NS,
    )


def _samples(connection: Connection) -> None:
    for number, (site, bed) in enumerate(PLACES.values(), start=1):
        device = f"mon-{bed.lower()}"
        stream = {"id": number, "region": REGION, "site": site, "node": f"edge-{site}", "device": device}
        connection.execute(insert(samples_stream).values(**stream, name=f"{device}/numeric", first_seen_ns=1))
        connection.execute(insert(record_table).values(_record(number)))


def _record(stream_id: int) -> dict[str, object]:
    heart = sample_pb2.NumericValue(
        measure="hr", value="72", unit="/min", mdc=147842, status="R", quality=sample_pb2.QUALITY_VALID
    )
    sample = sample_pb2.NumericSet(
        measured_at_unix_ns=NOW_NS + 10**6,
        origin=sample_pb2.ORIGIN_LIVE,
        assignment=sample_pb2.ASSIGNMENT_BED,
        values=[heart],
    )
    zeros = dict.fromkeys(("edge_day", "codec", "crc", "mono_ns", "boot", "offset_ms", "offset_error_ms"), 0)
    return {
        **zeros,
        "stream_id": stream_id,
        "epoch": "0" * 16,
        "seq": 1,
        "kind": Kind.NUMERIC_SET,
        "schema": 1,
        "wall_ns": NOW_NS,
        "measured_ns": sample.measured_at_unix_ns,
        "received_ns": NOW_NS,
        "payload": sample.SerializeToString(),
    }
