"""An EDF, EDF+C or BDF file as a source of stretches, read by edfio; digits stay those of the file."""

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import edfio
import numpy as np

from edge_node.devices.recorded import naming
from edge_node.devices.recorded.timeline import STRETCH_S, Missing, Stretch
from edge_node.devices.recorded.wfdb_header import RecordRefused
from edge_node.samples.measurement import Channel

_HEAD_BYTES = 256
_RECORDS_AT = slice(236, 244)
_LARGEST_BDF_BYTES = 64 * 2**20
"""Samples of three bytes are widened as a whole when the file is opened, for which five times this is needed."""


class EdfRecord:
    """A file by its path; the patient fields of its header are never read.

    A file that is cut off is played as far as it holds whole data records, and the rest is named as missing.

    Raises:
        RecordRefused: not EDF or BDF, discontinuous (EDF+D), without a whole data record, or a BDF file above 64 MiB.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._signals: tuple[edfio.EdfSignal | edfio.BdfSignal, ...] = ()
        try:
            self._open(path)
        except (OSError, ValueError, LookupError) as error:
            raise RecordRefused(f"{path.name} cannot be read as EDF: {error}") from error

    @property
    def length_s(self) -> float:
        """Length of the recording as its header tells it, what is cut off included."""
        return self._record_s * self._layout.records_told

    def missing(self) -> list[Missing]:
        """What the header names but the file, cut off, no longer holds."""
        cut_s = self.length_s - self._held_s
        return [Missing(self.name, "file ends early", self._held_s, cut_s)] if cut_s > 0 else []

    def close(self) -> None:
        """Let go of the file."""
        self._signals = ()

    def stretches(self) -> Iterator[Stretch]:
        """One second each, the last one shorter where the file ends within a second."""
        measures = naming.wave_measures([signal.label for signal in self._signals])
        for second in range(math.ceil(self._held_s / STRETCH_S - 1e-9)):
            start_s = second * STRETCH_S
            length_s = min(STRETCH_S, self._held_s - start_s)
            channels = tuple(
                channel
                for signal, measure in zip(self._signals, measures, strict=True)
                if (channel := _channel(signal, measure, start_s, self._held_s)).digits.size
            )
            yield Stretch(start_s, length_s, channels)

    def _open(self, path: Path) -> None:
        with path.open("rb") as file:
            # Pages that are written to are private: only our own view gets the true number of records.
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._layout = layout = _Layout.read(data)
        data[_RECORDS_AT] = b"%-8d" % layout.records
        read = edfio.read_bdf if layout.sample_bytes == 3 else edfio.read_edf
        whole = read(memoryview(data)[: layout.held_bytes], header_encoding="latin-1")
        self._record_s = whole.data_record_duration
        self._held_s = self._record_s * layout.records
        self._signals = whole.signals
        if not all(map(_is_scaled, self._signals)):
            raise ValueError("it has a signal without a range")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the samples of a file lie, judged by its true size: https://www.edfplus.info/specs/edf.html."""

    head_bytes: int
    record_bytes: int
    sample_bytes: int
    """Two in EDF, three in BDF."""
    records: int
    """Whole data records that the file holds; at least one."""
    records_told: int
    """What the header says; the same as `records` where it was never closed and says -1."""

    @property
    def held_bytes(self) -> int:
        return self.head_bytes + self.records * self.record_bytes

    @classmethod
    def read(cls, data: mmap.mmap) -> Self:
        """Read a header; raises ValueError where no whole record lies behind it."""
        signals = int(data[252:256])
        head_bytes = _HEAD_BYTES * (signals + 1)
        if data[192:197] in (b"EDF+D", b"BDF+D"):
            raise ValueError("it has gaps (EDF+D)")
        if not 0 < float(data[244:252]) < math.inf:
            raise ValueError("its data records have no length")
        if not signals > 0 or int(data[184:192]) != head_bytes:
            raise ValueError("its header has another length than it says")
        counts = [int(data[at : at + 8]) for at in range(head_bytes - 40 * signals, head_bytes - 32 * signals, 8)]
        sample_bytes = 3 if data[0] == 0xFF else 2
        record_bytes = sample_bytes * sum(counts)
        if min(counts) < 1 or len(data) < head_bytes + record_bytes:
            raise ValueError("it ends before its first data record does")
        if sample_bytes == 3 and len(data) > _LARGEST_BDF_BYTES:
            raise ValueError("a BDF file is played up to 64 MiB")
        held, told = (len(data) - head_bytes) // record_bytes, int(data[_RECORDS_AT])
        if told == 0:
            raise ValueError("it says that it has no data records")
        told = held if told < 0 else told
        return cls(head_bytes, record_bytes, sample_bytes, min(held, told), told)


def _is_scaled(signal: edfio.EdfSignal | edfio.BdfSignal) -> bool:
    physical = signal.physical_max - signal.physical_min
    return bool(physical and math.isfinite(physical) and signal.digital_max - signal.digital_min)


def _channel(signal: edfio.EdfSignal | edfio.BdfSignal, measure: str, start_s: float, end_s: float) -> Channel:
    rate_hz = signal.sampling_frequency
    first, last = (round(at_s * rate_hz) for at_s in (start_s, min(start_s + STRETCH_S, end_s)))
    gain = (signal.digital_max - signal.digital_min) / (signal.physical_max - signal.physical_min)
    return Channel(
        measure=measure,
        rate_hz=rate_hz,
        digits=np.asarray(signal.get_digital_slice(first / rate_hz, last / rate_hz), np.int32),
        gain=gain,
        baseline=signal.digital_min - signal.physical_min * gain,
        unit=naming.unit_of(signal.physical_dimension),
        label=signal.label,
    )
