"""What the node's process and a receiver say to each other: one JSON object a line, over pipes."""

import re
from dataclasses import dataclass, field, replace

from edge_node import child
from edge_node.imaging.content import FIELDS, NUMBERS, TEXT_LIMIT_CHARS, Content, is_uid

LINE_LIMIT_BYTES = 64 * 1024
"""Longest line: the texts of an object, escaped, with room."""


@dataclass(frozen=True, slots=True)
class Configure:
    """First line to a receiver: how it is to receive."""

    folder: str
    """Of the objects."""
    ae_title: str
    senders: list[str]
    """AE titles that may call."""
    associations: int
    """At once, in this process."""
    object_limit_bytes: int
    disk_limit_share: float
    stall_s: float
    idle_s: float
    watched: str = ""
    """Folder that is watched for files; empty: none."""
    readers: list[str] = field(default_factory=list)
    """AE titles that may query and move."""
    destinations: dict[str, tuple[str, int]] = field(default_factory=dict)
    """AE title to address and port, of where objects may be moved."""


@dataclass(frozen=True, slots=True)
class Ready:
    """From a receiver: it takes associations."""


@dataclass(frozen=True, slots=True)
class Stored:
    """From a receiver: a file is on disk, and its row is to be committed; answered by `Judged` with the same number."""

    number: int
    sha256: str
    size_bytes: int
    transfer_syntax: str
    sender: str
    content: Content


@dataclass(frozen=True, slots=True)
class Judged:
    """To a receiver: what became of what it stored."""

    number: int
    verdict: str
    """See `judged.Verdict`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """From a receiver: something was refused; the reason is a word that names nobody."""

    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """To a receiver: take this file in; answered by `Taken` with the same number."""

    number: int
    path: str
    sender: str
    study_uid: str = ""
    """The study that it must be of; empty: any."""


@dataclass(frozen=True, slots=True)
class Taken:
    """From a receiver: what became of a file, and what it is."""

    number: int
    status: int
    """See `judged`."""
    sop_class_uid: str = ""
    """Empty, as the others, where the file does not say."""
    study_uid: str = ""
    series_uid: str = ""
    sop_instance_uid: str = ""


Line = Configure | Ready | Stored | Judged | Refused | Look | Taken
_KINDS = child.named(Configure, Ready, Stored, Judged, Refused, Look, Taken)


def pack(line: Line) -> bytes:
    """Return one line with its end."""
    return child.pack(line)


def unpack(raw: bytes) -> Line:
    """Return what one line says.

    Raises:
        ValueError: not a line of ours.
    """
    line: Line = child.unpack(raw, _KINDS)
    try:
        return _checked(line)
    except (ValueError, TypeError) as error:
        raise ValueError("not a line between node and receiver") from error


def _checked(line: Line) -> Line:
    """Hold a receiver to what it may say: it is the process that strangers speak to."""
    if isinstance(line, Refused):
        _check_text(line.reason)
    if isinstance(line, Taken):
        _check_taken(line)
    if not isinstance(line, Stored):
        return line
    line = replace(line, content=Content(**line.content))  # type: ignore[arg-type]
    content = line.content
    for text in (line.sha256, line.transfer_syntax, line.sender):
        _check_text(text)
    for name in FIELDS:
        if name not in NUMBERS:
            _check_text(getattr(content, name))
    numbers = [line.number, line.size_bytes, *(getattr(content, name) for name in NUMBERS)]
    if not all(isinstance(number, int) and 0 <= number < 2**53 for number in numbers):
        raise ValueError("no number where one must be")
    if not re.fullmatch(r"[0-9a-f]{64}", line.sha256):
        raise ValueError("no hash")
    return line


def _check_taken(line: Taken) -> None:
    if not all(isinstance(number, int) and 0 <= number < 2**53 for number in (line.number, line.status)):
        raise ValueError("no number where one must be")
    for uid in (line.sop_class_uid, line.study_uid, line.series_uid, line.sop_instance_uid):
        _check_text(uid)
        if uid and not is_uid(uid):
            raise ValueError("no UID where one must be")


def _check_text(text: object) -> None:
    """Refuse what is no text, or none that can be stored: half of a surrogate pair is a ValueError too."""
    if not isinstance(text, str) or len(text) > TEXT_LIMIT_CHARS:
        raise ValueError("no text where one must be")
    text.encode()
