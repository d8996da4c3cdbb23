"""An EDF or EDF+ file as a source of stretches, read by pyedflib; digits stay those of the file."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyedflib

from edge_node.devices.recorded import naming
from edge_node.devices.recorded.timeline import STRETCH_S, Missing, Stretch
from edge_node.devices.recorded.wfdb_header import RecordRefused
from edge_node.samples.measurement import Channel


class EdfRecord:
    """A file by its path; the patient fields of its header are never read.

    Raises:
        RecordRefused: not EDF, or discontinuous (EDF+D).
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        try:
            self._file = pyedflib.EdfReader(str(path))
        except OSError as error:
            raise RecordRefused(f"{path.name} cannot be read as EDF") from error
        if not self._file.datarecord_duration > 0 or not self._is_scaled():
            self._file.close()
            raise RecordRefused(f"{path.name} has records without a length, or a signal without a range")
        self._rates_hz = [float(self._file.getSampleFrequency(index)) for index in range(self._file.signals_in_file)]
        self._samples = [int(count) for count in self._file.getNSamples()]
        self._labels = [str(label).strip() for label in self._file.getSignalLabels()]

    @property
    def length_s(self) -> float:
        """Length of the file."""
        return float(self._file.getFileDuration())

    def missing(self) -> list[Missing]:
        """Nothing: an EDF file is whole or refused."""
        return []

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def stretches(self) -> Iterator[Stretch]:
        """One second each, the last one shorter where the file ends within a second."""
        measures = naming.wave_measures(self._labels)
        for second in range(int(np.ceil(self.length_s / STRETCH_S - 1e-9))):
            start_s = second * STRETCH_S
            length_s = min(STRETCH_S, self.length_s - start_s)
            channels = tuple(
                channel
                for index, measure in enumerate(measures)
                if (channel := self._channel(index, measure, start_s, length_s)).digits.size
            )
            yield Stretch(start_s, length_s, channels)

    def _is_scaled(self) -> bool:
        signals = range(self._file.signals_in_file)
        physical = [self._file.getPhysicalMaximum(at) - self._file.getPhysicalMinimum(at) for at in signals]
        digital = [self._file.getDigitalMaximum(at) - self._file.getDigitalMinimum(at) for at in signals]
        return all(width and math.isfinite(width) for width in (*physical, *digital))

    def _channel(self, index: int, measure: str, start_s: float, length_s: float) -> Channel:
        rate_hz = self._rates_hz[index]
        first = round(start_s * rate_hz)
        last = min(self._samples[index], round((start_s + length_s) * rate_hz))
        digits = self._file.readSignal(index, first, last - first, digital=True)
        low, high = self._file.getDigitalMinimum(index), self._file.getDigitalMaximum(index)
        bottom, top = self._file.getPhysicalMinimum(index), self._file.getPhysicalMaximum(index)
        gain = (high - low) / (top - bottom)
        return Channel(
            measure=measure,
            rate_hz=rate_hz,
            digits=np.asarray(digits, np.int32),
            gain=float(gain),
            baseline=float(low - bottom * gain),
            unit=naming.unit_of(str(self._file.getPhysicalDimension(index)).strip()),
            label=self._labels[index],
        )
