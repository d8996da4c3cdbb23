"""What models said of a study, as the hub tells it: from the very reports that a node writes."""

import hashlib
import io
from pathlib import Path

import httpx
import pytest
from telemed.bundle import AI_MARK, RESEARCH_MARK

from edge_node.findings import writer
from edge_node.findings.documents import ModelSaid, Write
from edge_node.findings.pipe import Found
from edge_node.findings.reasons import WORDS, Reason
from models.phantoms import swi_images
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.imaging.test_dicomweb import Pacs, pacs
from tests.cloud_hub.role_world import stores
from tests.fakes import dicom_files, swi_dicom

__all__ = ["hashed", "pacs", "stores"]
pytestmark = pytest.mark.anyio
MODEL = ModelSaid(
    "cmb", "0.1.0", "a" * 64, "c" * 64, "synthetic phantom", 0.23, "onnxruntime-cpu/fp32", ("限制", "limits"),
    [AI_MARK, RESEARCH_MARK], True,
)  # fmt: skip
ADDRESS = f"/api/v1/studies/{swi_dicom.STUDY}/findings"


def objects(folder: Path, reason: Reason | None = None) -> list[bytes]:
    """Return the files that a node makes of a study with one finding, or of one that it did not read."""
    files = swi_dicom.written(folder)
    half = len(files) // 2
    found = [Found("cerebral-microbleed", (1.5, -2.25, 3.0), 3.0, 0.8412, files[13].stem, "lobar")]
    magnitude = [str(each) for each in files[:half]]
    write = Write(
        str(folder), magnitude if reason is None else magnitude[:1], [str(each) for each in files[half:]],
        (swi_dicom.STUDY, "a" * 64, "b" * 64), MODEL, found if reason is None else [],
        ("混合", "Mixed") if reason is None else WORDS[reason], reason or "", "2026-11-27T03:50:00+08:00",
        "edge-clinic", 2048,
    )  # fmt: skip
    made = []
    for each in writer.made_of(write):
        whole = io.BytesIO()
        each.save_as(whole, enforce_file_format=True)
        made.append(whole.getvalue())
    return made


async def told(pacs: Pacs) -> list[dict[str, object]]:
    answer = await pacs.get(ADDRESS)
    assert answer.status_code == 200, answer.text
    reports: list[dict[str, object]] = answer.json()["reports"]
    return reports


async def test_a_finding_is_told_with_its_place_its_model_and_its_marks(pacs: Pacs, tmp_path: Path) -> None:
    await pacs.take(*objects(tmp_path / "mr"))
    (report,) = await told(pacs)
    series = f"{swi_dicom.STUDY}.{swi_images.MAGNITUDE.number}"
    assert report["findings"] == [
        {
            "code": "cerebral-microbleed",
            "name_zh": "脑微出血（提示）",
            "name_en": "Cerebral microbleed (pointed to)",
            "centre_mm": [1.5, -2.25, 3.0],
            "diameter_mm": 3.0,
            "confidence": 0.8412,
            "region": "lobar",
            "series_uid": series,
            "key_image_uid": f"{series}.14",
            "status": "UNVERIFIED",
        }
    ]
    assert (report["outcome"], report["reason"], report["task"], report["version"]) == ("FOUND", "", "cmb", "0.1.0")
    comments = report["comments"]
    assert isinstance(comments, list)
    assert [" · ".join(AI_MARK), " · ".join(RESEARCH_MARK)] == comments[:2]


async def test_that_a_study_was_not_read_is_told_with_the_reason(pacs: Pacs, tmp_path: Path) -> None:
    await pacs.take(*objects(tmp_path / "mr", Reason.PHASE_MISSING))
    (report,) = await told(pacs)
    assert (report["outcome"], report["reason"], report["findings"]) == ("NOT-READ", "phase-missing", [])


async def test_a_study_that_no_model_read_has_no_reports_and_one_that_there_is_not_is_not_found(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image())
    answer = await pacs.get("/api/v1/studies/1.2.3/findings")
    assert answer.json() == {"study_uid": "1.2.3", "reports": []}
    assert (await pacs.get("/api/v1/studies/9.9.9/findings")).status_code == 404


async def test_a_report_that_no_model_of_ours_wrote_is_passed_over(pacs: Pacs) -> None:
    await pacs.take(dicom_files.image(swi_dicom.STUDY, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34", Modality="SR"))
    assert await told(pacs) == []


async def test_a_report_that_is_gone_from_the_disk_is_not_taken_for_none(pacs: Pacs, tmp_path: Path) -> None:
    files = objects(tmp_path / "mr")
    image = dicom_files.image(swi_dicom.STUDY)
    await pacs.take(image, *files)
    pacs.hub.blobs.forget(hashlib.sha256(image).hexdigest())
    assert len(await told(pacs)) == 1
    for content in files:
        pacs.hub.blobs.forget(hashlib.sha256(content).hexdigest())
    assert (await pacs.get(ADDRESS)).status_code == 503


async def test_findings_are_as_closed_as_the_images_they_are_of(pacs: Pacs, tmp_path: Path) -> None:
    await pacs.take(*objects(tmp_path / "mr"))
    stranger = httpx.AsyncClient(transport=pacs.client._transport, base_url="http://hub")
    async with stranger:
        assert (await stranger.get(ADDRESS)).status_code == 401
