"""A hub with an archive: the small region of the role matrix, two of whose persons have a number in the hospital."""

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.uid import UID
from sqlalchemy import select
from telemed.v1 import event_pb2

from cloud_hub.config import ArchiveConfig
from cloud_hub.imaging.archive import Archive
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.fetching import Fetching, Progress, State
from cloud_hub.store import consents, persons
from cloud_hub.store.schema import audit
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.fakes.imaging_hub import ImagingHub
from tests.fakes.orthanc import SYSTEM

NUMBERS = {"own": "P-1", "other": "P-2"}
STUDY, OTHERS_STUDY = "1.2.826.0.2.1", "1.2.826.0.2.2"
KINDS = ("CT1_UNC", "MR1_J2KR", "US1_RLE", "NM1_JPLY")
FETCH_LIMIT_S = 40


@dataclass
class Hub:
    """Whoever is signed in at it, and what is behind it."""

    client: httpx.AsyncClient
    stores: Stores
    fetching: Fetching

    async def sign_in(self, who: str) -> None:
        answer = await self.client.post("/api/v1/session", json={"username": who, "password": world.PASSWORD})
        self.client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]

    async def look(self, person: str = "own") -> httpx.Response:
        return await self.client.get(f"/api/v1/persons/{person}/archive")

    async def begin(self, study: str = STUDY, person: str = "own") -> httpx.Response:
        return await self.client.post(f"/api/v1/persons/{person}/archive/{study}/fetch")

    async def fetched(self, study: str = STUDY, person: str = "own") -> dict[str, Any]:
        """Fetch a study; return what is told once it is over."""
        answer = await self.begin(study, person)
        assert answer.status_code == 202, answer.text
        return await self.told("done", "failed", study=study, person=person)

    async def told(self, *states: str, study: str = STUDY, person: str = "own") -> dict[str, Any]:
        """Return what is told of a fetch as soon as it is in one of these states."""
        async with asyncio.timeout(FETCH_LIMIT_S):
            while True:
                found: dict[str, Any] = (await self.progress(study, person)).json()
                if found["state"] in states:
                    return found
                await asyncio.sleep(0.02)

    async def over(self, study: str = STUDY, person: str = "own") -> Progress:
        """Return what the hub itself knows of a fetch once it is over: whoever asked may see nothing of it any more."""
        async with asyncio.timeout(FETCH_LIMIT_S):
            while True:
                found = self.fetching.progress(person, study)
                if found is not None and found.state in (State.DONE, State.FAILED):
                    return found
                await asyncio.sleep(0.02)

    async def progress(self, study: str = STUDY, person: str = "own") -> httpx.Response:
        return await self.client.get(f"/api/v1/persons/{person}/archive/{study}/fetch")

    async def listed(self, person: str) -> list[dict[str, Any]]:
        """What the hub has of somebody, but for what it had before."""
        rows = (await self.client.get(f"/api/v1/studies?person={person}")).json()["studies"]
        return [row for row in rows if row["study_uid"] not in world.STUDIES.values()]

    async def file(self, sop_uid: str, series: str, filed: str = "") -> bytes:
        """Return a file as the hub gives it."""
        path = f"/dicom-web/studies/{STUDY}/series/{series}/instances/{sop_uid}?filed={filed}"
        answer = await self.client.get(path, headers={"Accept": "application/dicom"})
        assert answer.status_code == 200, answer.text
        return answer.content

    def trail(self) -> list[tuple[str, ...]]:
        """What the audit trail says of the archive and of what was stored: who, what, whose, with what result."""
        c = audit.c
        query = select(c.actor, c.action, c.object, c.result).where(
            c.action.like("archive-%") | (c.action == "images-store")
        )
        return [tuple(row) for row in self.stores.care.read_blocking(lambda db: db.execute(query.order_by(c.id)).all())]


@contextlib.asynccontextmanager
async def hub(stores: Stores, folder: Path, config: ArchiveConfig, **files: Any) -> AsyncIterator[Hub]:
    """Run a hub whose archive is the one of this configuration, with a physician signed in."""
    for person, number in NUMBERS.items():
        give_number(stores, person, number)
    imaging = ImagingHub.over(stores.care, folder / "blobs")
    kept = Images(imaging.blobs, imaging.readers, **files)
    fetching = Fetching(stores.care, kept, Archive(config, kept.largest_file_bytes), time.time_ns)
    app = await world.build(stores, images=kept, fetching=fetching)
    running = asyncio.create_task(fetching.run())
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
            found = Hub(client, stores, fetching)
            await found.sign_in("physician")
            yield found
    finally:
        running.cancel()
        await asyncio.wait([running])
        await imaging.readers.close()


def give_number(stores: Stores, person: str, number: str, birth_date: str = "", gender: str = "") -> None:
    """Have a site say under which number the hospital knows somebody."""
    site, _ = world.PLACES[person]
    body = event_pb2.PersonRegistered(family_name="谷", given_name=person, birth_date=birth_date, gender=gender)
    for system, value in ((SYSTEM, number), ("urn:another:system", "P-2" if person == "own" else "P-1")):
        body.identifiers.add(system=system, value=value)
    stores.care.write_blocking(lambda c: persons.save_person(c, (world.REGION, site), person, body, world.NOW_NS))


def refuse_sharing(stores: Stores, person: str) -> None:
    """Have somebody say no to being shown outside of their site."""
    event = event_pb2.Event(event_id="no", aggregate_type="consent", aggregate_id=f"{person}/C2")
    event.consent_withdrawn.person_id, event.consent_withdrawn.purpose = person, "C2"
    where = (world.REGION, world.PLACES[person][0])
    stores.care.write_blocking(lambda c: consents.note(c, where, event, world.NOW_NS))


def of_archive(shared: Path, study: str = STUDY, patient_id: str = "P-1", **more: str) -> Iterator[bytes]:
    """Yield real images of several kinds as one study of a patient, each in a series of its own."""
    for number, kind in enumerate(KINDS, 1):
        found = pydicom.dcmread(shared / "dicom" / "wg04" / f"{kind}.dcm")
        found.StudyInstanceUID, found.SeriesInstanceUID = study, f"{study}.{number}"
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = UID(f"{study}.{number}.1")
        found.SpecificCharacterSet, found.PatientID, found.StudyDate = "ISO_IR 192", patient_id, "20251120"
        found.PatientName, found.StudyDescription = "Gu^Yu=谷^雨", "头部 MR"
        for name, value in more.items():
            setattr(found, name, value)
        made = io.BytesIO()
        found.save_as(made)
        yield made.getvalue()
