"""A study as the catalogue has it: whose it is, when it is complete, and which image shows it best.  Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby

_SEX = {"M": "male", "F": "female"}
_NO_PICTURES = frozenset({"SR", "KO", "PR", "RTSTRUCT", "RTPLAN", "RTDOSE", "SEG", "DOC", "REG"})
"""Modalities whose pixels, if they have any, are no picture of a patient."""
_AHEAD, _AHEAD_LIMIT_BYTES = frozenset({"SR", "OT"}), 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Patient:
    """Whom a study says it is of."""

    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""
    """As DICOM writes it, YYYYMMDD; may be empty."""
    sex: str = ""


@dataclass(frozen=True, slots=True)
class Study:
    """One study."""

    study_id: str
    """Ours: it names nobody, and is the group of the study's files on their way."""
    study_uid: str
    patient: Patient
    study_date: str
    description: str
    person_id: str
    """Of the site's person; empty while it is unassigned."""
    assigned_by: str
    """MATCHED, or who decided."""
    is_mixed: bool
    """Its objects name more than one patient."""
    conflicts: int
    """Objects of which another content came later under the same UID."""
    last_ns: int
    """When its newest object came."""
    generation: int
    """Grows with every object and every decision."""
    offered_generation: int
    """What of it the hub was offered; 0 = nothing."""
    key_image: str
    """SHA-256 of the picture that was offered ahead, NO_PICTURE where none can be made, empty before that was tried."""
    at_hub_generation: int = 0
    """What of it the hub has, whole and committed."""
    at_hub_ns: int = 0
    """Since when."""
    is_here: bool = True
    """False: its files are at the hub alone, but for what comes again."""


class Kept(IntEnum):
    """Where the file of an object is."""

    HERE = 0
    GOING = 1
    """It is to be deleted, and may be already."""
    GONE = 2
    """The hub has it, and this node no longer."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One content of one object."""

    sop_instance_uid: str
    sha256: str
    version: int
    """1 is the first that came under its UID."""
    series_uid: str
    sop_class_uid: str
    transfer_syntax: str
    size_bytes: int
    modality: str
    series_description: str
    series_number: str
    instance_number: str
    rows: int
    columns: int
    frames: int
    fault: str


@dataclass(frozen=True, slots=True)
class Episode:
    """Somebody who is at the site now."""

    person_id: str
    identifiers: frozenset[tuple[str, str]]
    """Authority and value."""
    birth_date: str = ""
    """ISO 8601, or empty."""
    gender: str = ""


MATCHED = ":match"
"""Assigned by its patient's identifier; the name of no account begins so."""
NO_PICTURE = "none"


def whose(patient: Patient, episodes: Iterable[Episode]) -> str:
    """Return the person with an open episode whom a study is of; empty where that is for a person to decide.

    By identifier alone, never by name; what else is known of both must not speak against it (decision 30).
    """
    if not patient.patient_id:
        return ""
    found = [each for each in episodes if _has(each, patient)]
    return found[0].person_id if len(found) == 1 and not _differs(patient, found[0]) else ""


def _has(episode: Episode, patient: Patient) -> bool:
    return any(
        value == patient.patient_id and (not patient.issuer or patient.issuer == authority)
        for authority, value in episode.identifiers
    )


def _differs(patient: Patient, episode: Episode) -> bool:
    born = patient.birth_date
    iso = f"{born[:4]}-{born[4:6]}-{born[6:8]}" if re.fullmatch(r"[0-9]{8}", born) else ""
    if iso and episode.birth_date and iso != episode.birth_date:
        return True
    sex = _SEX.get(patient.sex, "")
    return bool(sex) and episode.gender in _SEX.values() and sex != episode.gender


def is_complete(study: Study, now_ns: int, quiet_ns: int) -> bool:
    """Whether a study is to be offered: something of it is new, and nothing came for so long."""
    return study.generation > study.offered_generation and now_ns - study.last_ns >= quiet_ns


def goes_ahead(modality: str, size_bytes: int) -> bool:
    """Whether an object says much in little, and so goes to the hub before images: a report, or a plain picture."""
    return modality in _AHEAD and size_bytes <= _AHEAD_LIMIT_BYTES


def key_image(instances: Sequence[Instance]) -> Instance | None:
    """Return the image that shows a study best: the middle one of its longest series; None where it has none."""
    usable = [each for each in instances if not each.fault and each.modality not in _NO_PICTURES and each.rows]
    in_series = sorted(usable, key=lambda each: (each.series_uid, _number(each.instance_number), each.sop_instance_uid))
    series = [list(group) for _, group in groupby(in_series, key=lambda each: each.series_uid)]
    if not series:
        return None
    # Of equally long ones the first by number: a scout comes first, but is short.
    longest = max(series, key=lambda group: (len(group), -_number(group[0].series_number)))
    return longest[len(longest) // 2]


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 0
