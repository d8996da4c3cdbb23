"""Reads the hand-written tables, and says what each mark means for each thing that may be asked for."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from telemed.roles import Reach

HERE = Path(__file__).parent
ALLOW, HIDE, FORBID = "allow", "hide", "forbid"
OBJECTS = ("own", "other", "elsewhere", "ended")
"""Of a person one is related to; another person at one's site; another site; a related person whose episode ended."""
TECHNICAL = "technical"
"""An alarm about a device at one's own site."""
OUTCOMES: dict[str, dict[str, str]] = {
    "s": dict.fromkeys((*OBJECTS, TECHNICAL), ALLOW),
    "✔": dict(zip((*OBJECTS, TECHNICAL), (ALLOW, HIDE, HIDE, HIDE, HIDE), strict=True)),
    "✔h": dict(zip((*OBJECTS, TECHNICAL), (ALLOW, HIDE, HIDE, HIDE, HIDE), strict=True)),
    "●": dict(zip((*OBJECTS, TECHNICAL), (ALLOW, ALLOW, HIDE, ALLOW, ALLOW), strict=True)),
    "■": dict(zip((*OBJECTS, TECHNICAL), (ALLOW, ALLOW, ALLOW, ALLOW, ALLOW), strict=True)),
    "■t": dict(zip((*OBJECTS, TECHNICAL), (ALLOW, ALLOW, ALLOW, HIDE, ALLOW), strict=True)),
    "T": dict(zip((*OBJECTS, TECHNICAL), (HIDE, HIDE, HIDE, HIDE, ALLOW), strict=True)),
    "✔–": dict.fromkeys((*OBJECTS, TECHNICAL), FORBID),
    "–●": dict.fromkeys((*OBJECTS, TECHNICAL), FORBID) | {"elsewhere": HIDE},
    "–": dict.fromkeys((*OBJECTS, TECHNICAL), FORBID),
}
REACH_OF: dict[str, Reach | None] = {
    "s": Reach.SELF,
    "✔": Reach.OWN,
    "✔h": Reach.HOME,
    "●": Reach.SITE,
    "■": Reach.REGION,
    "■t": Reach.TREATED,
    "T": Reach.TECHNICAL,
    "–": None,
}


@dataclass(frozen=True, slots=True)
class Route:
    """A row of a table of routes."""

    method: str
    path: str
    kind: str
    """What is asked for: open, self, or the kind of object."""
    marks: dict[str, str]
    """Role to mark."""


def rows(name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a table by the names of their columns."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    yield from csv.DictReader(line for line in lines if not line.startswith("#"))


def routes(name: str) -> list[Route]:
    """Return the rows of a table of routes."""
    return [Route(row.pop("method"), row.pop("path"), row.pop("object"), row) for row in rows(name)]
