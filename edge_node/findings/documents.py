"""What the writer of results is told, over its standard input: of which images, by which model, and what was found."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from edge_node.findings.pipe import Found


@dataclass(frozen=True, slots=True)
class ModelSaid:
    """Which model, run by what, and what every output of it bears."""

    task: str
    version: str
    bundle_id: str
    weights_sha256: str
    training_data: str
    threshold: float
    engine: str
    limits: tuple[str, str]
    """Chinese, English."""
    marks: list[tuple[str, str]]
    is_for_research: bool


@dataclass(frozen=True, slots=True)
class Write:
    """One study's results, or why there are none."""

    folder: str
    """Of the node's images, where objects are put."""
    magnitude: list[str]
    """Paths of the images that were read, from the feet to the head; one of its images where a study was not read."""
    phase: list[str]
    names: tuple[str, str, str]
    """Study Instance UID, bundle and digest of the images: of these all UIDs are made."""
    model: ModelSaid
    findings: list[Found]
    summary: tuple[str, str]
    """What the findings say together, Chinese and English; of a study that was not read, why."""
    reason: str
    """Code why it was not read; empty where it was."""
    made_at: str
    """ISO 8601 with its offset."""
    node: str
    memory_mib: int


def pack(write: Write) -> bytes:
    """Return it as one line."""
    return json.dumps(asdict(write), ensure_ascii=False).encode() + b"\n"


def unpack(raw: bytes) -> Write:
    """Return what a line says; it is the node that says it.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    said: dict[str, Any] = json.loads(raw)
    model = said["model"]
    marks = [(zh, en) for zh, en in model["marks"]]
    model = ModelSaid(**model | {"limits": tuple(model["limits"]), "marks": marks})
    findings = [Found(**each | {"centre_mm": tuple(each["centre_mm"])}) for each in said["findings"]]
    return Write(
        **said
        | {"model": model, "findings": findings, "names": tuple(said["names"]), "summary": tuple(said["summary"])}
    )
