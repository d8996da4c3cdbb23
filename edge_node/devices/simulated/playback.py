"""A recording spoken as HL7 by a monitor: every digit as it stands in the file."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from edge_node.devices.recorded.driver import open_record, value_of
from edge_node.devices.recorded.timeline import Missing, Stretch, Timed, anchor_ns, played, replay_length_s
from edge_node.devices.simulated.messages import Number, Report, Speaker, compose
from edge_node.devices.simulated.sender import MonitorLine


class Recording:
    """A recording to be played at a speed; 0 = as fast as it is acknowledged."""

    def __init__(self, path: Path, speed: float, *, first_s: float = 0, length_s: float = 0) -> None:
        self.source = open_record(path)
        self.speed = speed
        self._first_s = first_s
        self._length_s = length_s
        whole_s = replay_length_s(self.source) - first_s
        self.replay_s = min(length_s, whole_s) if length_s else whole_s

    @property
    def missing(self) -> list[Missing]:
        """What the recording names but does not hold."""
        return self.source.missing()

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def stretches(self) -> Iterator[Timed]:
        """The chosen part, its times counted from the begin of that part; read as it is asked for."""
        end_s = self._first_s + (self._length_s or float("inf"))
        for timed in played(self.source):
            if timed.at_s >= end_s - 1e-9:
                return
            if timed.at_s >= self._first_s - 1e-9:
                yield Timed(timed.at_s - self._first_s, timed.stretch)


async def play(recording: Recording, speaker: Speaker, prefix: str, line: MonitorLine) -> int:
    """Send the recording; returns the number of messages when every one was answered."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    start_ns = anchor_ns(time.time_ns(), recording.replay_s, recording.speed)
    number = 0
    for number, timed in enumerate(recording.stretches(), 1):
        if recording.speed:
            due_s = began_s + (timed.at_s + timed.stretch.length_s) / recording.speed
            await asyncio.sleep(max(0.0, due_s - loop.time()))
        at_ns = start_ns + round(timed.at_s * 1e9)
        control_id = f"{prefix}-{number}"
        await line.put(control_id, compose(speaker, report_of(timed.stretch, control_id, at_ns)))
    await line.drained()
    return number


def report_of(stretch: Stretch, control_id: str, at_ns: int) -> Report:
    """What the message of one stretch says."""
    numbers = [Number(reading.measure, value_of(reading).value) for reading in stretch.readings]
    end_ns = at_ns + round(stretch.length_s * 1e9)
    return Report(control_id, time.time_ns(), at_ns, end_ns, numbers, stretch.channels)
