"""What every object that this node makes says of itself, and of when it was made."""

from datetime import datetime
from typing import Any

from pydicom import Dataset, dcmread

from edge_node.findings.documents import Write
from edge_node.findings.uids import uid

MANUFACTURER, MODEL_NAME = "Yuanzhen", "Edge gateway"
SERIES = {"report": 9001, "segments": 9002, "keys": 9003, "picture": 9004}
"""Numbers of the series, by kind of object."""
_NEEDED = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator",
)  # fmt: skip
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
    """Return an image without its pixels; what objects copy from it is there, if empty."""
    dataset = dcmread(path, stop_before_pixels=True)
    for keyword in _NEEDED:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    return dataset


def finished(made: Dataset, write: Write) -> Dataset:
    """Return an object with its descriptions and the one time of all of them."""
    at = datetime.fromisoformat(write.made_at)
    for what in _TIMES:
        setattr(made, f"{what}Date", at.strftime("%Y%m%d"))
        setattr(made, f"{what}Time", at.strftime("%H%M%S"))
    # The last one is the library's own entry of when it made the object.
    made.ContributingEquipmentSequence[-1].ContributionDateTime = at.strftime("%Y%m%d%H%M%S")
    made.SpecificCharacterSet = "ISO_IR 192"
    made.TimezoneOffsetFromUTC = at.strftime("%z") or "+0000"
    made.SeriesDescription = description(write)
    made.ManufacturerModelName = MODEL_NAME
    made.DeviceSerialNumber = write.node
    made.SoftwareVersions = f"{write.model.task} {write.model.version}"
    return made
