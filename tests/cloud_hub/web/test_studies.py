"""The lists of studies: within somebody's rights, written down, and honest about how much has come."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from telemed.study import KEY_IMAGE_NAME, MANIFEST_NAME, StudyManifest, StudyObject, pack
from telemed.topics import NodeAddress

from cloud_hub.access import images
from cloud_hub.access.oauth import OAuth
from cloud_hub.access.rights import Principal
from cloud_hub.store import accounts, studies
from cloud_hub.store.accounts import Account
from cloud_hub.store.schema import audit
from cloud_hub.store.studies import Arrival, Narrowing, Study
from cloud_hub.web import study_read
from cloud_hub.web.live import Stores
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.role_world import stores
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import ImagingHub

__all__ = ["hashed", "stores"]
pytestmark = pytest.mark.anyio
ADDRESS = world.address(world.SITE)
PICTURE = b"\xff\xd8\xff a picture"


class Desk:
    """A hub with images, and somebody at its page."""

    def __init__(self, hub: ImagingHub, client: httpx.AsyncClient, stores: Stores, app: Any) -> None:
        self.hub, self.client, self.stores, self.app = hub, client, stores, app

    async def sign_in(self, username: str) -> None:
        answer = await self.client.post("/api/v1/session", json={"username": username, "password": world.PASSWORD})
        assert answer.status_code == 200, answer.text
        self.client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]

    async def mark(self, method: str, row: dict[str, Any]) -> int:
        """Say that a study was read as a row shows it (POST) or is to be read again (DELETE)."""
        body = {"images": row["images"]} if method == "POST" else None
        answer = await self.client.request(method, f"/api/v1/studies/{row['study_key']}/read", json=body)
        return answer.status_code

    async def listed(self, query: str = "") -> dict[str, Any]:
        answer = await self.client.get(f"/api/v1/studies{query}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def uids(self, query: str = "") -> list[str]:
        return [one["study_uid"] for one in (await self.listed(query))["studies"]]

    async def one(self, study: str) -> dict[str, Any]:
        (found,) = (await self.listed(f"?study={study}"))["studies"]
        row: dict[str, Any] = found
        return row


@pytest.fixture
async def desk(stores: Stores, tmp_path: Path) -> AsyncIterator[Desk]:
    hub = ImagingHub.over(stores.care, tmp_path / "blobs")
    app = await world.build(stores, images=hub.images)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hub") as client:
        found = Desk(hub, client, stores, app)
        await found.sign_in("clinic")
        yield found
    await hub.readers.close()


def told(group: str, study: str, hashes: list[str], person: str = "own", generation: int = 1) -> StudyManifest:
    objects = tuple(StudyObject(f"{study}.{n}", "", f"{study}.1", "", one, 1) for n, one in enumerate(hashes))
    return StudyManifest(group, study, generation, person_id=person, objects=objects)


async def test_a_doctor_sees_the_studies_of_their_site_newest_first_and_a_family_none(desk: Desk) -> None:
    await _arrive(desk, "g1", "1.2.5", StudyDate="20261120")
    await _arrive(desk, "g2", "1.2.6", StudyDate="20261125")
    found = await desk.uids()
    assert found[:2] == ["1.2.6", "1.2.5"]
    assert world.STUDIES["elsewhere"] not in found
    await desk.sign_in("caregiver")
    assert (await desk.client.get("/api/v1/studies")).status_code == 403


async def test_a_row_names_the_person_of_the_record_and_of_nobodys_study_what_the_images_say(desk: Desk) -> None:
    await _arrive(desk, "g1", "1.2.5", StudyDescription="头部 CT")
    nobody = await desk.one("1.2.5")
    assert (nobody["person_id"], nobody["name"]["zh"], nobody["description"]) == ("", "谷 雨", "头部 CT")
    desk.hub.send_manifest(ADDRESS, told("g1", "1.2.5", ["0" * 64]))
    await desk.hub.indexer.read_all()
    assert (await desk.one("1.2.5"))["name"]["zh"] == "谷own"


async def test_a_study_is_partly_there_until_all_that_its_manifest_names_has_come(desk: Desk) -> None:
    first = await _arrive(desk, "g1", "1.2.5", "1")
    unsaid = await desk.one("1.2.5")
    assert (unsaid["state"], unsaid["arrived"], unsaid["expected"]) == ("partly", 1, None)
    desk.hub.send_manifest(ADDRESS, told("g1", "1.2.5", [first, "f" * 64]))
    await desk.hub.indexer.read_all()
    half = await desk.one("1.2.5")
    assert (half["state"], half["arrived"], half["expected"]) == ("partly", 1, 2)
    await _arrive(desk, "g1", "1.2.5", "2")
    assert (await desk.one("1.2.5"))["state"] == "whole"
    # A machine sends one more: the site says so in its next manifest.
    desk.hub.send_manifest(ADDRESS, told("g1", "1.2.5", [first, "e" * 64, "f" * 64], generation=2))
    await desk.hub.indexer.read_all()
    assert (await desk.one("1.2.5"))["state"] == "partly"


async def test_an_announced_study_is_listed_with_its_key_image_before_any_image_has_come(desk: Desk) -> None:
    desk.hub.arrive(ADDRESS, PICTURE, "g1", KEY_IMAGE_NAME, is_preview=True)
    objects = (StudyObject("1.2.5.1", "", "1.2.5.1", "", "a" * 64, 1, modality="CT"),)
    manifest = StudyManifest("g1", "1.2.5", 1, "own", study_date="20261120", description="头部 CT", objects=objects)
    desk.hub.send_manifest(ADDRESS, manifest)
    await desk.hub.indexer.read_all()
    row = await desk.one("1.2.5")
    assert (row["state"], row["images"], row["arrived"], row["expected"]) == ("preview", 0, 0, 1)
    assert (row["study_date"], row["description"], row["modalities"]) == ("20261120", "头部 CT", ["CT"])
    assert (row["name"]["zh"], row["has_key_image"], row["is_unread"]) == ("谷own", True, True)
    answer = await desk.client.get(f"/api/v1/studies/{row['study_key']}/key-image")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, PICTURE, "image/jpeg")
    trail = desk.stores.care.read_blocking(lambda c: c.execute(select(audit.c.action, audit.c.object)).all())
    assert ("images-read", "Patient/own") in [tuple(each) for each in trail]
    # Nothing is told of it where images are asked for.
    assert (await desk.client.get("/dicom-web/studies?StudyInstanceUID=1.2.5")).status_code == 204
    assert (await desk.client.get(f"/api/v1/studies/{row['study_key']}/reviews")).json()["reports"] == []
    # Read is what was shown of it.
    assert await desk.mark("POST", row) == 204
    assert await desk.uids("?unread=true&study=1.2.5") == []
    await _arrive(desk, "g1", "1.2.5")
    assert await desk.uids("?unread=true&study=1.2.5") == ["1.2.5"]
    await desk.sign_in("caregiver")
    assert (await desk.client.get(f"/api/v1/studies/{row['study_key']}/key-image")).status_code == 403


async def test_what_images_say_of_a_study_counts_once_one_has_come(desk: Desk) -> None:
    desk.hub.send_manifest(ADDRESS, replace(told("g1", "1.2.5", ["a" * 64]), description="announced"))
    await desk.hub.indexer.read_all()
    assert (await desk.one("1.2.5"))["has_key_image"] is False
    await _arrive(desk, "g1", "1.2.5", StudyDescription="头部 CT", StudyTime="0730")
    row = await desk.one("1.2.5")
    assert (row["description"], row["study_time"], row["images"]) == ("头部 CT", "0730", 1)
    # Announced again it stays what its images say that it is.
    desk.hub.send_manifest(ADDRESS, replace(told("g1", "1.2.5", ["a" * 64], generation=2), description="announced"))
    await desk.hub.indexer.read_all()
    assert (await desk.one("1.2.5"))["description"] == "头部 CT"


async def test_of_two_manifests_before_any_image_the_later_one_counts_and_nothing_that_cannot_be_shown_is_kept(
    desk: Desk,
) -> None:
    first = StudyManifest("g1", "1.2.5", 2, "own", description="\u202eCT\0")
    objects = (StudyObject("1.2.5.1", "", "1.2.5.1", "", "a" * 64, 1, modality="CT"),)
    for manifest in (first, replace(first, generation=3, objects=objects), replace(first, generation=1)):
        written = pack(manifest).replace(b"CT\\u0000", b"\\ud800CT\\u0000")
        assert b"\\ud800" in written
        desk.hub.arrive(ADDRESS, written, "g1", MANIFEST_NAME)
    await desk.hub.indexer.read_all()
    row = await desk.one("1.2.5")
    assert (row["description"], row["modalities"], row["expected"]) == ("CT", ["CT"], 1)


@pytest.mark.parametrize("content", [b"<svg onload=x>", b"\xff\xd8\xff" + bytes(3 * 1024 * 1024)])
async def test_what_is_no_picture_is_not_given_out_as_one_whatever_it_is_called(desk: Desk, content: bytes) -> None:
    desk.hub.arrive(ADDRESS, content, "g1", KEY_IMAGE_NAME, is_preview=True)
    desk.hub.send_manifest(ADDRESS, told("g1", "1.2.5", ["a" * 64]))
    await desk.hub.indexer.read_all()
    row = await desk.one("1.2.5")
    assert (await desk.client.get(f"/api/v1/studies/{row['study_key']}/key-image")).status_code == 404


@pytest.mark.parametrize("study", ["", "1.2.ä", "1" * 65])
async def test_a_manifest_that_names_no_study_lists_none(desk: Desk, study: str) -> None:
    desk.hub.send_manifest(ADDRESS, replace(told("g1", study, ["a" * 64])))
    await desk.hub.indexer.read_all()
    assert len((await desk.listed())["studies"]) == len(await desk.uids("?site=clinic"))
    assert study not in await desk.uids()


async def test_what_was_stored_at_the_hub_does_not_stand_for_what_a_site_still_owes(desk: Desk) -> None:
    first = await _arrive(desk, "g1", "1.2.5", "1")
    desk.hub.send_manifest(ADDRESS, told("g1", "1.2.5", [first, "f" * 64]))
    await desk.hub.indexer.read_all()
    desk.hub.arrive(NodeAddress(world.REGION, world.SITE, studies.HUB_NODE), _image("1.2.5", "2"), "g1")
    await desk.hub.indexer.read_all()
    found = await desk.one("1.2.5")
    assert (found["images"], found["state"], found["arrived"]) == (2, "partly", 1)


@pytest.mark.parametrize(
    ("images", "arrived", "expected", "state"),
    [(0, 0, None, "preview"), (0, 0, 9, "preview"), (2, 0, None, "whole"), (3, 4, 4, "whole"), (3, 3, 4, "partly")],
)
def test_the_state_follows_from_what_has_come(images: int, arrived: int, expected: int | None, state: str) -> None:
    study = Study("k", "r", "s", "g", "1.2", "p", "", "", (), 1, images, {}, 0)
    assert study_read.state_of(study, Arrival(arrived, expected)) == state


async def test_the_list_is_narrowed_by_person_site_and_modality_and_paged_with_its_count(desk: Desk) -> None:
    for number in range(5):
        await _arrive(desk, f"g{number}", f"1.2.5{number}", Modality="MR", StudyDate=f"2026112{number}")
    assert await desk.uids("?person=own") == [world.STUDIES["own"]]
    assert len(await desk.uids("?modality=MR")) == 5
    assert await desk.uids("?modality=NM") == []
    assert await desk.uids("?site=home") == []
    page = await desk.listed("?modality=MR&offset=2&limit=2")
    assert [one["study_uid"] for one in page["studies"]] == ["1.2.52", "1.2.51"]
    assert (page["total"], page["is_more"]) == (5, False)


async def test_nobody_counts_past_a_thousand(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_read, "COUNT_MOST", 2)
    found = await desk.listed("?limit=1")
    assert (len(found["studies"]), found["total"], found["is_more"]) == (1, 2, True)


async def test_whose_studies_were_listed_is_written_down_once(desk: Desk) -> None:
    for _ in range(2):
        await desk.listed("?person=own")
    query = select(audit.c.object).where(audit.c.action == "images-search")
    rows = desk.stores.care.read_blocking(lambda c: c.execute(query).scalars().all())
    assert rows == ["Patient/own"]


async def test_a_token_without_a_scope_for_images_lists_none(desk: Desk) -> None:
    def narrow(connection: Any) -> None:
        account = accounts.account_of(connection, "program")
        assert isinstance(account, Account)
        accounts.save_account(connection, replace(account, scopes=("system/Patient.rs",)), world.NOW_NS)

    await desk.stores.care.write(narrow)
    grant = await OAuth(desk.app.state.access).for_program("program", world.PASSWORD, "", "test")
    headers = {"Authorization": f"Bearer {grant.access_token}"}
    assert (await desk.client.get("/api/v1/studies", headers=headers)).status_code == 403


async def test_a_study_is_unread_until_a_doctor_says_otherwise_and_again_when_more_has_come(desk: Desk) -> None:
    await _arrive(desk, "g1", "1.2.5", "1")
    row = await desk.one("1.2.5")
    assert (row["is_unread"], row["read_by"]) == (True, None)
    assert await desk.mark("POST", row) == 204
    row = await desk.one("1.2.5")
    assert (row["is_unread"], row["read_by"]["zh"], row["read_ms"]) == (False, "clinic", world.NOW_NS // 10**6)
    assert "1.2.5" not in await desk.uids("?unread=true")
    await _arrive(desk, "g1", "1.2.5", "2")
    assert "1.2.5" in await desk.uids("?unread=true")
    assert await desk.mark("POST", await desk.one("1.2.5")) == 204
    assert await desk.mark("DELETE", row) == 204
    assert (await desk.one("1.2.5"))["read_by"] is None
    query = select(audit.c.action).where(audit.c.action.like("study-marked-%"))
    rows = desk.stores.care.read_blocking(lambda c: c.execute(query).scalars().all())
    assert rows == ["study-marked-read", "study-marked-read", "study-marked-unread"]


async def test_of_the_database_no_more_is_asked_than_the_unread_studies_that_may_be_open(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, person in ((1, "own"), (2, ""), (3, "ended")):
        row = await _arrive(desk, f"g{number}", f"1.2.5{number}")
        desk.hub.send_manifest(ADDRESS, told(f"g{number}", f"1.2.5{number}", [row], person))
    await _arrive(desk, "g4", "1.2.54")
    await desk.hub.indexer.read_all()
    await desk.sign_in("physician")
    assert await desk.mark("POST", await desk.one(world.STUDIES["own"])) == 204
    looked_at = list[str]()
    every = studies.studies

    def noting(connection: Any, region: str, narrowing: Narrowing) -> Iterator[Study]:
        for study in every(connection, region, narrowing):
            looked_at.append(study.study_uid)
            yield study

    monkeypatch.setattr(studies, "studies", noting)
    shown = await desk.uids("?unread=true")
    assert sorted(looked_at) == sorted(shown)
    assert {"1.2.51", "1.2.52", world.STUDIES["elsewhere"]} < set(shown)
    # Of more persons than are asked for by name each study is judged by itself.
    monkeypatch.setattr(images, "NAMED_MOST", 2)
    looked_at.clear()
    assert await desk.uids("?unread=true") == shown
    assert {"1.2.53", "1.2.54"} < set(looked_at)


async def test_whose_record_was_opened_in_an_emergency_their_studies_are_listed_too(desk: Desk) -> None:
    def uids(who: Principal) -> set[str]:
        return desk.stores.care.read_blocking(lambda c: {one.study_uid for one in images.seen(c, who, Narrowing())})

    opened = replace(world.PHYSICIAN, opened=frozenset({(world.SITE, "ended")}))
    assert uids(opened) - uids(world.PHYSICIAN) == {world.STUDIES["ended"]}


async def test_only_the_images_that_were_shown_count_as_read(desk: Desk) -> None:
    await _arrive(desk, "g1", "1.2.5", "1")
    shown = await desk.one("1.2.5")
    await _arrive(desk, "g1", "1.2.5", "2")
    assert await desk.mark("POST", shown) == 204
    row = await desk.one("1.2.5")
    assert (row["images"], row["is_unread"], row["read_by"]["zh"]) == (2, True, "clinic")
    # Nobody reads ahead of what is there.
    assert await desk.mark("POST", row | {"images": 99}) == 204
    assert not (await desk.one("1.2.5"))["is_unread"]
    await _arrive(desk, "g1", "1.2.5", "3")
    assert (await desk.one("1.2.5"))["is_unread"]
    answer = await desk.client.post(f"/api/v1/studies/{row['study_key']}/read")
    assert answer.status_code == 422


async def test_nobody_marks_a_study_that_is_not_open_to_them_nor_by_a_forged_request(desk: Desk) -> None:
    key = studies.key_of(world.REGION, world.FAR_SITE, "g-elsewhere", world.STUDIES["elsewhere"])
    assert await desk.mark("POST", {"study_key": key, "images": 1}) == 404
    own = await desk.one(world.STUDIES["own"])
    desk.client.headers["X-CSRF-Token"] = "another"
    assert await desk.mark("POST", own) == 403
    assert (await desk.one(world.STUDIES["own"]))["is_unread"]


@pytest.mark.parametrize("query", ["study=a", "modality=ct", "limit=0", "limit=1000", "offset=-1", "site=../x"])
async def test_what_is_no_question_is_refused(query: str, desk: Desk) -> None:
    assert (await desk.client.get(f"/api/v1/studies?{query}")).status_code == 422


async def test_a_manifest_that_says_nothing_of_its_size_is_believed_about_the_person(desk: Desk) -> None:
    await _arrive(desk, "g1", "1.2.5")
    row = desk.hub.tell(ADDRESS, "own", "g1")
    await desk.hub.indexer.read_all()
    assert desk.hub.outcome(row) == studies.MANIFEST
    found = desk.stores.care.read_blocking(
        lambda c: list(studies.studies(c, world.REGION, Narrowing(study_uids=frozenset({"1.2.5"}))))
    )
    assert [one.person_id for one in found] == ["own"]


def _image(study: str, instance: str, **more: Any) -> bytes:
    return dicom_files.image(study, f"{study}.1", f"{study}.1.{instance}", InstanceNumber=instance, **more)


async def _arrive(desk: Desk, group: str, study: str, instance: str = "1", **more: Any) -> str:
    """Have an image arrive and be indexed; return its hash."""
    row = desk.hub.arrive(ADDRESS, _image(study, instance, **more), group)
    await desk.hub.indexer.read_all()
    return row.facts.sha256
