"""Photos and documents from the bedside page: kept whole with what is said of them, or nothing is kept."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from telemed.v1 import event_pb2

from edge_node.bedside import import_routes
from edge_node.importing import asking, inbox
from edge_node.importing.inbox import Inbox, Job

from .conftest import House, sign_in

pytestmark = pytest.mark.anyio
PATH = "/api/v1/persons/p-1/imports"
JPEG = {"content-type": "image/jpeg"}


def jobs(house: House) -> list[Job]:
    return Inbox(house.jobs, settled_s=0, keeps=False).due()


def left(house: House) -> list[Path]:
    return [each for each in house.jobs.rglob("*") if each.is_file()] if house.jobs.is_dir() else []


async def test_a_photo_waits_to_be_imported_with_whose_it_is_beside_it(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    answer = await client.post(f"{PATH}?description=伤口", content=b"picture", headers=JPEG)
    assert answer.status_code == 202, answer.text
    (job,) = jobs(house)
    assert (job.path.name, job.path.read_bytes()) == ("file.jpg", b"picture")
    said = asking.load(job.said.read_bytes())
    assert (said.patient, said.issuer, said.description) == ("MRN-p-1", "QINGSHI", "伤口")
    assert ("clinic", "images-import", "Patient/p-1", "ok") in house.audit.entries
    asked = f"{PATH}/{answer.json()['import_id']}"
    assert (await client.get(asked)).json() == {"state": "waiting", "text": None}


async def test_an_identifier_that_dicom_cannot_hold_is_passed_over_and_told_where_there_is_no_other(
    client: httpx.AsyncClient, house: House
) -> None:
    await sign_in(client)
    (named,) = [row.event for row in house.log.rows if row.event.event_id == "person-p-1"]
    named.person_registered.identifiers.insert(0, event_pb2.Identifier(system="ELSEWHERE", value="WARD\\7"))
    assert (await client.post(PATH, content=b"picture", headers=JPEG)).status_code == 202
    assert asking.load(jobs(house)[0].said.read_bytes()).patient == "MRN-p-1"
    named.person_registered.identifiers.pop()
    answer = await client.post(PATH, content=b"picture", headers=JPEG)
    assert (answer.status_code, answer.json()["fields"]) == (422, ["person_id"])


@pytest.mark.parametrize(("where", "state"), [(inbox.DONE, "imported"), (inbox.REFUSED, "refused")])
async def test_what_became_of_it_is_told_in_both_languages(
    client: httpx.AsyncClient, house: House, where: str, state: str
) -> None:
    await sign_in(client)
    answer = await client.post(PATH, content=b"picture", headers=JPEG)
    (job,) = jobs(house)
    Inbox(house.jobs, settled_s=0, keeps=False).finish(job, (job.path.name,), where, "中文 / English")
    told = (await client.get(f"{PATH}/{answer.json()['import_id']}")).json()
    assert told == {"state": state, "text": {"zh": "中文", "en": "English"}}


@pytest.mark.parametrize("kind", ["image/heic", "text/html", "application/json", ""])
async def test_other_kinds_are_refused_before_anything_is_kept(
    client: httpx.AsyncClient, house: House, kind: str
) -> None:
    await sign_in(client)
    answer = await client.post(PATH, content=b"{}", headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "bad-media")
    assert left(house) == []


async def test_what_is_too_large_is_refused_and_nothing_of_it_stays(
    client: httpx.AsyncClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_routes, "LIMIT_BYTES", 10)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"12345"

    await sign_in(client)
    answer = await client.post(PATH, content=pieces(), headers=JPEG)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    assert left(house) == []
    assert list(house.jobs.iterdir()) == []


async def test_nothing_comes_of_an_empty_body_nor_of_one_that_breaks_off(
    client: httpx.AsyncClient, house: House
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise TimeoutError

    await sign_in(client)
    answer = await client.post(PATH, content=b"", headers=JPEG)
    assert (answer.status_code, answer.json()["fields"]) == (422, ["body"])
    answer = await client.post(PATH, content=broken(), headers=JPEG)
    assert (answer.status_code, answer.json()["fields"]) == (422, ["body"])
    assert left(house) == []


async def test_of_a_disk_that_takes_nothing_the_page_is_told(client: httpx.AsyncClient, house: House) -> None:
    house.jobs.write_text("a file where the folder should be")
    await sign_in(client)
    answer = await client.post(PATH, content=b"picture", headers=JPEG)
    assert (answer.status_code, answer.json()["code"]) == (503, "store-full")


@pytest.mark.parametrize("path", ["/api/v1/persons/p-9/imports", f"{PATH}/{'a' * 32}"])
async def test_a_person_or_a_file_that_there_is_not_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    await sign_in(client)
    answer = (
        await client.get(path) if path.startswith(f"{PATH}/") else await client.post(path, content=b"1", headers=JPEG)
    )
    assert answer.status_code == 404


async def test_without_the_token_of_the_page_nothing_is_taken(client: httpx.AsyncClient, house: House) -> None:
    await sign_in(client)
    del client.headers["X-CSRF-Token"]
    assert (await client.post(PATH, content=b"picture", headers=JPEG)).status_code == 403
    assert left(house) == []
