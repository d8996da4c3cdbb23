"""STOW-RS: what is stored and committed, what is refused with its reason, and under whom it is put."""

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, func, select, update
from telemed.v1 import event_pb2

from cloud_hub.store import erased_images, events
from cloud_hub.store.blobs import Blobs, Room
from cloud_hub.store.events import Place
from cloud_hub.store.schema import audit, dicom_group, dicom_instance
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.role_world import stores
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import ImagingHub

__all__ = ["hashed", "stores"]
TYPE = 'multipart/related; type="application/dicom"; boundary=Kx7_'
Work = Callable[[Connection], object]
FAILED, REFERENCED, REASON, SOP_UID = "00081198", "00081199", "00081197", "00081155"


def body_of(*files: bytes, kind: bytes = b"application/dicom") -> bytes:
    parts = (b"--Kx7_\r\nContent-Type: " + kind + b"\r\n\r\n" + file + b"\r\n" for file in files)
    return b"".join(parts) + b"--Kx7_--\r\n"


@pytest.fixture
async def client(stores: Stores, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    hub = ImagingHub.over(stores.care, tmp_path / "blobs")
    app = await world.build(stores, images=hub.images)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as found:
        await sign_in(found, "clinic")
        yield found
    await hub.readers.close()


async def sign_in(client: httpx.AsyncClient, who: str) -> None:
    answer = await client.post("/api/v1/session", json={"username": who, "password": world.PASSWORD})
    client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]


async def store(client: httpx.AsyncClient, *files: bytes, path: str = "?person=own") -> httpx.Response:
    return await client.post(f"/dicom-web/studies{path}", content=body_of(*files), headers={"Content-Type": TYPE})


def stored_of(stores: Stores) -> list[str]:
    """Whose images the trail says were stored."""
    query = select(audit.c.object).where(audit.c.action == "images-store")
    return list(stores.care.read_blocking(lambda c: c.execute(query).scalars().all()))


def path_of(folder: Path, content: bytes) -> Path:
    """Where a file lies, of a hub whose folder is in this one."""
    return Blobs(folder / "blobs").path(hashlib.sha256(content).hexdigest())


def count(stores: Stores) -> int:
    known = select(func.count()).select_from(dicom_instance)
    return int(stores.care.read_blocking(lambda c: c.execute(known).scalar_one())) - len(world.PLACES)


@pytest.mark.anyio
async def test_what_is_stored_comes_back_with_its_bytes_and_is_written_down(
    client: httpx.AsyncClient, stores: Stores
) -> None:
    files = [dicom_files.image(), dicom_files.image(instance="1.2.3.4.6") + b"\r\n--Kx7"]
    answer = await store(client, *files)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["00081190"]["Value"] == ["http://hub/dicom-web/studies/1.2.3"]
    assert [one[SOP_UID]["Value"] for one in told[REFERENCED]["Value"]] == [["1.2.3.4.5"], ["1.2.3.4.6"]]
    for one, content in zip(told[REFERENCED]["Value"], files, strict=True):
        url = one["00081190"]["Value"][0].removeprefix("http://hub")
        assert (await client.get(url, headers={"Accept": "application/dicom"})).content == content
    assert stored_of(stores) == ["Patient/own"]


@pytest.mark.anyio
async def test_nothing_is_stored_for_a_person_who_was_erased(client: httpx.AsyncClient, stores: Stores) -> None:
    event = event_pb2.Event(event_id="gone", aggregate_type="person", aggregate_id="own")
    event.person_erased.reason = "retention"
    where = Place(world.REGION, world.SITE)
    stores.care.write_blocking(lambda c: events.append_hub_event(c, where, event, world.NOW_NS))
    assert (await store(client, dicom_files.image())).status_code == 404
    assert count(stores) == 0


def meanwhile(monkeypatch: pytest.MonkeyPatch, stores: Stores, work: Work) -> None:
    """Have something be committed while a file is copied into the folder: after the look, before the commit."""
    keep = Blobs.keep

    def late(blobs: Blobs, source: Path) -> tuple[str, int, bytes]:
        kept = keep(blobs, source)
        stores.care.write_blocking(work)
        return kept

    monkeypatch.setattr(Blobs, "keep", late)


def erase(connection: Connection) -> None:
    """Erase "own" as the command does, without its pauses and without the files."""
    where = Place(world.REGION, world.SITE)
    event = event_pb2.Event(event_id="gone", aggregate_type="person", aggregate_id="own")
    event.base_version = events.version(connection, where, "person", "own")
    event.person_erased.reason = "retention"
    events.append_hub_event(connection, where, event, world.NOW_NS)
    for group in erased_images.groups_of(connection, (world.REGION, world.SITE), "own"):
        erased_images.empty(connection, group, world.NOW_NS)


def give_away(connection: Connection) -> None:
    """Say of the known study of "own" that it is another's."""
    where = (world.REGION, world.SITE)
    for _, _, group_id in erased_images.groups_of(connection, where, "own"):
        of_group = dicom_group.c.group_id == group_id
        connection.execute(update(dicom_group).where(of_group).values(person_id="other", generation=99))


CASES: dict[str, tuple[str, str, Work]] = {
    "new study of an erased person": ("1.2.3", "?person=own", erase),
    "known study of an erased person": (world.STUDIES["own"], "", erase),
    "study of another person": (world.STUDIES["own"], "?person=own", give_away),
}


@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES)
async def test_what_belongs_there_no_more_when_it_is_committed_is_not_stored(
    client: httpx.AsyncClient, stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: str
) -> None:
    study, path, work = CASES[case]
    content = dicom_files.image(study, f"{study}.7", f"{study}.7.1")
    meanwhile(monkeypatch, stores, work)
    answer = await store(client, content, path=path)
    assert (answer.status_code, answer.json()[FAILED]["Value"][0][REASON]["Value"]) == (409, [0xA901])
    known = select(dicom_instance.c.sop_uid).where(dicom_instance.c.sop_uid == f"{study}.7.1")
    assert stores.care.read_blocking(lambda c: c.execute(known).all()) == []
    assert stored_of(stores) == []
    assert not path_of(tmp_path, content).exists()


@pytest.mark.anyio
async def test_what_is_refused_so_late_takes_nothing_from_the_disk_that_another_study_needs(
    client: httpx.AsyncClient, stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = dicom_files.image()
    assert (await store(client, content, path="?person=other")).status_code == 200
    meanwhile(monkeypatch, stores, erase)
    assert (await store(client, content)).status_code == 409
    assert path_of(tmp_path, content).exists()


@pytest.mark.anyio
async def test_a_file_that_went_from_the_disk_before_its_commit_is_not_said_to_be_stored(
    client: httpx.AsyncClient, stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = dicom_files.image()
    meanwhile(monkeypatch, stores, lambda _: path_of(tmp_path, content).unlink())
    assert (await store(client, content)).status_code == 503
    assert count(stores) == 0


@pytest.mark.anyio
async def test_what_was_stored_before_a_body_broke_off_is_written_down(
    client: httpx.AsyncClient, stores: Stores
) -> None:
    body = body_of(dicom_files.image(), dicom_files.image(instance="1.2.3.4.6"), dicom_files.image())[:-100]
    answer = await client.post("/dicom-web/studies?person=own", content=body, headers={"Content-Type": TYPE})
    assert (answer.status_code, count(stores)) == (400, 2)
    assert stored_of(stores) == ["Patient/own"]


@pytest.mark.anyio
async def test_storing_twice_is_one_instance(client: httpx.AsyncClient, stores: Stores) -> None:
    for _ in range(2):
        assert (await store(client, dicom_files.image())).status_code == 200
    assert count(stores) == 1


@pytest.mark.anyio
async def test_each_part_that_is_not_stored_is_named_with_its_reason(client: httpx.AsyncClient) -> None:
    files = (dicom_files.image(), b"no DICOM", dicom_files.image("1.2.9", "1.2.9.1", "1.2.9.1.1"))
    answer = await store(client, *files, path="/1.2.3?person=own")
    assert answer.status_code == 202
    lost = [(one.get(SOP_UID, {}).get("Value"), one[REASON]["Value"]) for one in answer.json()[FAILED]["Value"]]
    assert lost == [(None, [0xC000]), (["1.2.9.1.1"], [0xA900])]
    none = await store(client, b"no DICOM")
    assert (none.status_code, REFERENCED in none.json()) == (409, False)


@pytest.mark.anyio
async def test_without_a_person_only_a_known_study_takes_more(client: httpx.AsyncClient) -> None:
    unknown = await store(client, dicom_files.image(), path="")
    assert (unknown.status_code, unknown.json()[FAILED]["Value"][0][REASON]["Value"]) == (409, [0xA901])
    assert (await store(client, dicom_files.image())).status_code == 200
    assert (await store(client, dicom_files.image(instance="1.2.3.4.6"), path="")).status_code == 200
    (row,) = (await client.get("/dicom-web/studies?StudyInstanceUID=1.2.3")).json()
    assert row["00201208"]["Value"] == [2]


@pytest.mark.anyio
async def test_a_study_that_two_persons_have_takes_more_for_the_one_that_is_named(
    client: httpx.AsyncClient, stores: Stores
) -> None:
    for number, person in enumerate(("own", "other")):
        image = dicom_files.image(instance=f"1.2.3.4.{number}")
        assert (await store(client, image, path=f"?person={person}")).status_code == 200
    more = dicom_files.image(instance="1.2.3.4.6")
    unnamed = await store(client, more, path="")
    assert (unnamed.status_code, unnamed.json()[FAILED]["Value"][0][REASON]["Value"]) == (409, [0xA901])
    assert (await store(client, more, path="?person=other")).status_code == 200
    assert stored_of(stores) == ["Patient/own", "Patient/other", "Patient/other"]


@pytest.mark.anyio
async def test_who_does_not_see_a_person_stores_nothing_for_them(client: httpx.AsyncClient, stores: Stores) -> None:
    assert (await store(client, dicom_files.image(), path="?person=elsewhere")).status_code == 404
    await sign_in(client, "caregiver")
    assert (await store(client, dicom_files.image(), path="?person=other")).status_code == 404
    await sign_in(client, "operator")
    assert (await store(client, dicom_files.image())).status_code == 403
    del client.headers["X-CSRF-Token"]
    assert (await store(client, dicom_files.image())).status_code == 403
    assert count(stores) == 0


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", TYPE),
        (body_of(b"x")[:-8], TYPE),
        (body_of(b"x", kind=b"application/dicom+json"), TYPE),
        (body_of(b"x"), "application/dicom"),
        (body_of(b"x"), 'multipart/related; type="application/dicom"'),
        (b"--Kx7_" + bytes(9000), TYPE),
    ],
    ids=["empty", "cut short", "metadata", "not multipart", "no boundary", "long head"],
)
async def test_a_body_that_is_none_is_refused(client: httpx.AsyncClient, body: bytes, kind: str) -> None:
    answer = await client.post("/dicom-web/studies?person=own", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")


@pytest.mark.anyio
async def test_the_disk_is_looked_at_for_each_file(
    client: httpx.AsyncClient, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [Room(100, 50), Room(100, 50), Room(100, 10)]
    monkeypatch.setattr(Blobs, "room", lambda _: left.pop(0))
    answer = await store(client, *(dicom_files.image(instance=f"1.2.3.4.{number}") for number in range(4)))
    assert (answer.status_code, count(stores), left) == (503, 2, [])
    assert stored_of(stores) == ["Patient/own"]
