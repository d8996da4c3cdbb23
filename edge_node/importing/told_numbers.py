"""Numbers that a header must say by itself: in the place of what is missing, the library takes its own.

Of MetaImage and NRRD: blocking, in the converting process alone.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge_node.importing import kinds
from edge_node.importing.kinds import HEAD_BYTES, Kind
from edge_node.importing.reasons import NotImported, Reason

_BETWEEN = re.compile(r"[\s(),]+")


def check(path: Path, kind: Kind, dimensions: int) -> None:
    """Pass where distances are told, and all that is told of how a volume lies is numbers.

    Raises:
        NotImported: they are not.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        told = kinds.entries(kind, file.read(HEAD_BYTES))
    if kind is Kind.META:
        spacing = _first(told, ("elementspacing", "elementsize"))
        places = _first(told, ("offset", "position", "origin"))
        matrix = _first(told, ("transformmatrix", "orientation", "rotation"))
        is_sound = _are(spacing, dimensions) and (not places or _are(places, dimensions))
        is_sound = is_sound and (not matrix or _are(matrix, dimensions**2))
    else:
        spacing, vectors, place = (told.get(name, "") for name in ("spacings", "space directions", "space origin"))
        # Of a list of volumes the last axis has neither.
        is_sound = _count(spacing) >= 3 or _count(vectors) >= 9
        is_sound = is_sound and (not place or _count(place) >= 3)
    if not is_sound:
        raise NotImported(Reason.SPACING_WRONG)


def _first(told: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((told[name] for name in names if name in told), "")


def _are(text: str, count: int) -> bool:
    return _count(text) == count == len(_words(text))


def _count(text: str) -> int:
    """Return how many of the words of a text are numbers."""
    return sum(_is_number(each) for each in _words(text))


def _words(text: str) -> list[str]:
    return [each for each in _BETWEEN.split(text) if each]


def _is_number(word: str) -> bool:
    try:
        return bool(np.isfinite(float(word)))
    except ValueError:
        return False
