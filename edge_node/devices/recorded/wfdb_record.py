"""A WFDB record, single or of several segments, as a source of stretches; nothing is read before it is played."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from edge_node.devices.recorded import naming, wfdb_header, wfdb_samples
from edge_node.devices.recorded.timeline import (
    NUMERICS_BELOW_HZ,
    STRETCH_S,
    Missing,
    Reading,
    Stretch,
)
from edge_node.devices.recorded.wfdb_header import Header, RecordRefused, SignalSpec
from edge_node.devices.recorded.wfdb_samples import Digits
from edge_node.samples.measurement import Channel

_GAP = "~"


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of frames with one set of signals and gains."""

    name: str
    folder: Path
    signals: tuple[SignalSpec, ...]
    start_frame: int
    frames: int
    """Frames that are really in the files."""

    def digits(self, first_frame: int, frames: int) -> list[Digits]:
        """Digits of every signal; `first_frame` counts within the segment."""
        found: list[Digits] = []
        for file, group in groupby(self.signals, key=lambda signal: signal.file):
            found += wfdb_samples.read(self.folder / file, list(group), first_frame, frames)
        return found


class WfdbRecord:
    """A record by the path of its header (.hea may be left out).

    Raises:
        RecordRefused: no header, or one that cannot be read; also OSError where a file cannot be.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self.name = path.name.removesuffix(".hea")
        self._header = self._read(self.name)
        if self._header is None:
            raise RecordRefused(f"there is no header {self.name}.hea")
        self.rate_hz = self._header.rate_hz
        self._missing: list[Missing] = []
        self.segments = tuple(self._segments(self._header))

    @property
    def length_s(self) -> float:
        """Length of the whole record, gaps included."""
        assert self._header is not None
        told = self._header.frames
        ends = [segment.start_frame + segment.frames for segment in self.segments]
        return (told or max(ends, default=0)) / self.rate_hz

    @property
    def is_numeric(self) -> bool:
        """True where the record holds numerics (1 a minute or a second), not waves."""
        return self.rate_hz < NUMERICS_BELOW_HZ

    def missing(self) -> list[Missing]:
        """Segments, channels and measures that the record names but does not hold."""
        return list(self._missing)

    def stretches(self) -> Iterator[Stretch]:
        """One second each, cut where a segment ends; numerics one frame each."""
        for segment in self.segments:
            yield from self._numerics(segment) if self.is_numeric else self._waves(segment)

    def close(self) -> None:
        """Nothing: files are open only while they are read."""

    @cached_property
    def _layout(self) -> tuple[str, ...]:
        """Names of all signals of a record with a variable layout."""
        assert self._header is not None
        first = self._header.segments[0] if self._header.segments else None
        layout = self._read(first.name) if first is not None and first.frames == 0 else None
        return tuple(signal.name for signal in layout.signals) if layout else ()

    def _read(self, name: str) -> Header | None:
        path = self._folder / f"{name}.hea"
        if not path.is_file():
            return None
        return wfdb_header.read(path.read_text(encoding="utf-8", errors="replace"))

    def _segments(self, header: Header) -> Iterator[Segment]:
        if not header.segments:
            yield from self._segment(header, self.name, 0, header.frames)
            return
        start = 0
        for spec in header.segments:
            inner = self._read(spec.name) if spec.name != _GAP else None
            if inner is not None and spec.frames:
                yield from self._segment(inner, spec.name, start, spec.frames)
            elif spec.frames:
                self._miss(spec.name, "gap" if spec.name == _GAP else "file absent", start, spec.frames)
            start += spec.frames

    def _segment(self, header: Header, name: str, start: int, told: int | None) -> Iterator[Segment]:
        sizes = []
        for file, group in groupby(header.signals, key=lambda signal: signal.file):
            path = self._folder / file
            sizes.append(wfdb_samples.frames_in(path, list(group)) if path.is_file() else 0)
        held = min(sizes, default=0)
        frames = held if told is None else min(held, told)
        if told is not None and frames < told:
            why = "file ends early" if frames else "file absent"
            self._miss(name, why, start + frames, told - frames)
        for lead in self._layout:
            if lead not in {signal.name for signal in header.signals}:
                self._miss(f"{name}/{lead}", "not recorded", start, frames)
        if frames:
            self._note_unknown(header, start, frames)
            yield Segment(name, self._folder, header.signals, start, frames)

    def _note_unknown(self, header: Header, start: int, frames: int) -> None:
        if not self.is_numeric:
            return
        for signal in header.signals:
            if naming.numeric_measure(signal.name) is None:
                self._miss(signal.name, "no such measure", start, frames)

    def _miss(self, where: str, why: str, start: int, frames: int) -> None:
        self._missing.append(Missing(where, why, start / self.rate_hz, frames / self.rate_hz))

    def _waves(self, segment: Segment) -> Iterator[Stretch]:
        measures = naming.wave_measures([signal.name for signal in segment.signals])
        end = segment.start_frame + segment.frames
        at = segment.start_frame
        while at < end:
            # Cut at whole seconds of the record, so that pieces of short segments do not overlap.
            second = int(at / self.rate_hz / STRETCH_S + 1e-9) + 1
            until = min(end, max(at + 1, round(second * STRETCH_S * self.rate_hz)))
            digits = segment.digits(at - segment.start_frame, until - at)
            channels = tuple(
                self._channel(signal, measure, piece)
                for signal, measure, piece in zip(segment.signals, measures, digits, strict=True)
            )
            yield Stretch(at / self.rate_hz, (until - at) / self.rate_hz, channels)
            at = until

    def _channel(self, signal: SignalSpec, measure: str, digits: Digits) -> Channel:
        return Channel(
            measure=measure,
            rate_hz=self.rate_hz * signal.per_frame,
            digits=digits,
            gain=signal.gain,
            baseline=float(signal.baseline),
            unit=naming.unit_of(signal.unit),
            label=signal.name,
            invalid_digits=(wfdb_samples.INVALID_DIGIT[signal.format],),
        )

    def _numerics(self, segment: Segment) -> Iterator[Stretch]:
        columns = segment.digits(0, segment.frames)
        for frame in range(segment.frames):
            readings = []
            for signal, column in zip(segment.signals, columns, strict=True):
                measure = naming.numeric_measure(signal.name)
                if measure is None:
                    continue
                digit = int(column[frame * signal.per_frame])
                invalid = digit == wfdb_samples.INVALID_DIGIT[signal.format]
                text = "" if invalid else naming.exact_text(digit, signal.baseline, signal.gain)
                readings.append(Reading(measure, text, naming.unit_of(signal.unit)))
            start_s = (segment.start_frame + frame) / self.rate_hz
            yield Stretch(start_s, 1 / self.rate_hz, readings=tuple(readings))
