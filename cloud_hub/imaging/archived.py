"""What an archive says, and what of it is believed.  Pure.

An archive is not trusted: what it says of another patient than the one asked for is thrown away, texts are cut, and an
identifier that is none is never put into an address.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cloud_hub.errors import ArchiveUnclear
from cloud_hub.imaging import entries

TEXT_MOST_CHARS, VALUES_MOST = 200, 64
PATIENT, ISSUER = "00100020", "00100021"
SHOWN = ("00080020", "00080030", "00080061", "00081030", "00100010", ISSUER, "00100030", "00100040", "00201208")
"""What is asked for of a study beside its identifiers: day, time, kinds, description, patient, issuer, images."""
_PATIENT_ID = re.compile(r"[^\x00-\x1f\x7f\\*?]{1,64}")
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
_DAY = re.compile(r"[0-9]{8}")
_KIND = re.compile(r"[A-Z0-9]{1,16}")
_NAME_FORMS = ("Ideographic", "Alphabetic")
Told = dict[str, Any]
"""One result in DICOM JSON, whose attributes are objects."""


@dataclass(frozen=True, slots=True)
class ArchivedStudy:
    """A study as the archive tells of it; every text is cut, none is trusted."""

    study_uid: str
    patient_id: str
    """The one that was asked for."""
    study_date: str
    """YYYYMMDD, empty where it is not said."""
    study_time: str
    modalities: tuple[str, ...]
    description: str
    images: int | None
    """Images and other objects; None where the archive does not say."""
    patient_name: str
    birth_date: str
    """YYYYMMDD, empty where it is not said."""
    sex: str


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """Where one image or another object is in the archive."""

    study_uid: str
    series_uid: str
    sop_uid: str

    @property
    def path(self) -> str:
        """Address below the root of the archive's DICOMweb."""
        return f"/studies/{self.study_uid}/series/{self.series_uid}/instances/{self.sop_uid}"


def usable(values: Iterable[str]) -> tuple[str, ...]:
    """Return those of some PatientIDs that stand for one patient alone: no wildcard, not empty, not too long."""
    trimmed = dict.fromkeys(value.strip(" ") for value in values)
    return tuple(value for value in trimmed if _PATIENT_ID.fullmatch(value))


def is_of(level: Told, patient_id: str, issuer: str) -> bool:
    """Return whether a study's level in DICOM JSON is of exactly this patient; an empty issuer is not looked at."""
    return _only(level, PATIENT) == patient_id and issuer in ("", _only(level, ISSUER))


def results(body: bytes) -> list[Told]:
    """Return the results of a list.

    Raises:
        ArchiveUnclear: it cannot be read.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ArchiveUnclear("the archive's list cannot be read") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ArchiveUnclear("the archive's list cannot be read")
    return [{tag: element for tag, element in one.items() if isinstance(element, dict)} for one in found]


def studies_of(told: Iterable[Told], patient_id: str, issuer: str) -> list[ArchivedStudy]:
    """Return those results that are studies of exactly this patient, each once."""
    found = (_study(one) for one in told if is_of(one, patient_id, issuer))
    return list({one.study_uid: one for one in found if one is not None}.values())


def images_of(told: Iterable[Told], study_uid: str) -> list[tuple[ArchivedImage, str]]:
    """Return where the images of a study are, each with the PatientID that is said of it, empty where none is.

    Raises:
        ArchiveUnclear: one of the results is no image of this study.
    """
    return [(_image(one, study_uid), _only(one, PATIENT)) for one in told]


def _study(told: Told) -> ArchivedStudy | None:
    study_uid = _only(told, "0020000D")
    if not _UID.fullmatch(study_uid):
        return None
    day, birth = _only(told, "00080020"), _only(told, "00100030")
    return ArchivedStudy(
        study_uid=study_uid,
        patient_id=_only(told, PATIENT),
        study_date=day if _DAY.fullmatch(day) else "",
        study_time="".join(re.findall(r"^[0-9]{4,6}", _only(told, "00080030"))),
        modalities=tuple(sorted({one for one in _values(told, "00080061") if _KIND.fullmatch(one)})),
        description=_shown(_only(told, "00081030")),
        images=_count(told, "00201208"),
        patient_name=_name(told),
        birth_date=birth if _DAY.fullmatch(birth) else "",
        sex=_shown(_only(told, "00100040"))[:16],
    )


def _image(told: Told, study_uid: str) -> ArchivedImage:
    found = ArchivedImage(study_uid, _only(told, "0020000E"), _only(told, "00080018"))
    is_elsewhere = _only(told, "0020000D") not in ("", study_uid)
    if is_elsewhere or not (_UID.fullmatch(found.series_uid) and _UID.fullmatch(found.sop_uid)):
        raise ArchiveUnclear("the archive's list of images names other things")
    return found


def _values(told: Told, tag: str) -> list[str]:
    """Return the values of an attribute; what is no text or number is empty among them."""
    values = told.get(tag, {}).get("Value")
    some = values[:VALUES_MOST] if isinstance(values, list) else []
    return [str(one).strip(" ") if isinstance(one, str | int | float) else "" for one in some]


def _only(told: Told, tag: str) -> str:
    """Return the one value of an attribute, to be compared; empty where there is none, or there are several."""
    values = _values(told, tag)
    return values[0] if len(values) == 1 else ""


def _shown(text: str) -> str:
    """Return a text so that it can be shown: cut, and without signs that cannot be seen."""
    return "".join(one for one in text[:TEXT_MOST_CHARS] if one.isprintable())


def _count(told: Told, tag: str) -> int | None:
    text = _only(told, tag)
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _name(told: Told) -> str:
    value = entries.first(told, "00100010")
    forms = value if isinstance(value, dict) else {}
    texts = (_shown(form.replace("^", " ")).strip() for name in _NAME_FORMS if isinstance(form := forms.get(name), str))
    return next((text for text in texts if text), "")
