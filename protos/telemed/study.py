"""What edge and hub must agree upon about a study on its way: the manifest that names its files.  Pure.

The files of a study are transferred one by one in one group, whose id is the study's id at the node.  The manifest is
one of them, named MANIFEST_NAME and sent ahead as a preview; one with a higher generation replaces the one before.
"""

import json
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

MANIFEST_NAME, KEY_IMAGE_NAME, OBJECT_NAME = "study-manifest.json", "key-image.jpg", "object.dcm"
"""What the files of a study are called on their way; none of it says whose they are."""
KEY_IMAGE_NAMES = frozenset({KEY_IMAGE_NAME, "key-image.png"})
"""The other one is what older nodes send."""
FORMAT = 1
MANIFEST_LIMIT_BYTES = 16 * 1024 * 1024


class ManifestUnreadable(ValueError):
    """A manifest that is none, or of a newer format; the message says why without any value of it."""


class ManifestTooLarge(ValueError):
    """A study of more objects than a manifest can name; some 35,000."""


@dataclass(frozen=True, slots=True)
class StudyObject:
    """One content of one object of a study."""

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    transfer_syntax: str
    sha256: str
    """Of the file that brings it, in hex: its name as a transfer."""
    size_bytes: int
    version: int = 1
    """1 is what came first under its UID; a higher one is another content, and a person must look."""
    modality: str = ""
    series_description: str = ""
    series_number: str = ""
    instance_number: str = ""
    rows: int = 0
    columns: int = 0
    frames: int = 0
    fault: str = ""
    """Why no picture is made of it; empty where one can be tried."""


@dataclass(frozen=True, slots=True)
class StudyManifest:
    """A study as its node holds it."""

    study_id: str
    """UUIDv7 of the node; the group of its files."""
    study_uid: str
    """Study Instance UID; empty where its objects name none."""
    generation: int
    person_id: str = ""
    """Of the site's person; empty while nobody has decided whose it is."""
    assigned_by: str = ""
    patient_id: str = ""
    issuer: str = ""
    study_date: str = ""
    description: str = ""
    is_mixed: bool = False
    """Its objects name more than one patient."""
    key_image_sha256: str = ""
    """SHA-256 of the file KEY_IMAGE_NAME; empty where none can be made."""
    objects: tuple[StudyObject, ...] = field(default_factory=tuple)


def pack(manifest: StudyManifest) -> bytes:
    """Return a manifest as it is sent: the same one gives the same bytes.

    Raises:
        ManifestTooLarge: nobody would read it.
    """
    told = {"format": FORMAT, **asdict(manifest)}
    raw = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    if len(raw) > MANIFEST_LIMIT_BYTES:
        raise ManifestTooLarge(f"{len(manifest.objects)} objects")
    return raw


def unpack(raw: bytes) -> StudyManifest:
    """Return what a manifest says; fields of a newer version are passed over.

    Raises:
        ManifestUnreadable: it is none.
    """
    if len(raw) > MANIFEST_LIMIT_BYTES:
        raise ManifestUnreadable("too large")
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ManifestUnreadable("no JSON") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT or not isinstance(told.get("objects"), list):
        raise ManifestUnreadable("no manifest of a known format")
    objects = tuple(StudyObject(**_known(StudyObject, each)) for each in told.pop("objects"))
    return StudyManifest(**_known(StudyManifest, told), objects=objects)


def _known(kind: type, told: object) -> dict[str, Any]:
    """Return the fields of a kind, each of its own type."""
    if not isinstance(told, dict):
        raise ManifestUnreadable("an object is none")
    found: dict[str, Any] = {}
    for each in fields(kind):
        if each.name in told and each.name != "objects":
            if type(told[each.name]) is not each.type:
                raise ManifestUnreadable(f"{each.name} is of another type")
            found[each.name] = told[each.name]
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ManifestUnreadable(f"{each.name} is missing")
    return found
