"""What is written of a study that was read, or was not: real objects of the standard, looked at by others' programs."""

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from telemed import ai_report
from telemed.ai_codes import CODES, FINDINGS
from telemed.ai_result import AiResult, ModelIdentity, Sphere
from telemed.bundle import AI_MARK, RESEARCH_MARK

from deploy import marks
from edge_node.findings import documents, key_picture, segments, writer
from edge_node.findings.documents import ModelSaid, Write
from edge_node.findings.pipe import Found
from edge_node.findings.reasons import WORDS, Reason
from edge_node.imaging import part10, reading
from models.phantoms import swi_images
from tests.fakes import swi_dicom

MODEL = ModelSaid(
    "cmb", "0.1.0", "a" * 64, "c" * 64, "synthetic phantom", 0.23, "onnxruntime-cpu/fp32", ("限制", "limits"),
    [AI_MARK, RESEARCH_MARK], True,
)  # fmt: skip
EXCUSED = {
    # No confirmed public code exists for what these say; PS3.16 section 8 provides for private schemes.
    "Unrecognized defined term <99GATEWAY>",
    # Its condition (a paired body part) cannot be told from the images; empty says "not known".
    "attribute <Laterality>",
}
"""Parts of what dciodvfy says that are not faults of ours."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return swi_dicom.written(tmp_path_factory.mktemp("mr"))


@pytest.fixture(scope="module")
def write(files: list[Path]) -> Write:
    half = len(files) // 2
    found = [
        Found("cerebral-microbleed", (1.5, -2.25, 3.0), 3.0, 0.8412, files[13].stem, "lobar"),
        Found("cerebral-microbleed", (5.5, -12.25, 8.0), 2.5, 0.34, files[15].stem, "deep"),
        Found("cerebral-microbleed", (-9.25, 4.0, 8.5), 0.5, 0.3, files[15].stem, "infratentorial"),
    ]
    return Write(
        str(files[0].parent), [str(each) for each in files[:half]], [str(each) for each in files[half:]],
        (swi_dicom.STUDY, "a" * 64, "b" * 64), MODEL, found, ("混合", "Mixed"), "", "2026-11-27T03:50:00+08:00",
        "edge-clinic", 2048,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(write: Write) -> dict[str, Dataset]:
    return {each.Modality: each for each in writer.made_of(write)}


def of_changed(folder: Path, write: Write, change: swi_dicom.Change) -> Write:
    """Return the same results of the same head, whose images say something else."""
    files = [str(each) for each in swi_dicom.written(folder, change=change)]
    half = len(files) // 2
    return replace(write, folder=str(folder), magnitude=files[:half], phase=files[half:])


def as_file(made: Dataset) -> bytes:
    whole = io.BytesIO()
    made.save_as(whole, enforce_file_format=True)
    return whole.getvalue()


def test_what_the_writer_is_told_arrives_unchanged(write: Write) -> None:
    assert documents.unpack(documents.pack(write)) == write


def test_the_report_goes_first_then_the_picture(write: Write) -> None:
    assert [each.Modality for each in writer.made_of(write)] == ["SR", "OT", "KO", "SEG"]


def test_a_report_read_back_is_what_was_found(made: dict[str, Dataset], write: Write, tmp_path: Path) -> None:
    made["SR"].save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    report = ai_report.read_back(dcmread(tmp_path / "sr.dcm"))
    identity = ModelIdentity("cmb", "0.1.0", "c" * 64, "synthetic phantom")
    series = f"{swi_dicom.STUDY}.{swi_images.MAGNITUDE.number}"
    assert report.results == tuple(
        AiResult(
            each.code, Sphere(each.centre_mm, each.diameter_mm), each.confidence, identity, series, each.key_image_uid,
            "限制 · limits", each.region,
        )
        for each in write.findings
    )  # fmt: skip
    assert (report.outcome, report.reason, report.bundle_id) == ("FOUND", "", "a" * 64)
    assert report.comments[:2] == (f"{AI_MARK[0]} · {AI_MARK[1]}", f"{RESEARCH_MARK[0]} · {RESEARCH_MARK[1]}")
    assert "混合 · Mixed" in report.comments


def test_a_report_names_every_image_that_was_read_and_describes_only_those_that_findings_point_at(
    made: dict[str, Dataset], write: Write
) -> None:
    evidence = made["SR"].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    named = [each.ReferencedSOPInstanceUID for series in evidence for each in series.ReferencedSOPSequence]
    assert sorted(named) == sorted(str(dcmread(path).SOPInstanceUID) for path in [*write.magnitude, *write.phase])
    (library,) = ai_report._all(made["SR"], "111028")
    assert len([*ai_report._all(library, "121112")]) < len(write.magnitude)
    # On a link of 256 kbit/s that is a second.
    assert len(as_file(made["SR"])) < 32 * 1024


def test_a_report_is_unverified_and_of_the_same_patient_study_and_frame(made: dict[str, Dataset]) -> None:
    report = made["SR"]
    assert (report.VerificationFlag, report.CompletionFlag) == ("UNVERIFIED", "COMPLETE")
    assert "VerifyingObserverSequence" not in report
    for each in made.values():
        assert each.StudyInstanceUID == swi_dicom.STUDY
        assert (str(each.PatientName), each.PatientID, each.AccessionNumber) == ("示例^患者", swi_dicom.PATIENT, "A-1")
        assert 9000 < each.SeriesNumber < 10000
        assert "NOT VERIFIED RESEARCH" in each.SeriesDescription
    frames = {each.ReferencedFrameOfReferenceUID for each in ai_report._all(report, "121231")}
    assert frames == {f"{swi_dicom.STUDY}.9"}


def test_every_object_names_the_patient_by_the_issuer_of_the_images_too(write: Write, tmp_path: Path) -> None:
    def issued(image: Dataset) -> Dataset:
        image.IssuerOfPatientID = "HOSPITAL-A"
        qualifiers = Dataset()
        qualifiers.UniversalEntityID, qualifiers.UniversalEntityIDType = "2.16.156.1", "ISO"
        image.IssuerOfPatientIDQualifiersSequence = [qualifiers]
        return image

    objects = {each.Modality: each for each in writer.made_of(of_changed(tmp_path, write, issued))}
    assert set(objects) == {"SR", "OT", "KO", "SEG"}
    for name, each in objects.items():
        parts = part10.parted(as_file(each))
        said = reading.read(parts.data, parts.transfer_syntax, 10**9)
        assert (said.patient_id, said.issuer) == (swi_dicom.PATIENT, "HOSPITAL-A"), name
        assert each.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == "2.16.156.1", name


def test_made_again_everything_is_the_same_to_the_last_byte_and_of_another_model_nothing_has_the_same_name(
    made: dict[str, Dataset], write: Write
) -> None:
    again = {each.Modality: each for each in writer.made_of(write)}
    assert {name: as_file(each) for name, each in again.items()} == {name: as_file(each) for name, each in made.items()}
    other = replace(write, names=(write.names[0], "f" * 64, write.names[2]))
    names = {each.SOPInstanceUID for each in made.values()} | {each.SeriesInstanceUID for each in made.values()}
    assert len(names) == 8
    assert not names & {each.SOPInstanceUID for each in writer.made_of(other)}


def test_each_segment_lies_where_its_finding_lies_and_has_the_name_that_it_has_in_the_report(
    made: dict[str, Dataset], write: Write
) -> None:
    segmentation = made["SEG"]
    pixels = segmentation.pixel_array
    named = {each.SegmentNumber: each.TrackingUID for each in segmentation.SegmentSequence}
    in_report = [
        str(each.UID) for each in ai_report._all(made["SR"], "112040") if each.UID in named.values()
    ]  # fmt: skip
    assert in_report == [named[number] for number in sorted(named)]
    seen = set()
    for frame, pixel in zip(segmentation.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        number = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        rows, columns = np.nonzero(pixel)
        middle = place + np.array([columns.mean(), rows.mean(), 0])
        one = write.findings[number - 1]
        assert np.linalg.norm(middle[:2] - np.array(one.centre_mm[:2])) < 0.8
        assert abs(middle[2] - one.centre_mm[2]) <= max(one.diameter_mm / 2, 1.0)
        seen.add(number)
    assert seen == {1, 2, 3}


def test_of_two_findings_that_touch_the_likelier_one_has_what_both_claim(write: Write) -> None:
    images = [dcmread(path, stop_before_pixels=True) for path in write.magnitude]
    two = [replace(write.findings[0], diameter_mm=6.0), replace(write.findings[1], centre_mm=(2.5, -2.25, 3.0))]
    found = segments.labels(two, images)
    alone = segments.labels(two[:1], images)
    assert (found[alone == 1] == 1).sum() >= (alone == 1).sum() - 1


def test_the_picture_bears_both_marks_in_both_languages_and_rings_the_finding(
    made: dict[str, Dataset], write: Write
) -> None:
    picture = made["OT"]
    pixels = picture.pixel_array
    assert (picture.BurnedInAnnotation, picture.ConversionType) == ("YES", "WSD")
    beneath = pixels[key_picture.SIDE_PX :]
    orange = (beneath == (230, 159, 0)).all(axis=2)
    for line in range(5):
        assert orange[line * 26 : (line + 1) * 26].sum() > 100, f"mark {line}"
    bare = replace(write, model=replace(MODEL, is_for_research=False, marks=[AI_MARK]))
    assert key_picture.drawn(bare, dcmread(write.magnitude[13]), []).shape[0] == pixels.shape[0] - 52
    # 1.5 mm left of the middle, 3 pixels outside of 1.5 mm, at 512 pixels for 48 mm.
    x, y, radius = (1.5 + 23.5 + 0.5) * 512 / 48, (-2.25 + 23.5 + 0.5) * 512 / 48, 1.5 * 512 / 48 + 3
    assert tuple(pixels[round(y), round(x + radius)]) == (230, 159, 0)


@pytest.mark.parametrize(
    "characters", ["\\ISO 2022 IR 58", "ISO 2022 IR 6\\ISO 2022 IR 58", "ISO 2022 IR 100\\ISO 2022 IR 58"]
)
def test_names_that_switch_to_chinese_characters_are_taken_over_and_every_object_is_made(
    write: Write, tmp_path: Path, characters: str
) -> None:
    # As the standard has it (PS3.5 annex K): the set is switched anew behind each delimiter.
    name = b"Wang^XiaoDong=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab "

    def chinese(image: Dataset) -> Dataset:
        image.SpecificCharacterSet, image.PatientName = characters, "x" * len(name)
        return image

    changed = of_changed(tmp_path, write, chinese)
    for each in map(Path, (*changed.magnitude, *changed.phase)):
        each.write_bytes(each.read_bytes().replace(b"x" * len(name), name))
    objects = list(writer.made_of(changed))
    assert len(objects) == 4
    assert {str(dcmread(io.BytesIO(as_file(each))).PatientName) for each in objects} == {"Wang^XiaoDong=王^小东"}


@pytest.mark.parametrize(("sex", "said"), [("U", ""), ("N", ""), ("O", "O"), ("", "")])
def test_a_sex_that_the_standard_does_not_know_is_left_open_and_every_object_is_made(
    write: Write, tmp_path: Path, sex: str, said: str
) -> None:
    def of_sex(image: Dataset) -> Dataset:
        image.PatientSex = sex
        return image

    objects = list(writer.made_of(of_changed(tmp_path, write, of_sex)))
    assert len(objects) == 4
    assert {each.PatientSex or "" for each in objects} == {said}


@pytest.mark.parametrize(
    ("row", "column", "said"), [(1, 1, ["L", "P"]), (-1, 1, ["R", "P"]), (1, -1, ["L", "A"]), (-1, -1, ["R", "A"])]
)
def test_the_picture_says_which_side_is_left_however_the_scanner_wrote_rows_and_columns(
    write: Write, tmp_path: Path, row: int, column: int, said: list[str]
) -> None:
    def flipped(image: Dataset) -> Dataset:
        image.ImageOrientationPatient = [row, 0, 0, 0, column, 0]
        return image

    picture = {each.Modality: each for each in writer.made_of(of_changed(tmp_path, write, flipped))}["OT"]
    assert list(picture.PatientOrientation) == said


def test_the_marks_say_what_the_contract_says() -> None:
    assert (marks.TEXTS["ai-zh"], marks.TEXTS["research-en"]) == (AI_MARK[0], RESEARCH_MARK[1])
    assert {path.stem for path in key_picture.MARKS.glob("*.png")} == set(marks.TEXTS)


@pytest.mark.parametrize("reason", Reason)
def test_a_study_that_was_not_read_has_a_report_that_says_why_and_nothing_else(write: Write, reason: Reason) -> None:
    one = write.magnitude[:1]
    refused = replace(write, magnitude=one, phase=[], findings=[], summary=WORDS[reason], reason=reason)
    (report,) = writer.made_of(refused)
    said = ai_report.read_back(dcmread(io.BytesIO(as_file(report))))
    assert (said.outcome, said.reason, said.results) == ("NOT-READ", reason, ())
    assert " · ".join(WORDS[reason]) in said.comments
    assert "not read" in report.SeriesDescription


def test_that_nothing_was_found_is_said_and_not_left_out(write: Write) -> None:
    (report,) = writer.made_of(replace(write, findings=[], summary=("未见", "None")))
    assert ai_report.read_back(report).outcome == "NONE-FOUND"


def test_a_report_of_somebody_else_is_not_taken_for_ours(made: dict[str, Dataset]) -> None:
    with pytest.raises(ai_report.NotOurs):
        ai_report.read_back(made["KO"])


def test_every_code_of_our_own_is_short_enough_and_has_words_in_both_languages() -> None:
    assert all(len(code) <= 16 and zh and en for code, (zh, en) in CODES.items())
    assert set(FINDINGS.values()) <= set(CODES)


def test_dciodvfy_finds_no_fault_outside_of_those_that_are_excused(
    made: dict[str, Dataset], write: Write, tmp_path: Path
) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    (nothing,) = writer.made_of(replace(write, findings=[], summary=("未见", "None")))
    for name, each in {**made, "none": nothing}.items():
        path = tmp_path / f"{name}.dcm"
        each.save_as(path, enforce_file_format=True)
        done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=20, check=False)
        told = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("Error", "Warning"))]
        assert [line for line in told if not any(part in line for part in EXCUSED)] == [], name
