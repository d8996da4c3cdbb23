"""A recording as stretches of one second, in order, with what is missing named."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edge_node.samples.measurement import Channel

STRETCH_S = 1.0
LONGEST_GAP_S = 5.0
"""A longer gap in a recording is shortened to this when it is played; the gap itself is named."""
NUMERICS_BELOW_HZ = 2.0
"""Signals slower than this are numerics, not waves."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A numeric value of a recording."""

    measure: str
    value: str
    """Decimal text in `unit`; empty where the recording has none here."""
    unit: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """At most one second of a recording."""

    start_s: float
    """Time since the recording's begin."""
    length_s: float
    channels: tuple[Channel, ...] = ()
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that the recording names but does not hold."""

    where: str
    """Segment or signal, by its name in the header."""
    why: str
    """"file absent", "not recorded", "gap", "file ends early", "no such measure"."""
    start_s: float
    length_s: float

    def __str__(self) -> str:
        return f"{self.where}: {self.why} ({self.length_s:g} s from {self.start_s:g} s)"


class Source(Protocol):
    """A file format."""

    @property
    def length_s(self) -> float:
        """Length of the whole recording, gaps included."""

    def missing(self) -> list[Missing]:
        """What cannot be played, by name."""

    def stretches(self) -> Iterator[Stretch]:
        """What can be played, in order of time."""

    def close(self) -> None:
        """Close what is open."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A stretch with its place in the replay, where long gaps are shortened."""

    at_s: float
    stretch: Stretch


def played(source: Source) -> Iterator[Timed]:
    """Stretches with the time since the begin of the replay."""
    at_s = end_s = 0.0
    for stretch in source.stretches():
        gap_s = stretch.start_s - end_s
        at_s += min(gap_s, max(LONGEST_GAP_S, stretch.length_s)) if gap_s > 0 else gap_s
        yield Timed(at_s, stretch)
        at_s += stretch.length_s
        end_s = stretch.start_s + stretch.length_s


def replay_length_s(source: Source) -> float:
    """How long the replay lasts at speed 1; reads headers and sizes, not the samples, where the format allows."""
    gone = [part for part in source.missing() if part.why in ("gap", "file absent")]
    return max(0.0, source.length_s - sum(max(0.0, part.length_s - LONGEST_GAP_S) for part in gone))


def anchor_ns(now_ns: int, length_s: float, speed: float) -> int:
    """Time that the replay's begin is given: at speed 1 now, faster so early that no sample lies in the future."""
    if speed == 1:
        return now_ns
    whole_ns = round(length_s * 1e9)
    return now_ns - (whole_ns if speed == 0 else round(whole_ns * (1 - 1 / speed)))


def is_edf(path: Path) -> bool:
    """True where the name says EDF or BDF."""
    return path.suffix.lower() in (".edf", ".bdf")
