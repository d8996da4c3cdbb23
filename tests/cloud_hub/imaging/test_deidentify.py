"""DICOM without identity: planted words, real files, references that hold, and what is refused."""

import gzip
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from cloud_hub.care.pseudonym import Project
from cloud_hub.imaging.deidentify import TABLE, Act, Refused, deidentify, written

PROJECT = Project("stroke", b"k" * 32)
OTHER = Project("tremor", b"k" * 32)
CT = "1.2.840.10008.5.1.4.1.1.2"
PLANTED = ("谷雨生", "GUYUSHENG", "P-51018201-0093", "19530420", "13800138000", "BAOSHANCLINIC", "DRHUANGQI")
NAME, NUMBER, BORN, PHONE, PLACE, DOCTOR = PLANTED[0], PLANTED[2], PLANTED[3], PLANTED[4], PLANTED[5], PLANTED[6]


def made(**more: object) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.SourceApplicationEntityTitle = PLACE
    found = FileDataset("", {}, file_meta=meta, preamble=PLACE.encode().ljust(128, b"\0"))
    found.set_original_encoding(False, True, "utf8")
    values: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT,
        "SOPInstanceUID": "1.2.3.1",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "FrameOfReferenceUID": "1.2.3.5",
        "Modality": "CT",
        "BodyPartExamined": "CHEST",
        "PatientName": f"GUYUSHENG={NAME}",
        "PatientID": NUMBER,
        "PatientBirthDate": BORN,
        "PatientSex": "M",
        "PatientAge": "072Y",
        "StudyDate": "20261120",
        "ContentDate": "20261125",
        "StudyTime": "073015",
    }
    for name, value in (values | more).items():
        setattr(found, name, value)
    return found


def planted() -> FileDataset:
    """The same words in every corner that a file has."""
    inner = Dataset()
    inner.PatientComments = f"{NAME} {PHONE}"
    inner.ReferencedSOPInstanceUID = "1.2.3.1"
    inner.OperatorsName = DOCTOR
    outer = Dataset()
    outer.ReferencedSeriesSequence = [inner]
    outer.TextValue = NAME
    found = made(
        InstitutionName=PLACE,
        InstitutionAddress=f"{PLACE} 村 3 组",
        ReferringPhysicianName=DOCTOR,
        PerformingPhysicianName=DOCTOR,
        PatientTelephoneNumbers=PHONE,
        OtherPatientIDs=NUMBER,
        PatientAddress=PLACE,
        StudyDescription=f"CT {NAME}",
        ImageComments=f"{NUMBER} {PHONE}",
        AccessionNumber=NUMBER,
        StationName=PLACE,
        RequestAttributesSequence=[outer],
        ReferencedStudySequence=[outer],
        InterpretationText=NAME,
    )
    found.add_new((0x0009, 0x0010), "LO", "MAKER")
    found.add_new((0x0009, 0x1001), "LO", NAME)
    found.add_new((0x6000, 0x4000), "LT", NAME)
    found.add_new((0x6000, 0x3000), "OB", NAME.encode() + b"\0")
    found.add_new((0x5000, 0x2500), "LO", NAME)
    return found


def dates(dataset: Dataset) -> list[str]:
    return [str(dataset.StudyDate), str(dataset.ContentDate)]


def test_none_of_the_planted_words_is_left_in_any_byte() -> None:
    data = written(deidentify(planted(), PROJECT))
    assert [word for word in PLANTED if word.encode() in data] == []
    assert data[:128] == b"\x00" * 128


def test_words_that_stand_in_no_row_of_the_table_do_not_go_along_either() -> None:
    odd = made(EvaluatorName="Somebody^Else", CalibrationNotes="measured beside room 4")
    found = deidentify(odd, PROJECT).dataset
    assert "EvaluatorName" not in found
    assert "CalibrationNotes" not in found


def test_a_file_says_what_was_done_to_it() -> None:
    found = deidentify(planted(), PROJECT).dataset
    assert found.PatientIdentityRemoved == "YES"
    codes = [item.CodeValue for item in found.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]
    assert found.LongitudinalTemporalInformationModified == "MODIFIED"
    assert (found.PatientSex, found.PatientAge, found.PatientBirthDate) == ("M", "072Y", "")


def test_the_original_is_left_as_it_is() -> None:
    original = planted()
    before = original.to_json()
    deidentify(original, PROJECT)
    assert original.to_json() == before


def test_files_of_one_study_still_belong_together_and_projects_do_not() -> None:
    first = deidentify(made(), PROJECT).dataset
    second = deidentify(made(SOPInstanceUID="1.2.3.2"), PROJECT).dataset
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.PatientID == second.PatientID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.file_meta.MediaStorageSOPInstanceUID == first.SOPInstanceUID
    elsewhere = deidentify(made(), OTHER).dataset
    assert elsewhere.StudyInstanceUID != first.StudyInstanceUID
    assert elsewhere.PatientID != first.PatientID


def test_a_reference_inside_points_at_the_new_name_of_what_it_pointed_at() -> None:
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = CT, "1.2.3.1"
    found = deidentify(made(SourceImageSequence=[source]), PROJECT).dataset
    (item,) = found.SourceImageSequence
    assert item.ReferencedSOPInstanceUID == found.SOPInstanceUID
    assert item.ReferencedSOPClassUID == CT


def test_days_are_moved_and_the_time_between_them_stays() -> None:
    found = deidentify(made(), PROJECT).dataset
    shift = PROJECT.shift_days(NUMBER)
    assert shift != 0
    assert "20261120" not in dates(found)
    moved = [pydicom.valuerep.DA(text) for text in dates(found)]
    assert (moved[1] - moved[0]).days == 5
    assert found.StudyTime == "073015"


@pytest.mark.parametrize(
    ("age", "left"), [("089Y", "089Y"), ("090Y", "090Y"), ("101Y", "090Y"), ("011M", "011M"), ("old", "")]
)
def test_nobody_is_older_than_ninety(age: str, left: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert deidentify(made(PatientAge=age), PROJECT).dataset.get("PatientAge", "") == left


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in"),
        ({"Modality": "US", "PixelData": b"\0\0"}, "burned-in"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "PixelData": b"\0\0"}, "burned-in"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, "document"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11"}, "document"),
        ({"SOPInstanceUID": ""}, "no-object"),
        ({"Manufacturer": f"made for {NUMBER}"}, "identity-left"),
    ],
)
def test_what_attributes_alone_cannot_clean_is_refused(change: dict[str, object], reason: str) -> None:
    with pytest.raises(Refused) as caught:
        deidentify(made(**change), PROJECT)
    assert caught.value.reason == reason
    assert NUMBER not in str(caught.value)


@pytest.mark.parametrize(
    "left", ["雨生的CT", "made for谷雨生", "雨生谷", "谷 雨生", "for 雨生 谷", "li wei", "WeiLi", "for明王"]
)
def test_a_name_without_spaces_around_it_is_found_too(left: str) -> None:
    odd = made(PatientName="谷^雨生=Li^Wei", OtherPatientNames=["Somebody^Else", "王^明"], Manufacturer=left)
    with pytest.raises(Refused, match="identity-left"):
        deidentify(odd, PROJECT)


def test_a_maker_whose_name_holds_one_letter_of_the_patients_is_not_taken_for_them() -> None:
    deidentify(made(PatientName="谷^雨生=Li^Wei", Manufacturer="谷歌 Lifetech"), PROJECT)


def test_a_picture_that_is_said_to_be_clean_may_go() -> None:
    deidentify(made(Modality="US", PixelData=b"\0\0", BurnedInAnnotation="NO"), PROJECT)


def test_sequences_without_end_are_refused() -> None:
    nested = Dataset()
    for _ in range(20):
        outer = Dataset()
        outer.ReferencedSeriesSequence = [nested]
        nested = outer
    with pytest.raises(Refused) as caught:
        deidentify(made(ReferencedSeriesSequence=[nested]), PROJECT)
    assert caught.value.reason == "too-deep"


@pytest.mark.parametrize(
    ("more", "has_face"),
    [
        ({"BodyPartExamined": "CHEST"}, False),
        ({"BodyPartExamined": "BRAIN"}, True),
        ({"BodyPartExamined": "", "StudyDescription": "头颅平扫"}, True),
        ({"BodyPartExamined": ""}, True),
        ({"BodyPartExamined": "BRAIN", "Modality": "DX"}, False),
    ],
)
def test_slices_of_a_head_are_told_to_need_defacing(more: dict[str, object], has_face: bool) -> None:
    assert deidentify(made(**more), PROJECT).needs_defacing is has_face


def test_the_table_is_the_standards() -> None:
    # Name, birth date, study date, instance UID, comments: rows of table E.1-1 that no edition has changed.
    expected = {
        0x00100010: Act.EMPTY,
        0x00100030: Act.EMPTY,
        0x00080020: Act.EMPTY,
        0x00080018: Act.UID,
        0x00204000: Act.REMOVE,
    }
    assert {tag: TABLE[tag] for tag in expected} == expected
    assert len(TABLE) > 600


def read(path: Path) -> FileDataset:
    data = path.read_bytes()
    return pydicom.dcmread(io.BytesIO(gzip.decompress(data) if path.suffix == ".gz" else data), force=True)


def files(shared_data: Path) -> Iterator[Path]:
    yield from sorted(path for path in (shared_data / "dicom").rglob("*") if ".dcm" in path.name)


def test_each_real_file_leaves_clean_or_is_refused_by_name(shared_data: Path) -> None:
    fates: dict[str, str] = {}
    for path in files(shared_data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the files are faulty on purpose
            original = read(path)
            try:
                cleaned = deidentify(original, PROJECT)
            except Refused as refused:
                fates[path.name] = refused.reason
                continue
            data = written(cleaned)
            again = pydicom.dcmread(io.BytesIO(data))
            words = [str(original.get(name, "")) for name in ("PatientName", "PatientID", "StudyInstanceUID")]
            assert [word for word in words if len(word) > 5 and word.encode() in data] == [], path.name
            assert again.get("PixelData") == original.get("PixelData"), path.name
            assert not [element.tag for element in again.iterall() if element.tag.is_private], path.name
        fates[path.name] = "left"
    assert sum(fate == "left" for fate in fates.values()) >= 25
    assert set(fates.values()) == {"left", "burned-in", "document", "no-object", "identity-left", "syntax"}
    assert fates["US1_UNCR.dcm"] == "burned-in"
    assert fates["test_SR.dcm"] == "document"
    assert fates["CT1_UNC.dcm"] == "left"
