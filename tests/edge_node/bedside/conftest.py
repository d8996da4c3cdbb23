"""A bedside station around a real ward, with an event log and a link that tests set."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from telemed.screen import Consult, SignalView
from telemed.topics import Up
from telemed.v1 import alarm_pb2, event_pb2, uplink_pb2

from edge_node.alarms import ruleset
from edge_node.alarms.ward import Layout, Place, Ward
from edge_node.bedside import application
from edge_node.bedside.ports import Surroundings
from edge_node.bedside.station import Station
from edge_node.buffer.trend import TrendRow
from edge_node.config import EdgeConfig
from edge_node.errors import BufferFull, CatalogueFailure
from edge_node.health import routes as health_routes
from edge_node.health.state import Health, LoopLag, PathFigures
from edge_node.imaging.arriving import Arriving
from edge_node.imaging.pipe import Taken
from edge_node.importing import handing
from edge_node.samples.alarm import Who
from edge_node.samples.measurement import Intake, NumericSet, Stored
from edge_node.samples.roster import Roster, build

NS = 1_000_000_000
START_NS = 1_800_000_000 * NS
PASSWORD = "correct horse battery"
HASH = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
SITE = "baoshan-clinic"


@dataclass(slots=True)
class Link:
    state: str = "live"
    since_ns: int = START_NS
    caught_up_to_ns: int = START_NS
    last_hub_ns: int = START_NS


@dataclass(slots=True)
class Log:
    """The site's log: what tests say the hub ordered, and what was proposed."""

    rows: list[event_pb2.OrderedEvent] = field(default_factory=list)
    waiting: list[event_pb2.Event] = field(default_factory=list)
    told: list[Callable[[list[event_pb2.Event]], None]] = field(default_factory=list)

    @property
    def roster(self) -> Roster:
        return build(self.rows, self.waiting)

    def ordered(self, aggregate_type: str) -> Sequence[event_pb2.OrderedEvent]:
        return [row for row in self.rows if row.event.aggregate_type == aggregate_type]

    def pending(self) -> Sequence[event_pb2.Event]:
        return self.waiting

    async def propose(self, event: event_pb2.Event) -> None:
        self.waiting.append(event)
        for told in self.told:
            told([event])

    def order(self, event: event_pb2.Event, *, refusal: str = "") -> None:
        """The hub orders an event."""
        self.waiting = [row for row in self.waiting if row.event_id != event.event_id]
        before = [row.version for row in self.rows if row.event.aggregate_id == event.aggregate_id]
        version = (before[-1] if before else 0) + (0 if refusal else 1)
        seq = len(self.rows) + 1
        self.rows.append(
            event_pb2.OrderedEvent(site_seq=seq, version=version, refused=bool(refusal), refusal=refusal, event=event)
        )
        for told in self.told:
            told([event])


class Store:
    """Takes alarm steps and forgets them."""

    async def append_alarms(self, events: Sequence[alarm_pb2.AlarmEvent], evaluated: object = None) -> None:
        return

    async def evaluated_up_to(self, device: str) -> int:
        return 0

    async def alarm_events(self, since_ns: int) -> list[alarm_pb2.AlarmEvent]:
        return []

    async def sets_since(self, since_ns: int) -> list[NumericSet]:
        return []

    async def last_known(self, devices: Sequence[str], since_ns: int) -> list[NumericSet]:
        return []


@dataclass(slots=True)
class Trail:
    """The audit trail: what it was told, as (user, action, target, result)."""

    entries: list[tuple[str, str, str, str]] = field(default_factory=list)

    async def note(self, who: Who | None, action: str, target: str, result: str = "ok") -> None:
        await self.note_all(who, [(action, target, result)])

    async def note_all(self, who: Who | None, entries: Iterable[tuple[str, str, str]]) -> None:
        self.entries += [("" if who is None else who.username, *entry) for entry in entries]


@dataclass(slots=True)
class NoConsults:
    """A node without a call; notes what pages said."""

    said: list[tuple[str, SignalView]] = field(default_factory=list)

    def consults(self) -> list[Consult]:
        return []

    def from_page(self, client: str, view: SignalView) -> None:
        self.said.append((client, view))

    def page_gone(self, client: str) -> None:
        return


@dataclass(frozen=True, slots=True)
class Said:
    """Whom a study says it is of."""

    patient_id: str = "P-UNKNOWN"
    name: str = "Gu^Yu"
    birth_date: str = "19520314"


@dataclass(frozen=True, slots=True)
class Study:
    """A study that came to the node."""

    study_id: str = "s-1"
    patient: Said = Said()
    person_id: str = ""
    assigned_by: str = ""
    study_date: str = "20261126"
    description: str = "Head"
    is_mixed: bool = False
    conflicts: int = 0
    last_ns: int = START_NS
    is_here: bool = True


@dataclass(slots=True)
class Images:
    """One study, unassigned at first."""

    study: Study = Study()
    is_failing: bool = False

    older: tuple[Study, ...] = ()
    folder: Path = Path("/nowhere")
    """Where files are half-way."""
    taken: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Sender, study that it must be of, and content of each file that came."""
    statuses: dict[bytes, int] = field(default_factory=dict)
    """What becomes of a content; of all others 0."""

    def arriving(self, sender: str, study_uid: str) -> Arriving:
        async def look(path: Path) -> Taken:
            content = await asyncio.to_thread(path.read_bytes)
            self.taken.append((sender, study_uid, content))
            return Taken(1, self.statuses.get(content, 0), "1.2.9", "1.2.3", "1.2.3.4", f"1.2.3.4.{len(self.taken)}")

        return Arriving(self.folder / f"half-{len(self.taken)}", 1000, look)

    async def listed(self, limit: int, after: str = "") -> Sequence[Study]:
        every = [self.study, *self.older]
        ids = [each.study_id for each in every]
        return every[ids.index(after) + 1 if after else 0 :][:limit]

    async def found(self, study_id: str) -> Study | None:
        return next((each for each in (self.study, *self.older) if each.study_id == study_id), None)

    async def assign(self, study_id: str, person_id: str, by: str) -> bool:
        if self.is_failing:
            raise CatalogueFailure("imaging.db: disk I/O error")
        if study_id != self.study.study_id:
            return False
        self.study = replace(self.study, person_id=person_id, assigned_by=by)
        return True


class Content(TypedDict, total=False):
    """What a request brings, as httpx takes it."""

    content: bytes
    headers: dict[str, str]
    json: object


def multipart(*files: bytes, kind: str = "application/dicom") -> Content:
    """Return what brings some files, as STOW-RS has them."""
    parts = [b"--B\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + file + b"\r\n" for file in files]
    headers = {"content-type": 'multipart/related; type="application/dicom"; boundary=B'}
    return Content(content=b"".join(parts) + b"--B--\r\n", headers=headers)


def account(username: str, role: str, sites: Sequence[str] = (SITE,)) -> event_pb2.Event:
    return event_pb2.Event(
        event_id=f"account-{username}",
        aggregate_type="account",
        aggregate_id=username,
        account_set=event_pb2.AccountSet(
            username=username, role=role, name_zh=f"{username}中", name_en=username, password_hash=HASH, sites=sites
        ),
    )


def person(person_id: str, bed: str, caregiver: str = "") -> list[event_pb2.Event]:
    return [
        event_pb2.Event(
            event_id=f"person-{person_id}",
            aggregate_type="person",
            aggregate_id=person_id,
            person_registered=event_pb2.PersonRegistered(
                family_name="谷",
                given_name=person_id,
                birth_date="1950-01-01",
                caregiver=caregiver,
                identifiers=[event_pb2.Identifier(system="QINGSHI", value=f"MRN-{person_id}")],
            ),
        ),
        event_pb2.Event(
            event_id=f"bed-{bed}",
            aggregate_type="bed",
            aggregate_id=bed,
            bed_assigned=event_pb2.BedAssigned(person_id=person_id),
        ),
    ]


def agreed(person_id: str, purpose: str, grantee: str = "") -> event_pb2.Event:
    given = event_pb2.ConsentGiven(person_id=person_id, purpose=purpose, grantee=grantee, giver="self", method="verbal")
    return event_pb2.Event(
        event_id=f"consent-{person_id}-{purpose}-{grantee}",
        aggregate_type="consent",
        aggregate_id=f"{person_id}/{purpose}",
        actor=event_pb2.Actor(username="clinic", role="clinic", name_zh="黄芪", name_en="Huang Qi"),
        consent_given=given,
    )


CONFIG = {
    "node": {
        "region": "baoshan",
        "site": SITE,
        "node": "edge-clinic",
        "name_zh": "青石镇卫生院",
        "name_en": "Qingshi Clinic",
        "phone": "028-0000-0000",
        "hub_phone": "028-0000-1111",
    },
    "buffer": {"folder": "buffer"},
    "uplink": {"secret_file": "secret"},
    "imaging": {"senders": ["CT"]},
    "beds": [{"bed": "B01", "label": "01"}, {"bed": "B02", "label": "02"}],
    "devices": [{"device": "m1", "family": "hl7_monitor", "bed": "B01", "application": "MON"}],
}


TOKEN = "0123456789abcdef0123456789abcdef"


class House:
    """A station with everything around it."""

    def __init__(self, folder: Path) -> None:
        self.audit = Trail()
        self.images: Images | None = Images(folder=folder)
        self.jobs = folder.with_name(f"{folder.name}-imports")
        """Where files lie that are to be imported."""
        self.now_ns = START_NS
        self.link = Link()
        self.log = Log()
        self.is_full = False
        self.radios: list[uplink_pb2.Radio] = []
        config = EdgeConfig.model_validate(CONFIG)
        devices = {"m1": Place("B01"), "manual-b01": Place("B01", is_watched=False, is_manual=True)}
        layout = Layout(("B01", "B02"), devices)
        self.ward = Ward(layout, ruleset.load(), Store(), lambda: self.now_ns)
        self.consults = NoConsults()
        self.trend_rows: list[TrendRow] = []
        self.stuck: list[tuple[str, str]] = []
        self.station = Station(self._around(config))
        self.ward.on_alarm.append(self.station.alarm_moved)
        self.ward.on_readings.append(self.station.readings_changed)
        self.ward.on_waves.append(self.station.waves_arrived)
        self.log.told.append(self.station.events_changed)
        for event in (
            account("clinic", "clinic"),
            account("physician", "physician", ()),
            account("daughter", "caregiver"),
            account("elsewhere", "clinic", ("other-site",)),
            account("operator", "operator"),
            *person("p-1", "B01", caregiver="daughter"),
            *person("p-2", "B02"),
            agreed("p-1", "C5", "daughter"),
        ):
            self.log.order(event)
        self.app = self.build()

    def _around(self, config: EdgeConfig) -> Surroundings:
        return Surroundings(
            config=config,
            ward=self.ward,
            words=self.ward,
            care=self.log,
            consults=self.consults,
            link=lambda: self.link,
            waiting=lambda: {Up.CARE: 2},
            stuck=lambda: self.stuck,
            radios=lambda: self.radios,
            hours_left=lambda: 71.0,
            trends=self.trends,
            link_gaps=self.ward.hub_gaps,
            deliver=self.deliver,
            clock=lambda: self.now_ns,
            audit=self.audit,
            studies=self.images,
            imports=handing.Hand(self.jobs),
            sender_of=lambda token: "SCANNER" if token == TOKEN else "",
        )

    def build(self) -> FastAPI:
        health = Health(
            not_ready=list,
            waiting=lambda: {"care": 2},
            hours_left=lambda: 71.0,
            alarms=lambda: {"high": 1},
            link=lambda: self.link.state,
            hl7=lambda: {"frames": 7, "answers": {"AA": 6}},
            radios=lambda: [(uplink_pb2.Radio(path="sim", state="connected", technology="lte", bars=3), {"cell": 2})],
            alarm_paths=lambda: [PathFigures("wwan0", True, 0.05, 1, {"sent": 3})],
            lag=LoopLag(),
            pages=lambda: len(self.station.live.pages),
        )
        return application.build(self.station, [health_routes.router(health, CollectorRegistry(), "scrape-me")])

    async def trends(self, devices: Sequence[str], from_ns: int, to_ns: int, step_s: int) -> list[TrendRow]:
        return self.trend_rows

    async def deliver(self, intake: Intake) -> Stored:
        if self.is_full:
            raise BufferFull("full")
        await self.ward.take(intake)
        return Stored.NEW


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
async def client(house: House) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=house.app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://station") as found:
        yield found


async def sign_in(client: httpx.AsyncClient, username: str = "clinic") -> None:
    """Sign in and keep the CSRF token for what follows."""
    answer = await client.post("/api/v1/session", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
