"""What every object that this node makes says of itself, and of when it was made."""

import re
from datetime import datetime
from typing import Any

from pydicom import DataElement, Dataset, dcmread

from edge_node.findings.documents import Write
from edge_node.findings.uids import uid

MANUFACTURER, MODEL_NAME = "Yuanzhen", "Edge gateway"
SERIES = {"report": 9001, "segments": 9002, "keys": 9003, "picture": 9004}
"""Numbers of the series, by kind of object."""
UNICODE = "ISO_IR 192"
_NEEDED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip
_ISSUER = ("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence")
_TEXTS = ("PN", "LO", "SH", "LT", "ST", "UC", "UT")
_ESCAPE = re.compile(r"\x1b[ -/]*[0-~]")
_SEXES = ("M", "F", "O")
_TIMES = ("Content", "Series", "InstanceCreation")


def names(write: Write, kind: str) -> dict[str, Any]:
    """Return UIDs and numbers of the object of a kind."""
    return {
        "series_instance_uid": uid(*write.names, kind, "series"),
        "series_number": SERIES[kind],
        "sop_instance_uid": uid(*write.names, kind),
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
    }


def node_uid(write: Write) -> str:
    """Return the UID under which this node observes."""
    return uid("node", write.node)


def description(write: Write) -> str:
    """Return what the series is called, at most 64 characters."""
    model = write.model
    text = f"AI {model.task} {model.version} NOT VERIFIED"
    if write.reason:
        text = f"AI {model.task} {model.version} not read"
    return f"{text} RESEARCH"[:64] if model.is_for_research else text[:64]


def header(path: str) -> Dataset:
    """Return an image without its pixels; what objects copy from it is there, if empty, in Unicode and as they take it.

    Scanners name their characters in ways that the library does not take, and write more than three sexes.
    """
    dataset = dcmread(path, stop_before_pixels=True)
    dataset.decode()
    dataset.walk(_without_escapes)
    dataset.SpecificCharacterSet = UNICODE
    for keyword in _NEEDED:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    if dataset.PatientSex not in _SEXES:
        dataset.PatientSex = ""
    return dataset


def _without_escapes(_: Dataset, element: DataElement) -> None:
    """Take out what switched the character set (ISO 2022): pydicom leaves it standing where that is the Chinese one."""
    if element.VR not in _TEXTS or "\x1b" not in str(element.value):
        return
    said = element.value if element.VM > 1 else [element.value]
    element.value = [_ESCAPE.sub("", str(each)) for each in said]


def finished(made: Dataset, write: Write, image: Dataset) -> Dataset:
    """Return an object with its descriptions, the one time of all of them, and the issuer that an image of it names."""
    # The library copies it into some kinds of objects only, and without it this is another patient.
    for keyword in _ISSUER:
        if keyword in image:
            made[keyword] = image[keyword]
    at = datetime.fromisoformat(write.made_at)
    for what in _TIMES:
        setattr(made, f"{what}Date", at.strftime("%Y%m%d"))
        setattr(made, f"{what}Time", at.strftime("%H%M%S"))
    # The last one is the library's own entry of when it made the object.
    made.ContributingEquipmentSequence[-1].ContributionDateTime = at.strftime("%Y%m%d%H%M%S")
    made.SpecificCharacterSet = UNICODE
    made.TimezoneOffsetFromUTC = at.strftime("%z") or "+0000"
    made.SeriesDescription = description(write)
    made.ManufacturerModelName = MODEL_NAME
    made.DeviceSerialNumber = write.node
    made.SoftwareVersions = f"{write.model.task} {write.model.version}"
    return made
