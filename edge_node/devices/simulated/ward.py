"""Many simulated monitors in one process, one connection each; the file that describes them."""

import asyncio
import time
import tomllib
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from edge_node.devices.simulated import control
from edge_node.devices.simulated.ledger import Ledger
from edge_node.devices.simulated.messages import Report, compose
from edge_node.devices.simulated.monitor import MonitorConfig, Port, control_ids, speaker_of
from edge_node.devices.simulated.patient import Habits, Patient
from edge_node.devices.simulated.playback import Recording, play
from edge_node.devices.simulated.profiles import PROFILES
from edge_node.devices.simulated.sender import MonitorLine, Target
from edge_node.devices.simulated.templates import Templates, build

_JUMP_NS = 2_000_000_000


class WardConfig(BaseModel):
    """The whole ward file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(default="127.0.0.1", description="Address of the edge node.")
    port: Port = Field(default=2575, description="MLLP port of the edge node.")
    control_port: Port | None = Field(default=None, description="Port on loopback where signs are changed.")
    interval_s: Annotated[float, Field(ge=0.01, le=3600)] = Field(default=1, description="One message every so often.")
    seed: int = Field(default=1, description="Same seed, same patients.")
    patients: list[MonitorConfig] = Field(min_length=1, description="The monitors.")


def load(path: Path) -> WardConfig:
    """Read a ward file; record paths are taken relative to it.

    Raises:
        ValueError: not TOML, unknown key or wrong value (pydantic's and tomllib's errors are ValueErrors).
    """
    config = WardConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    base = path.resolve().parent
    patients = [
        monitor.model_copy(update={"record": base / monitor.record if monitor.record else None})
        for monitor in config.patients
    ]
    return config.model_copy(update={"patients": patients})


async def run(config: WardConfig, ledger: Ledger) -> None:
    """Run every monitor until cancelled."""
    simulated = [monitor for monitor in config.patients if monitor.record is None]
    templates = build(config.seed) if simulated else None
    patients: dict[str, Patient] = {}
    async with asyncio.TaskGroup() as group:
        for index, monitor in enumerate(config.patients):
            target = Target(monitor.host or config.host, monitor.port or config.port)
            line = MonitorLine(target, ledger)
            group.create_task(line.run())
            if monitor.record is not None:
                group.create_task(_play_for_ever(monitor, monitor.record, line))
                continue
            assert templates is not None
            patient = _patient(monitor, templates, config.seed + index)
            patients[monitor.bed or monitor.eui64] = patient
            offset_s = config.interval_s * index / len(config.patients)
            group.create_task(_live(monitor, patient, line, config.interval_s, offset_s))
        if config.control_port is not None:
            group.create_task(control.serve(config.control_port, patients))


def _patient(monitor: MonitorConfig, templates: Templates, seed: int) -> Patient:
    habits = Habits(monitor.nibp_every_s, monitor.waves, monitor.course_speed)
    return Patient(PROFILES[monitor.profile], templates, seed, habits)


async def _live(
    monitor: MonitorConfig, patient: Patient, line: MonitorLine, interval_s: float, offset_s: float
) -> None:
    """Send one message an interval.  The monitors are spread over the interval, so that no burst meets the node."""
    loop = asyncio.get_running_loop()
    speaker, prefix = speaker_of(monitor), control_ids(monitor.eui64)
    interval_ns = round(interval_s * 1e9)
    await asyncio.sleep(offset_s)
    due_s, end_ns = loop.time(), time.time_ns()
    for number in count(1):
        due_s, end_ns = due_s + interval_s, end_ns + interval_ns
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        if abs(time.time_ns() - end_ns) > _JUMP_NS:
            # The machine slept or its clock was set: a gap, as with a monitor that was switched off.
            due_s, end_ns = loop.time(), time.time_ns()
        numbers, channels = patient.step(interval_s, end_ns - interval_ns)
        control_id = f"{prefix}-{number}"
        report = Report(control_id, time.time_ns(), end_ns - interval_ns, end_ns, numbers, channels)
        line.offer(control_id, compose(speaker, report))


async def _play_for_ever(monitor: MonitorConfig, record: Path, line: MonitorLine) -> None:
    while True:
        with closing(Recording(record, speed=1)) as recording:
            await play(recording, speaker_of(monitor), control_ids(monitor.eui64), line)
