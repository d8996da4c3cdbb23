"""The verified report: written once all is judged, of what stands alone, and found like any other file of the study."""

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from sqlalchemy import select
from telemed import ai_report
from telemed.ai_report import NotOurs

from cloud_hub.care.finding_review import NONE
from cloud_hub.care.labels import Judged, labels
from cloud_hub.care.pseudonym import Project
from cloud_hub.desk import readings
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.verified import AGREED
from cloud_hub.imaging.verifying import Verifying
from cloud_hub.store import erased_images, finding_reviews, studies
from cloud_hub.store.schema import audit
from cloud_hub.store.studies import Narrowing, Study
from tests.cloud_hub import role_world as world
from tests.cloud_hub.access.conftest import hashed
from tests.cloud_hub.imaging.test_dicomweb import Pacs, bodies, pacs
from tests.cloud_hub.imaging.test_reviews import Desk, at_desk, desk, results, said
from tests.cloud_hub.role_world import stores
from tests.edge_node.findings.test_results import EXCUSED
from tests.fakes import ai_reports, swi_dicom

__all__ = ["desk", "hashed", "pacs", "results", "stores"]
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def verifying(pacs: Pacs, files: Images | None = None) -> Verifying:
    return Verifying(pacs.stores.care, world.REGION, files or pacs.hub.images, lambda: world.NOW_NS)


async def judge(desk: Desk) -> None:
    """Change the first finding and reject the second."""
    finding = (await desk.report())["findings"][0]
    await desk.say(0, "edited", said=said(finding, region="deep", diameter_mm=4.5, centre_mm=[9.0, -2.0, 4.5]))
    await desk.say(1, "rejected", reason="vessel")


async def reports(desk: Desk, flag: str = "VERIFIED") -> list[Dataset]:
    """The structured reports of the study as DICOMweb gives them."""
    files = bodies(await desk.pacs.get(f"/dicom-web/studies/{swi_dicom.STUDY}"))
    read = [pydicom.dcmread(io.BytesIO(one)) for one in files]
    return [one for one in read if one.Modality == "SR" and one.VerificationFlag == flag]


def study(desk: Desk) -> Study:
    asked = Narrowing(study_keys=frozenset({desk.key}))
    (found,) = desk.pacs.stores.care.read_blocking(lambda c: list(studies.studies(c, world.REGION, asked)))
    return found


def values(report: Dataset, concept: str) -> list[Any]:
    return ai_report._all(report, concept)


def faults(program: str, file: Path) -> list[str]:
    """What dciodvfy says of a file, but for what is excused."""
    done = subprocess.run([program, file], capture_output=True, text=True, timeout=20, check=False)
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    return [line for line in told if not any(part in line for part in EXCUSED)]


async def test_a_report_is_written_when_all_is_judged_and_not_before(desk: Desk) -> None:
    await desk.say(0, "accepted")
    assert await verifying(desk.pacs).write_all() == 0
    await desk.say(1, "accepted")
    (model,) = await reports(desk, "UNVERIFIED")
    assert await verifying(desk.pacs).write_all() == 1
    (report,) = await reports(desk)
    assert report.CompletionFlag == "COMPLETE"
    (observer,) = report.VerifyingObserverSequence
    assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == (
        "clinic^=clinic^",
        f"{world.REGION}/{world.SITE}",
    )
    (before,) = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert before.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == model.SOPInstanceUID
    assert (report.PatientID, report.StudyInstanceUID) == (model.PatientID, model.StudyInstanceUID)
    assert [str(one.UID) for one in values(report, "112040")] == [str(one.UID) for one in values(model, "112040")]


async def test_it_says_what_stands_and_nothing_of_what_was_rejected(desk: Desk) -> None:
    await judge(desk)
    await verifying(desk.pacs).write_all()
    (report,) = await reports(desk)
    uids = [one["finding_uid"] for one in (await desk.report())["findings"]]
    told = [str(one.UID) for one in values(report, "112040")]
    assert (uids[0] in told, uids[1] in told) == (True, False)
    (surface,) = values(report, "121231")
    assert [sum(surface.GraphicData[axis::3]) / 6 for axis in range(3)] == [9.0, -2.0, 4.5]
    assert float(values(report, "81827009")[0].MeasuredValueSequence[0].NumericValue) == 4.5
    assert values(report, "REGION")[0].ConceptCodeSequence[0].CodeValue == "DEEP"
    # How sure the model was, it was of something else.
    assert values(report, "111012") == []
    comments = [str(one.TextValue) for one in values(report, "121106")]
    assert not any("NOT VERIFIED" in one or "Mixed" in one for one in comments)
    assert any("RESEARCH" in one for one in comments)
    assert comments[-1].endswith("0 accepted, 1 changed, 1 rejected (vessel)")


async def test_where_all_was_rejected_nothing_was_found(desk: Desk) -> None:
    for number in range(2):
        await desk.say(number, "rejected", reason="artefact")
    await verifying(desk.pacs).write_all()
    (report,) = await reports(desk)
    assert values(report, "OUTCOME")[0].ConceptCodeSequence[0].CodeValue == "NONE-FOUND"
    assert values(report, "121231") == []


async def test_it_is_written_once_and_anew_after_another_word_with_both_before_it(desk: Desk) -> None:
    await judge(desk)
    assert [await verifying(desk.pacs).write_all() for _ in range(2)] == [1, 0]
    (first,) = await reports(desk)
    await desk.sign_in("physician")
    await desk.say(1, "accepted")
    assert await verifying(desk.pacs).write_all() == 1
    second = next(one for one in await reports(desk) if one.SOPInstanceUID != first.SOPInstanceUID)
    assert second.SeriesInstanceUID == first.SeriesInstanceUID
    assert [str(one.VerifyingObserverName) for one in second.VerifyingObserverSequence] == [
        "physician^=physician^",
        "clinic^=clinic^",
    ]
    named = {
        str(image.ReferencedSOPInstanceUID)
        for series in second.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
        for image in series.ReferencedSOPSequence
    }
    (model,) = await reports(desk, "UNVERIFIED")
    assert named == {str(first.SOPInstanceUID), str(model.SOPInstanceUID)}


async def test_it_is_nobodys_report_of_a_model_and_makes_no_read_study_unread(desk: Desk) -> None:
    study_now = study(desk)

    def mark(connection: Any) -> None:
        readings.mark_read(connection, world.PHYSICIAN, desk.key, study_now.instance_count, world.NOW_NS)

    await desk.pacs.stores.care.write(mark)
    await judge(desk)
    before = study(desk)
    await verifying(desk.pacs).write_all()
    after = study(desk)
    assert (after.instance_count, after.is_unread) == (before.instance_count + 1, False)
    assert len(await desk.reports()) == 1
    with pytest.raises(NotOurs):
        ai_report.read_back((await reports(desk))[0])
    query = select(audit.c.actor, audit.c.object).where(audit.c.action == "study-report-verified")
    rows = desk.pacs.stores.care.read_blocking(lambda c: c.execute(query).all())
    assert [tuple(one) for one in rows] == [("clinic", "Patient/own")]


async def test_of_an_erased_person_none_is_written(desk: Desk) -> None:
    await judge(desk)
    found = study(desk)
    group = (found.region, found.site, found.group_id)
    await desk.pacs.stores.care.write(lambda c: erased_images.empty(c, group, world.NOW_NS))
    assert await verifying(desk.pacs).write_all() == 0


async def test_a_report_whose_file_is_gone_holds_up_no_other_and_is_tried_again(desk: Desk) -> None:
    await judge(desk)
    model = desk.pacs.hub.images.blobs.path((await desk.report())["sha256"])
    kept, writing = model.read_bytes(), verifying(desk.pacs)
    model.unlink()
    assert await writing.write_all() == 0
    model.write_bytes(kept)
    writing._forget()
    assert await writing.write_all() == 1


async def test_dciodvfy_finds_no_fault_in_it(desk: Desk, tmp_path: Path) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    await judge(desk)
    await verifying(desk.pacs).write_all()
    (report,) = await reports(desk)
    report.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    assert faults(program, tmp_path / "sr.dcm") == []


async def test_who_says_something_wakes_what_writes(desk: Desk) -> None:
    await desk.say(0, "accepted")
    woken = verifying(desk.pacs)
    files = replace(desk.pacs.hub.images, reviewed=woken.wake)
    app = await world.build(desk.pacs.stores, images=files)
    desk.pacs.client._transport.app = app  # type: ignore[attr-defined]
    await desk.sign_in("clinic")
    await desk.say(1, "accepted")
    assert woken._awake.is_set()


async def test_a_study_in_which_nothing_was_found_is_verified_as_that(pacs: Pacs, tmp_path: Path) -> None:
    desk = await at_desk(pacs, ai_reports.objects(tmp_path / "mr", 0))
    assert (await desk.report())["state"] == "preliminary"
    refused = await desk.say(None, "rejected", reason="other")
    assert (refused.status_code, refused.json()["fields"]) == (422, ["verdict"])
    assert (await desk.say(None, "accepted")).status_code == 201
    shown = await desk.report()
    assert (shown["state"], [one["verdict"] for one in shown["reviews"]]) == ("final", ["accepted"])
    assert await verifying(pacs).write_all() == 1
    (report,) = await reports(desk)
    assert values(report, "OUTCOME")[0].ConceptCodeSequence[0].CodeValue == "NONE-FOUND"
    told = [str(one.TextValue) for one in values(report, "121106")]
    assert AGREED in told
    assert not any(word in text for text in told for word in ("AI_NOT_VERIFIED", "not verified"))
    (judged,) = pacs.stores.care.read_blocking(lambda c: finding_reviews.of_studies(c, {desk.key}))
    (label,) = labels(Project("p", b"k" * 32), Judged("own", swi_dicom.STUDY, (judged,)))
    assert (label["verdict"], label["told"]["code"]) == ("accepted", NONE)
    assert (await desk.say(None, "reopened")).status_code == 201
    assert (await desk.report())["state"] == "preliminary"


async def test_where_something_was_found_nobody_agrees_that_there_is_none(desk: Desk) -> None:
    answer = await desk.say(None, "accepted", version=0)
    assert (answer.status_code, answer.json()["fields"]) == (422, ["finding_uid"])
