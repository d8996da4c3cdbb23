"""What a query asks for, and whether an entry of the catalogue is meant (PS3.4 annex C, Study Root).  Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydicom import DataElement, Dataset
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword

STUDY, SERIES, IMAGE = "STUDY", "SERIES", "IMAGE"
LEVELS = (STUDY, SERIES, IMAGE)
_UIDS = {STUDY: "StudyInstanceUID", SERIES: "SeriesInstanceUID", IMAGE: "SOPInstanceUID"}
KEYS: dict[str, tuple[str, ...]] = {
    STUDY: (
        *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
        *("StudyDate", "StudyDescription", "ModalitiesInStudy"),
        *("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    ),
    SERIES: ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances"),
    IMAGE: ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "Rows", "Columns", "NumberOfFrames"),
}
"""What each level can be asked for, and is answered with; everything above it too."""
_MOST_UIDS = 1000
_RANGE = re.compile(r"(\d{8})?-(\d{8})?")


class NotAnswerable(ValueError):
    """A query that names no level of ours, or not the study of the series or objects that it asks for."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query."""

    level: str
    asked: Mapping[str, str]
    """Keys that must match, as they came; several UIDs are separated by a backslash."""
    wanted: tuple[str, ...]
    """Keys that are answered."""

    def uids(self, level: str) -> list[str]:
        """Return the UIDs of a level that are asked for; empty = any."""
        value = self.asked.get(_UIDS[level], "")
        return [uid for uid in value.split("\\") if uid] if "*" not in value else []


def query_of(identifier: Dataset, *, is_move: bool) -> Query:
    """Return what an identifier asks for.

    Raises:
        NotAnswerable: no level of ours; of series or objects without their study; a move without UIDs.
    """
    level = str(identifier.get("QueryRetrieveLevel", "")).strip()
    if level not in LEVELS:
        raise NotAnswerable("no level of the Study Root model")
    known = [key for each in LEVELS[: LEVELS.index(level) + 1] for key in KEYS[each]]
    asked = {key: _text(identifier, key) for key in known if key in identifier and _text(identifier, key)}
    query = Query(level, asked, tuple(key for key in known if key in identifier))
    if (level != STUDY and not query.uids(STUDY)) or (is_move and not query.uids(level)):
        raise NotAnswerable("the UIDs above are missing")
    if any(len(query.uids(each)) > _MOST_UIDS for each in LEVELS):
        raise NotAnswerable("too many UIDs")
    return query


def matching(query: Query, entries: Iterable[Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
    """Yield the entries that a query means."""
    return (entry for entry in entries if all(_fits(key, value, entry) for key, value in query.asked.items()))


def answer(query: Query, entry: Mapping[str, object], ae_title: str) -> Dataset:
    """Return the identifier of one match: every key that was asked for, empty where it is not known."""
    told = Dataset()
    values = {key: entry.get(key, "") for key in query.wanted}
    values |= {"SpecificCharacterSet": "ISO_IR 192", "QueryRetrieveLevel": query.level, "RetrieveAETitle": ae_title}
    for key, value in values.items():
        text = str(value) if key.startswith("Number") else value
        # What a modality sent is told as it is, whether it follows the standard or not.
        told.add(DataElement(tag_for_keyword(key) or 0, dictionary_VR(key), text, validation_mode=IGNORE))
    return told


def _text(identifier: Dataset, key: str) -> str:
    value = identifier.get(key)
    if value is None:
        return ""
    return "\\".join(map(str, value)) if isinstance(value, list) or hasattr(value, "append") else str(value)


def _fits(key: str, asked: str, entry: Mapping[str, object]) -> bool:
    value = entry.get(key, "")
    if key.startswith("Number"):
        return True
    if key == "ModalitiesInStudy":
        return bool(set(asked.split("\\")) & set(value if isinstance(value, list) else []))
    if key == "StudyDate" and "-" in asked:
        found = _RANGE.fullmatch(asked)
        return found is not None and (found[1] or "") <= str(value) <= (found[2] or "99999999")
    if key in _UIDS.values() or key == "SOPClassUID":
        return "*" in asked or str(value) in asked.split("\\")
    return _is_like(asked, str(value))


def _is_like(asked: str, value: str) -> bool:
    """Match with the standard's two wildcards, whatever the case (PS3.4 C.2.2.2.4)."""
    return fnmatchcase(value.casefold(), asked.casefold().replace("[", "[[]"))
