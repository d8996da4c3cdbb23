"""The hospital's archive is a real Orthanc: what it has of a person is listed, fetched once, and stored under them."""

import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pydicom
import pytest

from cloud_hub.store.blobs import Blobs, Room
from cloud_hub.web.live import Stores
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.imaging import archive_world as world
from tests.cloud_hub.imaging.archive_world import OTHERS_STUDY, STUDY, Hub, of_archive
from tests.cloud_hub.imaging.test_storing import store
from tests.cloud_hub.role_world import stores
from tests.fakes import orthanc
from tests.fakes.orthanc import Orthanc

__all__ = ["hashed", "stores"]
pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180), orthanc.needed]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc.running(tmp_path_factory.mktemp("orthanc")) as found:
        yield found


@pytest.fixture
def archive(running: Orthanc, shared_data: Path) -> Iterator[Orthanc]:
    """It has a study of each of two patients, and one of a patient whose number differs in case alone."""
    running.store(*of_archive(shared_data, PatientBirthDate="19500102", PatientSex="F"))
    running.store(*of_archive(shared_data, OTHERS_STUDY, "P-2"))
    running.store(*of_archive(shared_data, "1.2.826.0.2.3", "p-1"))
    yield running
    running.clear()


@pytest.fixture
async def hub(archive: Orthanc, stores: Stores, tmp_path: Path) -> AsyncIterator[Hub]:
    async with world.hub(stores, tmp_path, archive.config()) as found:
        yield found


async def test_a_persons_page_is_told_their_studies_and_nobody_elses(hub: Hub) -> None:
    found = (await hub.look()).json()
    (study,) = found["studies"]
    assert found["is_numbered"]
    assert (study["study_uid"], study["study_date"], study["description"]) == (STUDY, "20251120", "头部 MR")
    assert study["modalities"] == ["CT", "MR", "NM", "US"]
    assert (study["images"], study["here"], study["study_key"], study["fetch"]["state"]) == (4, 0, "", "none")
    assert study["patient_name"] == "谷 雨"
    assert [one["study_uid"] for one in (await hub.look("other")).json()["studies"]] == [OTHERS_STUDY]
    assert hub.trail() == [(("physician", "archive-search", f"Patient/{who}", "ok")) for who in ("own", "other")]


async def test_what_is_fetched_is_stored_under_the_person_with_its_very_bytes(hub: Hub, shared_data: Path) -> None:
    assert await hub.fetched() == {"state": "done", "images": 4, "of": 4, "left_out": 0, "reason": ""}
    (row,) = await hub.listed("own")
    assert (row["study_uid"], row["images"], row["state"], row["description"]) == (STUDY, 4, "whole", "头部 MR")
    assert await hub.listed("other") == []
    for number, content in enumerate(of_archive(shared_data, PatientBirthDate="19500102", PatientSex="F"), 1):
        assert await hub.file(f"{STUDY}.{number}.1", f"{STUDY}.{number}") == content
    (study,) = (await hub.look()).json()["studies"]
    assert (study["here"], study["study_key"], study["fetch"]["state"]) == (4, row["study_key"], "done")
    assert [entry[1:3] for entry in hub.trail()][:2] == [
        ("archive-fetch", "Patient/own"),
        ("images-store", "Patient/own"),
    ]


async def test_what_was_fetched_waits_to_be_read_only_where_somebody_says_so(hub: Hub) -> None:
    async def state() -> tuple[bool, bool, bool]:
        (row,) = await hub.listed("own")
        unread = (await hub.client.get("/api/v1/studies?unread=true")).json()["studies"]
        return row["is_fetched"], row["is_unread"], STUDY in {one["study_uid"] for one in unread}

    await hub.fetched()
    assert await state() == (True, False, False)
    (row,) = await hub.listed("own")
    assert (await hub.client.delete(f"/api/v1/studies/{row['study_key']}/read")).status_code == 204
    assert await state() == (False, True, True)
    await hub.client.post(f"/api/v1/studies/{row['study_key']}/read", json={"images": 4})
    assert await state() == (False, False, False)


async def test_what_is_fetched_after_somebody_read_the_rest_is_to_be_read(
    archive: Orthanc, hub: Hub, shared_data: Path
) -> None:
    archive.clear()
    contents = list(of_archive(shared_data))
    archive.store(*contents[:2])
    await hub.fetched()
    (row,) = await hub.listed("own")
    await hub.client.post(f"/api/v1/studies/{row['study_key']}/read", json={"images": 2})
    archive.store(*contents[2:])
    await hub.fetched()
    (row,) = await hub.listed("own")
    assert (row["images"], row["is_fetched"], row["is_unread"]) == (4, False, True)


async def test_a_fetched_study_that_somebody_adds_to_is_to_be_read(hub: Hub, shared_data: Path) -> None:
    await hub.fetched()
    await hub.sign_in("clinic")
    first = next(of_archive(shared_data))
    added = first.replace(f"{STUDY}.1.1".encode(), f"{STUDY}.1.9".encode())
    assert (await store(hub.client, added)).status_code == 200
    (row,) = await hub.listed("own")
    assert (row["images"], row["is_fetched"], row["is_unread"]) == (5, False, True)


async def test_a_study_of_another_patient_is_not_fetched_for_a_person(hub: Hub) -> None:
    for study in (OTHERS_STUDY, "1.2.826.0.2.3", "9.9"):
        told = await hub.fetched(study)
        assert (told["state"], told["reason"], told["images"]) == ("failed", "not-found", 0)
    assert await hub.listed("own") == []


async def test_of_two_patients_with_one_study_uid_each_gets_their_own(
    archive: Orthanc, hub: Hub, shared_data: Path
) -> None:
    for content in of_archive(shared_data, STUDY, "P-2"):
        archive.store(content.replace(f"{STUDY}.".encode(), b"1.2.826.0.3.1."))
    assert len((await hub.look("other")).json()["studies"]) == 2
    assert (await hub.fetched(person="other"))["images"] == 4
    (row,) = await hub.listed("other")
    assert await hub.listed("own") == []
    for number in range(1, 5):
        content = await hub.file(f"1.2.826.0.3.1.{number}.1", f"1.2.826.0.3.1.{number}", filed=row["study_key"])
        assert pydicom.dcmread(io.BytesIO(content)).PatientID == "P-2"


async def test_a_second_fetch_brings_only_what_is_missing(archive: Orthanc, hub: Hub, shared_data: Path) -> None:
    archive.clear()
    contents = list(of_archive(shared_data))
    archive.store(*contents[:2])
    assert (await hub.fetched())["of"] == 2
    archive.store(*contents[2:])
    (study,) = (await hub.look()).json()["studies"]
    assert (study["here"], study["images"]) == (2, 4)
    for _ in range(2):
        assert await hub.fetched() == {"state": "done", "images": 4, "of": 4, "left_out": 0, "reason": ""}
    (row,) = await hub.listed("own")
    assert row["images"] == 4
    # What is here already is not stored anew.
    assert [entry[1] for entry in hub.trail()].count("images-store") == 2


async def test_a_study_under_way_is_not_begun_again(hub: Hub) -> None:
    first, second = (await hub.begin()).json(), (await hub.begin()).json()
    assert first["state"] == "waiting"
    assert second["state"] in ("waiting", "fetching")
    assert (await hub.fetched())["images"] == 4
    assert [entry[1] for entry in hub.trail()].count("images-store") == 1


async def test_somebody_without_a_number_that_stands_for_one_patient_is_not_asked_for(hub: Hub, stores: Stores) -> None:
    for number in ("", "*", "P-?", "P-1\\P-2", "  ", "x" * 65, "P\n1"):
        world.give_number(stores, "own", number)
        found = (await hub.look()).json()
        assert found == {"is_numbered": False, "studies": [], "is_more": False}, number
        assert (await hub.fetched())["reason"] == "not-found"


async def test_what_the_record_says_otherwise_is_told(hub: Hub, stores: Stores) -> None:
    for birth, gender, differs in (
        ("1950-01-02", "female", []),
        ("1950-01-03", "female", ["birth-date"]),
        ("1950", "male", ["sex"]),
        ("", "unknown", []),
    ):
        world.give_number(stores, "own", "P-1", birth_date=birth, gender=gender)
        (study,) = (await hub.look()).json()["studies"]
        assert study["differs"] == differs


async def test_only_those_who_may_see_a_record_look_and_only_doctors_fetch(hub: Hub) -> None:
    for who, looks, begins in (
        ("nurse", 200, 403),
        ("clinic", 200, 202),
        ("operator", 403, 403),
        ("caregiver", 403, 403),
        ("auditor", 403, 403),
    ):
        await hub.sign_in(who)
        assert ((await hub.look()).status_code, (await hub.begin()).status_code) == (looks, begins), who
    await hub.sign_in("clinic")
    assert (await hub.look("elsewhere")).status_code == 404
    assert (await hub.begin(person="elsewhere")).status_code == 404
    assert (await hub.progress(person="elsewhere")).status_code == 404
    await hub.sign_in("physician")
    assert (await hub.look("ended")).status_code == 404
    del hub.client.headers["X-CSRF-Token"]
    assert (await hub.begin()).status_code == 403


@pytest.mark.parametrize(
    ("number", "password", "code", "status"),
    [(0, "wrong", "archive-shut", 502), (1, orthanc.PASSWORD, "archive-away", 503)],
    ids=["password", "away"],
)
async def test_an_archive_that_is_shut_or_away_is_told_in_words(
    archive: Orthanc, stores: Stores, tmp_path: Path, number: int, password: str, code: str, status: int
) -> None:
    url = (archive.url, "http://127.0.0.1:9/dicom-web")[number]
    async with world.hub(stores, tmp_path, archive.config(password, url=url)) as hub:
        answer = await hub.look()
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["text"]["zh"].startswith("医院影像归档")
        told = await hub.fetched()
        assert (told["state"], told["reason"]) == ("failed", code)
        assert await hub.listed("own") == []


async def test_a_study_of_another_issuer_is_nobodys(
    archive: Orthanc, stores: Stores, tmp_path: Path, shared_data: Path
) -> None:
    archive.store(*of_archive(shared_data, "1.2.826.0.2.4", "P-1", IssuerOfPatientID="HOSPITAL"))
    async with world.hub(stores, tmp_path, archive.config(issuer="HOSPITAL")) as hub:
        assert [one["study_uid"] for one in (await hub.look()).json()["studies"]] == ["1.2.826.0.2.4"]
        assert (await hub.fetched("1.2.826.0.2.4"))["images"] == 4
        assert (await hub.fetched())["reason"] == "not-found"


async def test_a_full_disk_ends_a_fetch_and_the_next_one_goes_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [Room(100, 50), Room(100, 50), Room(100, 10)]
    with monkeypatch.context() as full:
        full.setattr(Blobs, "room", lambda _: left.pop(0))
        told = await hub.fetched()
    assert told == {"state": "failed", "images": 2, "of": 4, "left_out": 0, "reason": "store-failure"}
    (study,) = (await hub.look()).json()["studies"]
    assert study["here"] == 2
    assert (await hub.fetched())["state"] == "done"
    (row,) = await hub.listed("own")
    assert row["images"] == 4
