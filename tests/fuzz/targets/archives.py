"""What an archive of images answers: lists in DICOM JSON."""

import json
import re
from collections.abc import Iterable

from cloud_hub.errors import ArchiveUnclear
from cloud_hub.imaging import archived
from tests.fuzz.target import Target

PATIENT_ID, STUDY = "P-1", "1.2.3"
UID = re.compile(r"[0-9]+(\.[0-9]+)*")


def lists(data: bytes) -> None:
    """Pass where a list is refused, or nothing of another patient, study or address comes out of it."""
    try:
        told = archived.results(data)
    except ArchiveUnclear:
        return
    for study in archived.studies_of(told, PATIENT_ID, ""):
        assert study.patient_id == PATIENT_ID
        assert UID.fullmatch(study.study_uid)
        assert len(study.description) <= archived.TEXT_MOST_CHARS
        json.dumps([study.description, study.patient_name, study.sex], ensure_ascii=False).encode()
    try:
        images = archived.images_of(told, STUDY)
    except ArchiveUnclear:
        return
    for image, _ in images:
        assert re.fullmatch(r"/studies/1\.2\.3/series/[0-9.]+/instances/[0-9.]+", image.path)
        assert ".." not in image.path


def lists_as_they_should_be() -> Iterable[bytes]:
    """A list of studies and one of images."""
    name = {"Alphabetic": "Gu^Yu", "Ideographic": "谷^雨"}
    study = {"0020000D": [STUDY], "00100020": [PATIENT_ID], "00100010": [name], "00081030": ["Head"], "00201208": [2]}
    study |= {"00080020": ["20261120"], "00080030": ["073015.5"], "00080061": ["CT", "SR"], "00100021": ["H"]}
    image = {"0020000D": [STUDY], "0020000E": ["1.2.3.4"], "00080018": ["1.2.3.4.5"], "00100020": [PATIENT_ID]}
    for one in (study, image):
        told = {tag: {"vr": "LO", "Value": value} for tag, value in one.items()}
        yield json.dumps([told], ensure_ascii=False).encode()


LIST = Target("archive-list", "Nothing of another patient, study or address comes out.", lists, lists_as_they_should_be)
