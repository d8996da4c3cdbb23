"""The attributes that the index keeps of each level (PS3.18 tables 10.6.1-5 and 10.6.3-3 to 10.6.3-5).

Pure.  Names and tags are those of the standard; `BY_NAME` finds an attribute by either.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """Where in the information model an attribute belongs."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of the index."""

    tag: str
    """Eight hex digits, upper case, as in DICOM JSON."""
    keyword: str
    vr: str
    level: Level
    is_counted: bool = False
    """True where the hub makes it of what it has, whatever a file says."""
    is_always_told: bool = True
    """False where it is told only to who asks for it by `includefield`."""


_STUDY, _SERIES, _INSTANCE = Level.STUDY, Level.SERIES, Level.INSTANCE
ATTRIBUTES = (
    Attribute("00080020", "StudyDate", "DA", _STUDY),
    Attribute("00080030", "StudyTime", "TM", _STUDY),
    Attribute("00080050", "AccessionNumber", "SH", _STUDY),
    Attribute("00080061", "ModalitiesInStudy", "CS", _STUDY, is_counted=True),
    Attribute("00080090", "ReferringPhysicianName", "PN", _STUDY),
    Attribute("00080201", "TimezoneOffsetFromUTC", "SH", _STUDY),
    Attribute("00081030", "StudyDescription", "LO", _STUDY, is_always_told=False),
    Attribute("00100010", "PatientName", "PN", _STUDY),
    Attribute("00100020", "PatientID", "LO", _STUDY),
    Attribute("00100021", "IssuerOfPatientID", "LO", _STUDY, is_always_told=False),
    Attribute("00100030", "PatientBirthDate", "DA", _STUDY),
    Attribute("00100040", "PatientSex", "CS", _STUDY),
    Attribute("0020000D", "StudyInstanceUID", "UI", _STUDY),
    Attribute("00200010", "StudyID", "SH", _STUDY),
    Attribute("00201206", "NumberOfStudyRelatedSeries", "IS", _STUDY, is_counted=True),
    Attribute("00201208", "NumberOfStudyRelatedInstances", "IS", _STUDY, is_counted=True),
    Attribute("00080060", "Modality", "CS", _SERIES),
    Attribute("00080070", "Manufacturer", "LO", _SERIES, is_always_told=False),
    Attribute("0008103E", "SeriesDescription", "LO", _SERIES),
    Attribute("00180015", "BodyPartExamined", "CS", _SERIES, is_always_told=False),
    Attribute("0020000E", "SeriesInstanceUID", "UI", _SERIES),
    Attribute("00200011", "SeriesNumber", "IS", _SERIES),
    Attribute("00200052", "FrameOfReferenceUID", "UI", _SERIES, is_always_told=False),
    Attribute("00201209", "NumberOfSeriesRelatedInstances", "IS", _SERIES, is_counted=True),
    Attribute("00400244", "PerformedProcedureStepStartDate", "DA", _SERIES),
    Attribute("00400245", "PerformedProcedureStepStartTime", "TM", _SERIES),
    Attribute("00080008", "ImageType", "CS", _INSTANCE, is_always_told=False),
    Attribute("00080016", "SOPClassUID", "UI", _INSTANCE),
    Attribute("00080018", "SOPInstanceUID", "UI", _INSTANCE),
    Attribute("00200013", "InstanceNumber", "IS", _INSTANCE),
    Attribute("00280008", "NumberOfFrames", "IS", _INSTANCE),
    Attribute("00280010", "Rows", "US", _INSTANCE),
    Attribute("00280011", "Columns", "US", _INSTANCE),
    Attribute("00280100", "BitsAllocated", "US", _INSTANCE),
)
"""PS3.18 names Request Attributes Sequence as a key too; of sequences the index has none, and says so."""
BY_NAME = {name: one for one in ATTRIBUTES for name in (one.tag, one.keyword)}
ORDER = (Level.STUDY, Level.SERIES, Level.INSTANCE)


def of_level(level: Level) -> tuple[Attribute, ...]:
    """Return the attributes of one level."""
    return tuple(one for one in ATTRIBUTES if one.level is level)
