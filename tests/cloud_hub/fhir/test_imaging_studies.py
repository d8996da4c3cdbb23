"""ImagingStudy: what is told of a study, what a search finds, and whom it is shown to."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.imagingstudy import ImagingStudy
from telemed.topics import NodeAddress

from tests.cloud_hub.fhir.test_resources import problems_of, r4_schema
from tests.fakes import dicom_files
from tests.fakes.imaging_hub import ImagingHub

__all__ = ["r4_schema"]
pytestmark = pytest.mark.anyio
CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
HOME = NodeAddress("baoshan", "heming-home", "edge-home")


@pytest.fixture
async def images(hub: Any, tmp_path: Path) -> AsyncIterator[ImagingHub]:
    """Two studies of p-1, one of p-2 at another site, and one that is nobody's."""
    found = ImagingHub.over(hub.care, tmp_path / "blobs")
    ct = {"StudyDescription": "头 CT", "SeriesDescription": "axial", "StudyDate": "20261120"}
    found.arrive(CLINIC, dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.1", **ct), "a")
    found.arrive(CLINIC, dicom_files.image("1.2.1", "1.2.1.1", "1.2.1.1.2", **ct, InstanceNumber="2"), "a")
    found.arrive(CLINIC, dicom_files.image("1.2.2", "1.2.2.1", "1.2.2.1.1", Modality="MR", StudyTime=None), "b")
    found.arrive(HOME, dicom_files.image("1.2.3", "1.2.3.1", "1.2.3.1.1", StudyDate="20260230"), "c")
    found.arrive(CLINIC, dicom_files.image("1.2.4", "1.2.4.1", "1.2.4.1.1", StudyDate="20200101"), "d")
    for address, person, group in ((CLINIC, "p-1", "a"), (CLINIC, "p-1", "b"), (HOME, "p-2", "c")):
        found.tell(address, person, group)
    found.tell(CLINIC, "", "d")
    await found.indexer.read_all()
    yield found
    await found.readers.close()


async def test_a_study_is_told_with_its_series_and_instances(hub: Any, images: ImagingHub) -> None:
    async with hub.client() as client:
        listed = (await client.get("/fhir/R4/ImagingStudy?identifier=urn:oid:1.2.1")).json()
        (entry,) = listed["entry"]
        found = (await client.get(f"/fhir/R4/ImagingStudy/{entry['resource']['id']}")).json()
    assert found["identifier"] == [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.1"}]
    assert (found["subject"], found["started"]) == ({"reference": "Patient/p-1"}, "2026-11-20T07:30:15+08:00")
    assert (found["numberOfSeries"], found["numberOfInstances"], found["description"]) == (1, 2, "头 CT")
    (series,) = found["series"]
    assert (series["uid"], series["modality"]["code"], series["number"]) == ("1.2.1.1", "CT", 2)
    assert [one["uid"] for one in series["instance"]] == ["1.2.1.1.1", "1.2.1.1.2"]
    assert found["contained"][0]["address"] == "http://hub/dicom-web"
    assert "instance" not in entry["resource"]["series"][0]


@pytest.mark.timeout(300)
async def test_every_study_is_valid_by_the_r4_schema(hub: Any, images: ImagingHub, r4_schema: Any) -> None:
    async with hub.client() as client:
        entries = (await client.get("/fhir/R4/ImagingStudy")).json()["entry"]
        assert len(entries) == 4
        for entry in entries:
            text = (await client.get(f"/fhir/R4/ImagingStudy/{entry['resource']['id']}")).text
            assert problems_of(r4_schema, json.loads(text)) == []
            ImagingStudy.model_validate_json(text)


FINDS = {
    "": ["1.2.1", "1.2.2", "1.2.3", "1.2.4"],
    "?patient=p-1": ["1.2.1", "1.2.2"],
    "?subject=Patient/p-2": ["1.2.3"],
    "?modality=MR": ["1.2.2"],
    "?modality=MR,CT&patient=p-1": ["1.2.1", "1.2.2"],
    "?identifier=urn:dicom:uid|urn:oid:1.2.4": ["1.2.4"],
    "?identifier=1.2.2": ["1.2.2"],
    "?started=2026-11-20": ["1.2.1", "1.2.2"],
    "?started=lt2021": ["1.2.4"],
    "?started=ge2026-11-20T07:00": ["1.2.1"],
}


async def test_a_search_finds_what_matches(hub: Any, images: ImagingHub) -> None:
    found = {}
    async with hub.client() as client:
        for query in FINDS:
            entries = (await client.get(f"/fhir/R4/ImagingStudy{query}")).json().get("entry", [])
            values = [one["resource"]["identifier"][0]["value"] for one in entries]
            found[query] = sorted(value.removeprefix("urn:oid:") for value in values)
    assert found == FINDS


async def test_pages_hold_every_study_once(hub: Any, images: ImagingHub) -> None:
    url, seen = "/fhir/R4/ImagingStudy?_count=1", list[str]()
    async with hub.client() as client:
        while url:
            page = (await client.get(url)).json()
            seen += [one["resource"]["id"] for one in page.get("entry", [])]
            url = next((one["url"] for one in page["link"] if one["relation"] == "next"), "")
    assert (len(seen), len(set(seen))) == (4, 4)


async def test_a_program_of_one_site_sees_that_site_alone_and_its_reads_are_written_down(
    hub: Any, images: ImagingHub, audit_of: Any
) -> None:
    async with hub.client("clinic-api") as client:
        entries = (await client.get("/fhir/R4/ImagingStudy")).json()["entry"]
        async with hub.client() as everywhere:
            (far,) = (await everywhere.get("/fhir/R4/ImagingStudy?patient=p-2")).json()["entry"]
        assert (await client.get(f"/fhir/R4/ImagingStudy/{far['resource']['id']}")).status_code == 404
    assert len(entries) == 3
    written = {row[2].partition("/")[0] for row in audit_of() if row[:2] == ("clinic-api", "imagingstudy-read")}
    assert written == {"Patient", "ImagingStudy"}


async def test_a_token_without_the_scope_reads_none(hub: Any, images: ImagingHub) -> None:
    async with hub.client(scope="system/Patient.rs") as client:
        assert (await client.get("/fhir/R4/ImagingStudy")).status_code == 403
