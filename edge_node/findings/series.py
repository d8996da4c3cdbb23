"""Which series of a study a task is given.  Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge_node.findings.reasons import NotRead, Reason
from edge_node.findings.rules import Role, TaskRules

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Slice:
    """What one image says of itself; None where it does not."""

    path: str
    sop_instance_uid: str
    number: int
    rows: int
    columns: int
    frames: int
    position_mm: Triple | None
    """Centre of the first pixel, LPS."""
    along_row: Triple | None
    """Direction in which the column grows."""
    along_column: Triple | None
    spacing_mm: tuple[float, float] | None
    """Between rows, between columns."""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One series."""

    series_uid: str
    modality: str
    description: str
    number: int
    image_type: tuple[str, ...]
    manufacturer: str
    frame_of_reference: str
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A magnitude series and the phase that belongs to it."""

    magnitude: Series
    phase: Series


def pairs(series: Sequence[Series], rules: TaskRules) -> tuple[Pair, ...]:
    """Return what fits a task, the longest series first; nothing where the study is not of its kind at all.

    Raises:
        NotRead: there is magnitude without any phase of the same frame of reference.
    """
    own = [each for each in series if each.modality.upper() == rules.modality.upper()]
    in_order = sorted(own, key=lambda each: (-len(each.slices), each.number, each.series_uid))
    phases = [each for each in in_order if plays(each, rules.phase)]
    magnitudes = [each for each in in_order if plays(each, rules.magnitude)]
    found = tuple(
        Pair(magnitude, phase)
        for magnitude in magnitudes
        for phase in _nearest(magnitude, phases)
        if phase.frame_of_reference == magnitude.frame_of_reference
    )
    if magnitudes and not found:
        raise NotRead(Reason.PHASE_MISSING)
    return found


def plays(series: Series, role: Role) -> bool:
    """Whether a series is of a kind."""
    said = {each.upper() for each in series.image_type}
    text = series.description.casefold()
    if said & _upper(role.not_image_type) or any(each.casefold() in text for each in role.not_description):
        return False
    return any(_upper(words) <= said for words in role.image_type) or any(
        each.casefold() in text for each in role.description
    )


def _nearest(magnitude: Series, phases: Iterable[Series]) -> list[Series]:
    """Return phases, those with as many slices and the nearest number first."""
    return sorted(
        phases,
        key=lambda each: (len(each.slices) != len(magnitude.slices), abs(each.number - magnitude.number)),
    )


def _upper(words: Iterable[str]) -> set[str]:
    return {each.upper() for each in words}
