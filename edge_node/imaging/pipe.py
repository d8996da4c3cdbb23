"""What the node's process and a receiver say to each other: one JSON object a line, over pipes."""

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from edge_node.imaging.content import FIELDS, NUMBERS, TEXT_LIMIT_CHARS, Content

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

    pid: int


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
    detail: dict[str, int] = field(default_factory=dict)


Line = Configure | Ready | Stored | Judged | Refused
_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Configure, Ready, Stored, Judged, Refused)}


def pack(line: Line) -> bytes:
    """Return one line with its end."""
    return json.dumps({"type": type(line).__name__.lower(), **asdict(line)}, ensure_ascii=False).encode() + b"\n"


def unpack(raw: bytes) -> Line:
    """Return what one line says.

    Raises:
        ValueError: not a line of ours.
    """
    try:
        fields = json.loads(raw)
        kind = _KINDS[fields.pop("type")]
        if kind is Stored:
            fields["content"] = Content(**fields["content"])
            _check(fields)
        line: Line = kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a line between node and receiver") from error
    return line


def _check(fields: dict[str, Any]) -> None:
    """Hold a receiver to what it may say: it is the process that strangers speak to."""
    content = fields["content"]
    texts = [fields["sha256"], fields["transfer_syntax"], fields["sender"]]
    texts += [getattr(content, name) for name in FIELDS if name not in NUMBERS]
    numbers = [fields["number"], fields["size_bytes"], *(getattr(content, name) for name in NUMBERS)]
    if not all(isinstance(text, str) and len(text) <= TEXT_LIMIT_CHARS for text in texts):
        raise ValueError("no text where one must be")
    if not all(isinstance(number, int) and 0 <= number < 2**53 for number in numbers):
        raise ValueError("no number where one must be")
    if not re.fullmatch(r"[0-9a-f]{64}", fields["sha256"]):
        raise ValueError("no hash")
