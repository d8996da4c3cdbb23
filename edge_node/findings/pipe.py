"""What the node's process and a reader of studies say to each other: a line of JSON, and arrays as bytes behind it.

The reader opens what strangers sent, so that nothing it says is more than numbers and short words: the node knows
shapes and types from the manifest, and names series and models itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_node import child

LINE_LIMIT_BYTES = 512 * 1024
FINDINGS_LIMIT, IMAGES_LIMIT = 1000, 2**14
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
_KINDS = child.named(Ask, Go, Ran, Unfit, Fits, Refused, Run, Told)
pack = child.pack


def unpack(raw: bytes) -> Line:
    """Return what one line says.

    Raises:
        ValueError: not a line of ours.
    """
    line: Line = child.unpack(raw, _KINDS)
    try:
        return _believed(line)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise ValueError("not a line between node and reader") from error


def _believed(line: Line) -> Line:
    match line:
        case Told(findings, rejected, summary):
            zh, en = (_text(each) for each in summary)
            return Told([_found(each) for each in _list(findings, FINDINGS_LIMIT)], int(rejected), (zh, en))
        case Fits(magnitude, phase):
            return Fits(_uids(magnitude), _uids(phase))
        case Refused(reason, detail):
            return Refused(_text(reason), _text(detail))
        case Run(graph):
            return Run(_text(graph))
        case Ask(rules, files, memory_mib):
            return Ask(rules, [(path, uid) for path, uid in files], memory_mib)
        case _:
            return line


def _uids(said: object) -> list[str]:
    return [_word(each) for each in _list(said, IMAGES_LIMIT)]


def _found(said: Any) -> Found:
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
    return _text(said, _WORD_CHARS)


def _text(said: object, limit_chars: int = _TEXT_CHARS) -> str:
    if not isinstance(said, str) or len(said) > limit_chars:
        raise ValueError("no text, or too long")
    # Half of a surrogate pair can stand in JSON and nowhere else.
    said.encode()
    return said
