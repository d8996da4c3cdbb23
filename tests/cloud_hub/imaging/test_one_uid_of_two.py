"""One Study Instance UID that is filed for two patients: each is told and given by itself, never one in the other."""

from dataclasses import dataclass
from typing import Any

import pytest

from cloud_hub.store import studies
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.imaging.test_dicomweb import ONE, Pacs, bodies, pacs
from tests.cloud_hub.role_world import stores
from tests.fakes import dicom_files

__all__ = ["hashed", "pacs", "stores"]
pytestmark = pytest.mark.anyio
STUDY, SERIES = "/dicom-web/studies/1.2.3", "/dicom-web/studies/1.2.3/series/1.2.3.4"
PATHS = (STUDY, SERIES, ONE, f"{STUDY}/metadata", f"{SERIES}/metadata", f"{ONE}/frames/1", f"{ONE}/rendered")
LONG = b"a private value" * 100
"""So long that metadata tell its address."""


@dataclass(frozen=True, slots=True)
class Filing:
    """What one patient has under the UID."""

    key: str
    content: bytes


async def filed(pacs: Pacs) -> dict[str, Filing]:
    """Have a modality send one image each of two patients under the same three UIDs."""
    found = {}
    for day, person in ((20, "own"), (21, "other")):
        more: dict[str, Any] = {"PatientID": person, "StudyDate": f"202611{day}", "EncapsulatedDocument": LONG}
        content = dicom_files.image(**more)
        await pacs.take(content, person=person, group=f"g-{person}")
        found[person] = Filing(studies.key_of(world.REGION, world.SITE, f"g-{person}", "1.2.3"), content)
    return found


async def test_what_is_of_two_patients_is_given_of_neither_until_a_filing_is_named(pacs: Pacs) -> None:
    by_person = await filed(pacs)
    for path in PATHS:
        answer = await pacs.get(path)
        assert (answer.status_code, answer.json()["code"]) == (409, "study-ambiguous"), path
    for person, filing in by_person.items():
        for path in (STUDY, SERIES):
            assert bodies(await pacs.get(f"{path}?filed={filing.key}")) == [filing.content]
        one = await pacs.get(f"{ONE}?filed={filing.key}", "application/dicom")
        assert (one.content, "warning" in one.headers) == (filing.content, False)
        for path in (f"{STUDY}/metadata", f"{SERIES}/metadata", f"{ONE}/metadata"):
            (told,) = (await pacs.get(f"{path}?filed={filing.key}")).json()
            assert told["00100020"]["Value"] == [person]
        assert (await pacs.get(f"{ONE}/frames/1?filed={filing.key}")).status_code == 200
    # A version says nothing of whose it is.
    assert (await pacs.get(f"{ONE}?version=2", "application/dicom")).status_code == 409


async def test_a_long_value_is_told_at_an_address_of_the_same_filing(pacs: Pacs) -> None:
    for filing in (await filed(pacs)).values():
        (told,) = (await pacs.get(f"{SERIES}/metadata?filed={filing.key}")).json()
        for tag in ("00420011", "7FE00010"):
            address = told[tag]["BulkDataURI"]
            assert address.endswith(f"/bulkdata/{tag}?filed={filing.key}")
            assert (await pacs.get(address)).status_code == 200


async def test_a_search_tells_each_filing_at_an_address_that_gives_it_alone(pacs: Pacs) -> None:
    by_person = await filed(pacs)
    for level in ("studies", "series", "instances"):
        rows = (await pacs.get(f"/dicom-web/{level}?StudyInstanceUID=1.2.3")).json()
        told = {row["00100020"]["Value"][0]: row["00081190"]["Value"][0] for row in rows}
        assert set(told) == {"own", "other"}
        for person, address in told.items():
            assert bodies(await pacs.get(address, "multipart/related")) == [by_person[person].content], address
    one = by_person["own"].key
    for level in ("series", "instances"):
        (row,) = (await pacs.get(f"{STUDY}/{level}?filed={one}")).json()
        assert row["00081190"]["Value"][0].endswith(f"?filed={one}")
    assert (await pacs.get("/dicom-web/studies?filed=x")).json()["fields"] == ["filed"]


async def test_a_filing_of_another_uid_or_out_of_scope_is_not_found(pacs: Pacs) -> None:
    key = (await filed(pacs))["own"].key
    assert (await pacs.get(f"/dicom-web/studies/{world.STUDIES['own']}?filed={key}")).status_code == 404
    far = studies.key_of(world.REGION, world.FAR_SITE, "g-elsewhere", world.STUDIES["elsewhere"])
    assert (await pacs.get(f"/dicom-web/studies/{world.STUDIES['elsewhere']}?filed={far}")).status_code == 404


async def test_who_sees_one_of_the_two_alone_is_given_it_by_the_uid(pacs: Pacs) -> None:
    by_person = await filed(pacs)
    await pacs.take(person="ended", group="g-other")
    await pacs.sign_in("physician")
    assert bodies(await pacs.get(STUDY)) == [by_person["own"].content]
    (row,) = (await pacs.get("/dicom-web/studies?StudyInstanceUID=1.2.3")).json()
    assert row["00081190"]["Value"] == ["http://hub/dicom-web/studies/1.2.3"]


async def test_what_one_patient_has_in_two_filings_is_given_once(pacs: Pacs) -> None:
    content, more = dicom_files.image(), dicom_files.image(instance="1.2.3.4.6", InstanceNumber="2")
    await pacs.take(content, group="g1")
    await pacs.take(content, more, group="g2")
    assert bodies(await pacs.get(STUDY)) == [content, more]
    assert (await pacs.get(ONE, "application/dicom")).content == content


async def test_what_is_nobodys_yet_is_not_put_together_with_what_is_somebodys(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image(), person="own", group="g1")
    await pacs.take(dicom_files.image(instance="1.2.3.4.6"), person="", group="g2")
    assert (await pacs.get(STUDY)).status_code == 409
    await pacs.take(dicom_files.image(instance="1.2.3.4.7"), person="", group="g3")
    assert (await pacs.get(f"{SERIES}/instances/1.2.3.4.7")).status_code == 200


async def test_two_filings_that_are_nobodys_yet_are_not_put_together_either(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image(instance="1.2.3.4.6"), person="", group="g2")
    await pacs.take(dicom_files.image(instance="1.2.3.4.7"), person="", group="g3")
    assert (await pacs.get(STUDY)).status_code == 409


async def test_findings_are_those_of_the_filing_that_is_named(pacs: Pacs) -> None:
    address = "/api/v1/studies/1.2.3/findings"
    key = (await filed(pacs))["own"].key
    assert (await pacs.get(address)).json()["code"] == "study-ambiguous"
    assert (await pacs.get(f"{address}?filed={key}")).json() == {"study_uid": "1.2.3", "reports": []}
    before = pacs.trail()
    assert ("images-read", "Patient/own", "ok") in before
    assert ("images-read", "Patient/other", "ok") not in before


async def test_each_filing_is_told_with_its_images_as_an_imaging_study(pacs: Pacs) -> None:
    for person, filing in (await filed(pacs)).items():
        found: dict[str, Any] = (await pacs.get(f"/fhir/R4/ImagingStudy/{filing.key}")).json()
        assert found["subject"] == {"reference": f"Patient/{person}"}
        ((instance,),) = [series["instance"] for series in found["series"]]
        assert (found["numberOfInstances"], instance["uid"]) == (1, "1.2.3.4.5")
