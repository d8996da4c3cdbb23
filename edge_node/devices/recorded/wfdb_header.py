"""WFDB header files (.hea), pure: text into what the signals and segments are."""

import math
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

DEFAULT_GAIN = 200.0
DEFAULT_RATE_HZ = 250.0
_LARGEST_RATE_HZ = 1e6
_LARGEST_FRAME = 10_000
"""Samples of one signal in a frame."""
_LARGEST = 2**40
"""Frames, bytes or digits: beyond what any recording has."""
_RECORD = re.compile(r"(?P<name>[^/\s]+)(?:/(?P<segments>\d+))?")
_FORMAT = re.compile(r"(?P<format>\d+)(?:x(?P<per_frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?")
_GAIN = re.compile(r"(?P<gain>-?[\d.]+(?:[eE][-+]?\d+)?)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?")


class RecordRefused(ValueError):
    """The record cannot be played; the text says why."""


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One signal line of a header."""

    file: str
    """Name of the data file, "~" where a layout stands for no data."""
    format: int
    per_frame: int
    offset_bytes: int
    gain: float
    baseline: int
    unit: str
    checksum: int | None
    name: str


@dataclass(frozen=True, slots=True)
class SegmentSpec:
    """One segment line of a multi-segment header; name "~" is a gap."""

    name: str
    frames: int


@dataclass(frozen=True, slots=True)
class Header:
    """A header; it has either signals or segments."""

    name: str
    rate_hz: float
    frames: int | None
    """Frames a signal; None where the header does not say."""
    signals: tuple[SignalSpec, ...]
    segments: tuple[SegmentSpec, ...]
    comments: tuple[str, ...]


def read(text: str) -> Header:
    """Read a header.

    Raises:
        RecordRefused: no record line, or a line that cannot be understood.
    """
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith("#")]
    comments = tuple(line[1:].strip() for line in lines if line.startswith("#"))
    if not told:
        raise RecordRefused("the header has no record line")
    words = told[0].split()
    match = _RECORD.fullmatch(words[0])
    if match is None or len(words) < 2:
        raise RecordRefused("the record line cannot be read")
    try:
        rate_hz = float(re.split(r"[/(]", words[2])[0]) if len(words) > 2 else DEFAULT_RATE_HZ
        frames = int(words[3]) if len(words) > 3 else None
        segments: tuple[SegmentSpec, ...] = ()
        signals: tuple[SignalSpec, ...] = ()
        if match["segments"]:
            segments = tuple(_segment(line) for line in told[1 : 1 + int(match["segments"])])
        else:
            signals = tuple(_signal(line) for line in told[1 : 1 + int(words[1])])
        _check(rate_hz, [frames or 0, *(segment.frames for segment in segments)])
    except (ValueError, IndexError) as error:
        raise RecordRefused(f"the header of {match['name']} cannot be read") from error
    return Header(match["name"], rate_hz or DEFAULT_RATE_HZ, frames or None, signals, segments, comments)


def _check(rate_hz: float, frames: list[int]) -> None:
    if not 0 <= rate_hz <= _LARGEST_RATE_HZ or not 0 <= min(frames) <= max(frames) <= _LARGEST:
        raise ValueError("a rate or a length that no recording has")


def _segment(line: str) -> SegmentSpec:
    name, frames = line.split()[:2]
    return SegmentSpec(_plain_name(name), int(frames))


def _signal(line: str) -> SignalSpec:
    words = line.split(None, 8)
    form = _FORMAT.fullmatch(words[1])
    if form is None:
        raise ValueError(line)
    gain = _GAIN.fullmatch(words[2]) if len(words) > 2 else None
    zero = int(words[4]) if len(words) > 4 else 0
    spec = SignalSpec(
        file=_plain_name(words[0]),
        format=int(form["format"]),
        per_frame=int(form["per_frame"] or 1),
        offset_bytes=int(form["offset"] or 0),
        gain=(float(gain["gain"]) if gain else 0.0) or DEFAULT_GAIN,
        baseline=int(gain["baseline"]) if gain and gain["baseline"] else zero,
        unit=(gain["unit"] if gain else None) or "mV",
        checksum=int(words[6]) if len(words) > 6 else None,
        name=words[8].strip() if len(words) > 8 else "",
    )
    if not 1 <= spec.per_frame <= _LARGEST_FRAME or spec.offset_bytes > _LARGEST or abs(spec.baseline) > _LARGEST:
        raise ValueError(line)
    if not math.isfinite(spec.gain):
        raise ValueError(line)
    return spec


def _plain_name(name: str) -> str:
    # A header must not lead out of its own folder.
    if PurePosixPath(name).name != name or name in ("..", "."):
        raise ValueError(name)
    return name
