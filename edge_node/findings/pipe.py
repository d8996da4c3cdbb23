"""What the node's process and a reader of studies say to each other: a line of JSON, and arrays as bytes behind it.

The reader opens what strangers sent, so that nothing it says is more than numbers and short words: the node knows
shapes and types from the manifest, and names series and models itself.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

LINE_LIMIT_BYTES = 512 * 1024
FINDINGS_LIMIT = 1000
_WORD_CHARS, _TEXT_CHARS = 64, 200


@dataclass(frozen=True, slots=True)
class Ask:
    """First line to a reader: what it is to read."""

    rules: dict[str, Any]
    """Of the task, as `rules.TaskRules` has them."""
    files: list[tuple[str, str]]
    """Path and SOP Instance UID."""
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Go:
    """To a reader: this model reads it; the text is the manifest."""

    manifest: str


@dataclass(frozen=True, slots=True)
class Ran:
    """To a reader: the graph's outputs stand behind, in the order of the manifest."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """From a reader: the study is not of the task's kind."""


@dataclass(frozen=True, slots=True)
class Fits:
    """From a reader: these images, from the feet to the head, are what the model is given."""

    magnitude: list[str]
    phase: list[str]


@dataclass(frozen=True, slots=True)
class Refused:
    """From a reader: it cannot be read; one of `reasons.Reason`, and a detail without any value of a patient."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Run:
    """From a reader: run this graph; its inputs stand behind, in the order of the manifest."""

    graph: str


@dataclass(frozen=True, slots=True)
class Found:
    """One finding."""

    code: str
    centre_mm: tuple[float, float, float]
    diameter_mm: float
    confidence: float
    key_image_uid: str
    """Empty where no image shows it."""
    region: str
    """Empty where the task knows none."""


@dataclass(frozen=True, slots=True)
class Told:
    """From a reader, its last line: what the model found, likeliest first."""

    findings: list[Found]
    rejected: int
    """Places that were left out because no brain tissue is around them."""
    summary: tuple[str, str]
    """What they say together, Chinese and English."""


Line = Ask | Go | Ran | Unfit | Fits | Refused | Run | Told
_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in (Ask, Go, Ran, Unfit, Fits, Refused, Run, Told)}


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
        if kind is Told:
            fields["findings"] = [_found(each) for each in _list(fields["findings"], FINDINGS_LIMIT)]
            fields["summary"] = (_text(fields["summary"][0]), _text(fields["summary"][1]))
            fields["rejected"] = int(fields["rejected"])
        if kind is Fits:
            fields = {name: [_word(uid) for uid in _list(fields[name], 2**14)] for name in ("magnitude", "phase")}
        if kind in (Refused, Run):
            fields = {name: _text(value) for name, value in fields.items()}
        if kind is Ask:
            fields["files"] = [(path, uid) for path, uid in fields["files"]]
        line: Line = kind(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a line between node and reader") from error
    return line


def _found(said: dict[str, Any]) -> Found:
    x_mm, y_mm, z_mm = (_number(each) for each in said["centre_mm"])
    confidence = _number(said["confidence"])
    if not 0 <= confidence <= 1:
        raise ValueError("no probability")
    return Found(
        _word(said["code"]), (x_mm, y_mm, z_mm), _number(said["diameter_mm"]), confidence,
        _word(said["key_image_uid"]), _word(said["region"]),
    )  # fmt: skip


def _list(said: object, limit: int) -> Sequence[Any]:
    if not isinstance(said, list) or len(said) > limit:
        raise ValueError("no list, or too long")
    return said


def _number(said: object) -> float:
    if not isinstance(said, int | float) or not math.isfinite(said):
        raise ValueError("no number")
    return float(said)


def _word(said: object) -> str:
    if not isinstance(said, str) or len(said) > _WORD_CHARS:
        raise ValueError("no word")
    return said


def _text(said: object) -> str:
    if not isinstance(said, str) or len(said) > _TEXT_CHARS:
        raise ValueError("no text")
    return said
