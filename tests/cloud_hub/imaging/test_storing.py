"""STOW-RS: what is stored and committed, what is refused with its reason, and under whom it is put."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select
from telemed.v1 import event_pb2

from cloud_hub.errors import BadRequest
from cloud_hub.imaging.parts_in import Begin, Data, End, PartsIn
from cloud_hub.store import events
from cloud_hub.store.events import Place
from cloud_hub.store.schema import audit, dicom_instance
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.role_world import stores
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import ImagingHub

__all__ = ["hashed", "stores"]
TYPE = 'multipart/related; type="application/dicom"; boundary=Kx7_'
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
    query = select(audit.c.object).where(audit.c.action == "images-store")
    assert stores.care.read_blocking(lambda c: c.execute(query).scalars().all()) == ["Patient/own"]


@pytest.mark.anyio
async def test_nothing_is_stored_for_a_person_who_was_erased(client: httpx.AsyncClient, stores: Stores) -> None:
    event = event_pb2.Event(event_id="gone", aggregate_type="person", aggregate_id="own")
    event.person_erased.reason = "retention"
    where = Place(world.REGION, world.SITE)
    stores.care.write_blocking(lambda c: events.append_hub_event(c, where, event, world.NOW_NS))
    assert (await store(client, dicom_files.image())).status_code == 404
    assert count(stores) == 0


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


def taken(body: bytes, sizes: list[int]) -> list[bytes]:
    """The parts of a body that comes in pieces of these sizes."""
    parts, found, at = PartsIn("Kx7_"), list[bytes](), 0
    for size in [*sizes, len(body)]:
        for event in parts.feed(body[at : at + size]):
            if isinstance(event, Begin):
                found.append(b"")
            elif isinstance(event, Data):
                found[-1] += event.data
            else:
                assert isinstance(event, End)
        at += size
    parts.close()
    return found


def test_a_body_means_the_same_however_it_is_cut() -> None:
    dice = random.Random(7)
    files = [b"", b"\r\n--Kx7", b"\r\n" * 40, dice.randbytes(5000) + b"\r\n--Kx7-", b"--Kx7_x"]
    body = b"preamble\r\n" + body_of(*files) + b"epilogue"
    assert taken(body, [1] * len(body)) == files
    for _ in range(200):
        assert taken(body, [dice.randint(1, 400) for _ in range(60)]) == files


def test_a_boundary_within_a_line_of_its_own_is_refused() -> None:
    with pytest.raises(BadRequest):
        taken(body_of(b"a\r\n--Kx7_b\r\nc"), [])
    with pytest.raises(BadRequest):
        PartsIn("")


def test_a_large_part_is_handed_on_before_it_is_whole() -> None:
    parts = PartsIn("Kx7_")
    head = b"--Kx7_\r\n\r\n"
    events = list(parts.feed(head + bytes(100_000)))
    assert sum(len(one.data) for one in events if isinstance(one, Data)) > 99_000
    assert len(parts._held) < 20


def test_names_of_heads_are_read_without_regard_to_case() -> None:
    (begin, *_) = PartsIn("Kx7_").feed(b"--Kx7_\r\nCONTENT-type: a/b\r\nX: y\r\n\r\n")
    assert begin == Begin({"content-type": "a/b", "x": "y"})
