"""Plays a recording on the node itself, for a site without monitors: stamped as replay, never alarmed."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import structlog
from telemed.measures import MEASURES, convert, is_plausible

from edge_node.config import DeviceConfig
from edge_node.devices.recorded.edf_record import EdfRecord
from edge_node.devices.recorded.timeline import Reading, Source, Stretch, anchor_ns, is_edf, played, replay_length_s
from edge_node.devices.recorded.wfdb_record import WfdbRecord
from edge_node.samples.measurement import Deliver, Intake, NumericSet, Origin, Quality, Value, WaveformSet

_log = structlog.get_logger(__name__)
_BREAK_S = 1.0


def open_record(path: Path) -> Source:
    """Open a WFDB header or an EDF file.

    Raises:
        RecordRefused: it cannot be played.
    """
    return EdfRecord(path) if is_edf(path) else WfdbRecord(path)


class Recorded:
    """One recording as a device: plays it from begin to end, again and again, until cancelled.

    The record's own times are mapped onto the replay: it begins now at speed 1, and so early at 10 or 100
    that no sample lies in the future.  Gaps of over five seconds are shortened; what is missing is logged by name.
    """

    def __init__(self, device: DeviceConfig, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        if device.record is None:
            raise ValueError(f"device {device.device} has no record")
        self._device = device
        self._record = device.record
        self._speed = float(device.speed)
        self._clock_ns = clock_ns

    async def run(self, deliver: Deliver) -> None:
        """Play for ever; raises RecordRefused or OSError where the recording cannot be read."""
        while True:
            await self.play_once(deliver)
            await asyncio.sleep(_BREAK_S)

    async def play_once(self, deliver: Deliver, *, paced: bool = True) -> int:
        """Play from begin to end; returns the number of stretches delivered."""
        with closing(await asyncio.to_thread(open_record, self._record)) as source:
            for part in source.missing():
                _log.info("recording incomplete", device=self._device.device, missing=str(part))
            return await self._play(source, deliver, paced=paced)

    async def _play(self, source: Source, deliver: Deliver, *, paced: bool) -> int:
        start_ns = anchor_ns(self._clock_ns(), replay_length_s(source), self._speed)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        count = 0
        stretches = played(source)
        while (timed := await asyncio.to_thread(next, stretches, None)) is not None:
            if paced:
                due_s = began_s + (timed.at_s + timed.stretch.length_s) / self._speed
                await asyncio.sleep(max(0.0, due_s - loop.time()))
            await deliver(self._intake(timed.stretch, start_ns + round(timed.at_s * 1e9)))
            count += 1
        return count

    def _intake(self, stretch: Stretch, at_ns: int) -> Intake:
        now_ns = self._clock_ns()
        device, reference = self._device.device, f"{self._record.stem}@{stretch.start_s:g}"
        values = tuple(value_of(reading) for reading in stretch.readings)
        sets = NumericSet(device, at_ns, now_ns, values, origin=Origin.REPLAY, source_ref=reference)
        waves = WaveformSet(device, at_ns, now_ns, stretch.channels, origin=Origin.REPLAY, source_ref=reference)
        return Intake(sets=(sets,) if values else (), waves=(waves,) if stretch.channels else ())


def value_of(reading: Reading) -> Value:
    """Value of a reading, in the unit of the measures table."""
    row = MEASURES[reading.measure]
    if not reading.value:
        return Value(reading.measure, "", row.unit, Quality.MISSING)
    text = convert(reading.value, reading.unit, reading.measure)
    quality = Quality.VALID if is_plausible(reading.measure, text) else Quality.IMPLAUSIBLE
    changed = text != reading.value
    raw = (reading.value, reading.unit) if changed else ("", "")
    return Value(reading.measure, text, row.unit, quality, *raw, mdc=row.mdc[0] if row.mdc else 0)
