"""What the node keeps of an object beside its bytes: whose, which, and whether a picture can be made of it.  Pure."""

import re
from dataclasses import dataclass, fields, replace

TEXT_LIMIT_CHARS = 200
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_UID_LIMIT_CHARS = 64
NO_PIXELS, CUT, NOT_FITTING, MALFORMED = "no-pixels", "cut", "pixels-do-not-fit", "malformed"
"""Why no picture is made of an object."""


class NotUnderstood(ValueError):
    """It is no data set that can be kept as one; the message is a word for the log, without any value of it."""


class NotMatching(NotUnderstood):
    """It is not what it was announced as, or names itself by what is no UID."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is kept of an object."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    study_uid: str = ""
    """Empty where it names none: then it is a study by itself."""
    series_uid: str = ""
    patient_id: str = ""
    issuer: str = ""
    patient_name: str = ""
    birth_date: str = ""
    sex: str = ""
    study_date: str = ""
    modality: str = ""
    study_description: str = ""
    series_description: str = ""
    series_number: str = ""
    instance_number: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 0
    """0 where it has no pixels."""
    fault: str = ""
    """Why no picture is made of it, one of the four above; empty where one can be tried."""


FIELDS = tuple(field.name for field in fields(Content))
NUMBERS = ("rows", "columns", "frames")


def is_uid(text: str) -> bool:
    """Whether this is the name of a DICOM thing, and nothing else (PS3.5 section 9; a leading zero is forgiven)."""
    return len(text) <= _UID_LIMIT_CHARS and _UID.fullmatch(text) is not None


def announced(content: Content, sop_class_uid: str, sop_instance_uid: str) -> Content:
    """Return the same under the names by which a sender announced it, where it does not name itself.

    A name that was not announced, and is empty, is its own.

    Raises:
        NotMatching: it says that it is another object, or it bears no UID.
    """
    named = content.sop_class_uid or sop_class_uid, content.sop_instance_uid or sop_instance_uid
    said = sop_class_uid or named[0], sop_instance_uid or named[1]
    if named != said or not all(map(is_uid, named)):
        raise NotMatching("other-object")
    return replace(content, sop_class_uid=named[0], sop_instance_uid=named[1])
