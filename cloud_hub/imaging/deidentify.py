"""DICOM made fit for research by the Basic Application Level Confidentiality Profile (PS3.15 Annex E).

With the options Retain Longitudinal Temporal Information with Modified Dates and Retain Patient Characteristics.
The table of the profile is that of `dicomanonymizer`, made from the edition 2026c of the standard.  What is done by
it is ours: that library makes random UIDs in a dictionary of its process, turns dates into 0001-01-01 and knows no
project.

Beyond the profile: private elements and overlays are removed, free text and names outside of the table too, and a
file is refused where identity is in its pixels, in a document inside it, or still found in any text afterwards.
"""

import copy
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from itertools import permutations

from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector
from pydicom import Dataset, FileDataset
from pydicom.dataelem import DataElement
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, AllTransferSyntaxes

from cloud_hub.care.pseudonym import Project

EDITION = "dicomfields_2026c"
METHOD = "PS3.15 2026c Basic Profile; dates moved; 113100, 113107, 113108"
CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)
OLDEST_SHOWN_YEARS = 89
DEEPEST = 16
"""Sequences within sequences that are followed (reliability 4.2)."""


class Refused(ValueError):
    """A file that must not leave; the message names the reason and never a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Act(Enum):
    """What the profile does with an attribute."""

    DUMMY = "D"
    EMPTY = "Z"
    REMOVE = "X"
    UID = "U"


_ACTS = {
    "D_TAGS": Act.DUMMY,
    "Z_TAGS": Act.EMPTY,
    "X_TAGS": Act.REMOVE,
    "U_TAGS": Act.UID,
    # Where the type of the attribute decides, the value that is right for every type is taken.
    "Z_D_TAGS": Act.DUMMY,
    "X_Z_TAGS": Act.EMPTY,
    "X_D_TAGS": Act.DUMMY,
    "X_Z_D_TAGS": Act.DUMMY,
    "X_Z_U_STAR_TAGS": Act.UID,
}
_TABLE = dicom_anonymization_database_selector(EDITION)
TABLE: dict[int, Act] = {int(Tag(*tag)): act for name, act in _ACTS.items() for tag in _TABLE[name] if len(tag) == 2}
"""Attributes of table E.1-1; its two repeating groups (curves, overlays) are removed whole."""
_CHARACTERISTICS = frozenset(
    map(int, (Tag(0x0010, 0x0040), Tag(0x0010, 0x1010), Tag(0x0010, 0x1020), Tag(0x0010, 0x1030)))
)
"""Sex, age, size and weight (option 113108)."""
_BIRTH = frozenset({0x00100030, 0x00100032})
_WORDS = frozenset({"LT", "ST", "UT", "PN", "UN"})
"""Free text and names, which are never kept whatever attribute they stand in."""
_DUMMY_OF: dict[str, object] = {
    **dict.fromkeys(("AE", "CS", "LO", "SH", "LT", "ST", "UT", "UC"), "REMOVED"),
    **dict.fromkeys(("IS", "DS"), "0"),
    **dict.fromkeys(("US", "UL", "UV", "SS", "SL", "SV", "FL", "FD"), 0),
    "AS": "000Y",
    "UR": "http://removed.invalid",
    "TM": "000000",
}
_BYTES = frozenset({"OB", "OW", "OF", "OD", "OL", "OV"})
_BURNED_IN_MODALITIES = frozenset({"US", "IVUS", "XC", "ES", "OT", "SC", "GM", "OP", "DOC", "ECG"})
_FACES = frozenset({"MR", "CT", "PT"})
_HEAD = re.compile(r"head|brain|skull|face|neck|orbit|sinus|tbi|dementia|stroke|头|颅|脑|面|颈", re.IGNORECASE)
_DOCUMENTS = ("1.2.840.10008.5.1.4.1.1.104.", "1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.9.")
"""Encapsulated documents, structured reports and waveforms: they need profiles of their own."""
_STANDARD = "1.2.840.10008."
"""Root of the UIDs that the standard gives out: classes and syntaxes, never an instance."""
_PIXELS = 0x7FE0
_SECONDARY = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A file that may leave, as far as its attributes go."""

    dataset: FileDataset
    removed: int
    """Attributes that are gone or empty."""
    needs_defacing: bool
    """A head in slices: the face can be made from them (option 113102), which is not done here."""


@dataclass(slots=True)
class _Work:
    project: Project
    shift: timedelta
    patient: str
    removed: int = 0


def deidentify(original: FileDataset, project: Project) -> Cleaned:
    """Return a copy without identity; the original is left as it is.

    Raises:
        Refused: identity may be in its pixels or in a document inside, it cannot be walked through, or some of the
            patient's own words were found in what is left.
    """
    _refuse_what_attributes_cannot_clean(original)
    patient = str(
        original.get("PatientID", "") or original.get("PatientName", "") or original.get("StudyInstanceUID", "")
    )
    work = _Work(project, timedelta(days=project.shift_days(patient)), project.code("patient", patient))
    secrets = _secrets(original)
    cleaned = FileDataset("", _plain_copy(original), file_meta=_meta(original, work), preamble=b"\0" * 128)
    implicit, little = original.original_encoding
    cleaned.set_original_encoding(implicit, little, original.original_character_set)
    _clean(cleaned, work, 0)
    _say_so(cleaned, work)
    _refuse_what_is_left(cleaned, secrets)
    _refuse_bytes_that_are_left(cleaned, _old_uids(original))
    return Cleaned(cleaned, work.removed, _shows_a_face(original))


def written(cleaned: Cleaned) -> bytes:
    """Return the file as it leaves, in the transfer syntax that it came in."""
    buffer = io.BytesIO()
    cleaned.dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _refuse_what_attributes_cannot_clean(dataset: Dataset) -> None:
    kind = str(dataset.get("SOPClassUID", ""))
    modality = str(dataset.get("Modality", ""))
    says = str(dataset.get("BurnedInAnnotation", "")).upper()
    if not kind or not dataset.get("SOPInstanceUID"):
        raise Refused("no-object")
    if kind.startswith(_DOCUMENTS):
        raise Refused("document")
    is_suspect = modality in _BURNED_IN_MODALITIES or kind.startswith(_SECONDARY)
    if says == "YES" or (is_suspect and says != "NO" and "PixelData" in dataset):
        raise Refused("burned-in")


def _plain_copy(original: Dataset) -> Dataset:
    try:
        return Dataset(copy.deepcopy(dict(original.items())))
    except RecursionError as error:
        raise Refused("too-deep") from error


def _meta(original: FileDataset, work: _Work) -> FileMetaDataset:
    """Make the head of the file anew: the old one names the sender."""
    meta = FileMetaDataset()
    found = getattr(original, "file_meta", None) or FileMetaDataset()
    syntax = UID(str(found.get("TransferSyntaxUID", "")))
    if syntax not in AllTransferSyntaxes:
        raise Refused("syntax")
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = UID(str(original.get("SOPClassUID", "")))
    meta.MediaStorageSOPInstanceUID = UID(work.project.uid(str(original.get("SOPInstanceUID", ""))))
    return meta


def _clean(dataset: Dataset, work: _Work, depth: int) -> None:
    if depth > DEEPEST:
        raise Refused("too-deep")
    for tag in list(dataset.keys()):
        if tag.is_private or (tag.group >> 8 in (0x50, 0x60) and tag.group % 2 == 0):
            _remove(dataset, tag, work)
            continue
        _clean_one(dataset, dataset[tag], work, depth)


def _clean_one(dataset: Dataset, element: DataElement, work: _Work, depth: int) -> None:
    tag, act = element.tag, TABLE.get(int(element.tag))
    if int(tag) in _BIRTH:
        element.value = ""
    elif int(tag) in _CHARACTERISTICS:
        _cap_age(element)
    elif element.VR == "TM":
        pass  # days are moved whole, so the time of day tells no more than the interval does
    elif element.VR in ("DA", "DT"):
        _move(element, work.shift)
    elif act is Act.REMOVE or (act is None and element.VR in _WORDS):
        _remove(dataset, tag, work)
    elif act is Act.EMPTY:
        element.clear()
        work.removed += 1
    elif element.VR == "SQ":
        for item in element.value:
            _clean(item, work, depth + 1)
    elif element.VR == "UI":
        _each(element, lambda text: text if text.startswith(_STANDARD) else work.project.uid(text))
    elif act is not None:
        work.removed += 1
        element.value = b"" if element.VR in _BYTES else _DUMMY_OF.get(element.VR, "")


def _remove(dataset: Dataset, tag: BaseTag, work: _Work) -> None:
    del dataset[tag]
    work.removed += 1


def _each(element: DataElement, change: Callable[[str], str]) -> None:
    if isinstance(element.value, MultiValue):
        element.value = [change(str(one)) for one in element.value]
    elif element.value:
        element.value = change(str(element.value))


def _cap_age(element: DataElement) -> None:
    """Nobody is older than 90 (HIPAA Safe Harbor); what is no age at all goes."""
    if element.VR != "AS" or not element.value:
        return
    text = str(element.value)
    if not re.fullmatch(r"\d{3}[DWMY]", text, re.ASCII):
        element.value = ""
    elif text[3] == "Y" and int(text[:3]) > OLDEST_SHOWN_YEARS:
        element.value = f"{OLDEST_SHOWN_YEARS + 1:03d}Y"


def _move(element: DataElement, shift: timedelta) -> None:
    """Move a date by whole days; one that cannot be read goes."""
    _each(element, lambda text: _moved(text, shift))


def _moved(text: str, shift: timedelta) -> str:
    found = re.fullmatch(r"(\d{4})\.?(\d{2})\.?(\d{2})(\d{0,6}(?:\.\d{1,6})?(?:[+-]\d{4})?)", text.strip(), re.ASCII)
    try:
        if found is None:
            return ""
        return (date(*map(int, found.groups()[:3])) + shift).strftime("%Y%m%d") + found[4]
    except (ValueError, OverflowError):
        return ""


def _say_so(dataset: Dataset, work: _Work) -> None:
    dataset.PatientName = work.patient
    dataset.PatientID = work.patient
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = METHOD
    items = []
    for value, meaning in CODES:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        items.append(item)
    dataset.DeidentificationMethodCodeSequence = items
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"


def _secrets(dataset: Dataset) -> frozenset[str]:
    """Return the patient's own words, in lower case: their names, numbers and birth date."""
    found: set[str] = set()
    for name in ("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName"):
        for written_as in (one for text in _values(dataset, name) for one in re.split(r"[=\\]", text)):
            found.update(one for one in _spellings(written_as) if _tells(one, 3))
    for name in ("PatientID", "OtherPatientIDs", "AccessionNumber", "PatientBirthDate", "IssuerOfPatientID"):
        found.update(part for text in _values(dataset, name) for part in text.split("\\") if _tells(part, 4))
    return frozenset(one.lower() for one in found)


def _values(dataset: Dataset, name: str) -> list[str]:
    value = dataset.get(name, "")
    return [str(one) for one in value] if isinstance(value, MultiValue) else [str(value)]


def _spellings(name: str) -> Iterator[str]:
    """Yield the parts of a name, and family and given name together, in either order, with and without a space."""
    yield from re.split(r"[\^,\s]+", name)
    halves = [half.strip() for half in re.split(r"[\^,]", name) if half.strip()]
    for one, other in permutations((halves if len(halves) > 1 else name.split())[:2], 2):
        yield one + other
        yield f"{one} {other}"


def _tells(secret: str, least: int) -> bool:
    """True where a word is long enough to be somebody's; two letters of a script without spaces are."""
    return len(secret) >= (least if secret.isascii() else 2)


def _stands_in(secret: str, low: str) -> bool:
    """True where a text holds a word; scripts without spaces have no borders of words to go by."""
    return bool(re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", low)) if secret.isascii() else secret in low


def _refuse_what_is_left(dataset: Dataset, secrets: frozenset[str]) -> None:
    for text in _texts(dataset):
        low = text.lower()
        if any(_stands_in(secret, low) for secret in secrets):
            raise Refused("identity-left")


def _old_uids(original: Dataset) -> frozenset[bytes]:
    found = (str(original.get(name, "")) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
    return frozenset(one.encode() for one in found if one)


def _refuse_bytes_that_are_left(dataset: FileDataset, uids: frozenset[bytes]) -> None:
    """Look through everything but the pixels: a broken file may hold other elements inside of a number."""
    rest = FileDataset("", {tag: one for tag, one in dataset.items() if tag.group != _PIXELS})
    implicit, little = dataset.original_encoding
    rest.set_original_encoding(implicit, little, dataset.original_character_set)
    buffer = io.BytesIO()
    rest.save_as(buffer, implicit_vr=bool(implicit), little_endian=bool(little))
    data = buffer.getvalue()
    if any(re.search(rb"(?<![0-9.])" + re.escape(uid) + rb"(?![0-9.])", data) for uid in uids):
        raise Refused("identity-left")


def _texts(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _texts(item)
        elif element.VR not in _BYTES and element.VR != "UI" and element.value is not None:
            yield str(element.value)


def _shows_a_face(dataset: Dataset) -> bool:
    where = " ".join(
        str(dataset.get(name, ""))
        for name in (
            "BodyPartExamined",
            "StudyDescription",
            "SeriesDescription",
            "ProtocolName",
            "RequestedProcedureDescription",
        )
    )
    # A head is not always named: without a word about the body it is taken for one.
    return str(dataset.get("Modality", "")) in _FACES and (not where.strip() or bool(_HEAD.search(where)))
