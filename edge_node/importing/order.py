"""What the process that converts is told, as one line over its standard input, and what it says of a refusal."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_node import child
from edge_node.importing.reasons import NotImported, Reason

CT, MR, PHOTO, DOCUMENT = "CT", "MR", "XC", "DOC"
LPS, RAS = "LPS", "RAS"
"""To where the axes of a file point that does not say: left, back and head; or right, front and head."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose it is, as the node's roster knows them."""

    patient_id: str
    issuer: str
    name: str
    """As DICOM writes it."""
    birth_date: str
    """YYYYMMDD, or empty."""
    sex: str
    """M, F, O, or empty."""


@dataclass(frozen=True, slots=True)
class Order:
    """One file that is to be made into objects."""

    folder: str
    """Of the node's images, where objects are put."""
    path: str
    """A copy of the file, beside the copy of the one that it names; nobody else writes there."""
    kind: str
    sha256: str
    """Of the file, and of the one that it names."""
    subject: Subject
    modality: str
    """Empty where nobody said."""
    axes: str
    description: str
    study_date: str
    """YYYYMMDD, or empty."""
    node: str
    made_at: str
    """ISO 8601 with its offset."""
    memory_mib: int
    software: str = field(default="")
    """Version of this software."""


@dataclass(frozen=True, slots=True)
class Refused:
    """From the process that converts: it makes nothing of it."""

    reason: str
    detail: str


def pack(order: Order) -> bytes:
    """Return it as one line."""
    return json.dumps(asdict(order), ensure_ascii=False).encode() + b"\n"


def unpack(raw: bytes) -> Order:
    """Return what a line says; it is the node that says it.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    said: dict[str, Any] = json.loads(raw)
    return Order(**said | {"subject": Subject(**said["subject"])})


def refusal(raw: bytes) -> NotImported:
    """Return the refusal that a line says.

    Raises:
        ValueError: it says none.
    """
    said: Refused = child.unpack(raw, child.named(Refused))
    if not isinstance(said.detail, str) or len(said.detail) > 200:
        raise ValueError("no detail")
    return NotImported(Reason(said.reason), said.detail)
