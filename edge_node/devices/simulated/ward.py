"""Many simulated monitors in one process, one connection each; the file that describes them."""

import asyncio
import time
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edge_node.devices.simulated import control
from edge_node.devices.simulated.ledger import Ledger
from edge_node.devices.simulated.messages import Report, Speaker, compose
from edge_node.devices.simulated.patient import Habits, Patient
from edge_node.devices.simulated.playback import Recording, play
from edge_node.devices.simulated.profiles import PROFILES
from edge_node.devices.simulated.sender import MonitorLine, Target
from edge_node.devices.simulated.templates import Templates, build

Port = Annotated[int, Field(ge=1, le=65535)]


def _known_profile(name: str) -> str:
    if name not in PROFILES:
        raise ValueError(f"no such profile; there are {', '.join(PROFILES)}")
    return name


class MonitorConfig(BaseModel):
    """One simulated monitor and its patient."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bed: str = Field(default="", description="Name of the monitor at the control socket.")
    eui64: Annotated[str, Field(pattern=r"^[0-9A-F]{16}$")] = Field(description="EUI-64 it names itself with.")
    host: str = Field(default="", description="Address of the edge node; that of the ward when empty.")
    port: Port | None = Field(default=None, description="MLLP port; that of the ward when not given.")
    application: str = Field(default="QY-MON", description="MSH-3.1.")
    facility: str = Field(default="BAOSHAN-CLINIC", description="MSH-4.")
    patient_id: str = Field(default="", description="PID-3.1; empty: the bed decides.")
    family_name: str = Field(default="", description="PID-5.1.")
    given_name: str = Field(default="", description="PID-5.2.")
    birth_date: str = Field(default="", description="ISO 8601.")
    sex: Literal["", "M", "F"] = Field(default="", description="PID-8.")
    location: str = Field(default="", description="PV1-3, unit^room^bed^facility.")
    profile: Annotated[str, AfterValidator(_known_profile)] = Field(
        default="stable", description="Course of the signs: a name in PROFILES."
    )
    nibp_every_s: Annotated[float, Field(gt=0)] = Field(default=300, description="How often the cuff measures.")
    waves: bool = Field(default=True, description="Whether ECG, pleth and respiration are sent.")
    course_speed: Annotated[float, Field(gt=0)] = Field(default=1, description="How fast the profile runs.")
    record: Path | None = Field(default=None, description="Plays this WFDB or EDF record instead, again and again.")
    processing: Literal["P", "T"] = Field(default="P", description="MSH-11.")


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


def speaker_of(monitor: MonitorConfig) -> Speaker:
    """What the monitor writes into each message about itself and its patient."""
    return Speaker(
        eui64=monitor.eui64,
        application=monitor.application,
        facility=monitor.facility,
        patient_id=monitor.patient_id,
        family_name=monitor.family_name,
        given_name=monitor.given_name,
        birth_date=monitor.birth_date,
        sex=monitor.sex,
        location=monitor.location,
        processing=monitor.processing,
    )


def control_ids(eui64: str) -> str:
    """Beginning of the control ids of this run of a monitor: no other run has it."""
    return f"{eui64[-6:]}-{time.time_ns() // 1_000_000:x}"


def _patient(monitor: MonitorConfig, templates: Templates, seed: int) -> Patient:
    habits = Habits(monitor.nibp_every_s, monitor.waves, monitor.course_speed)
    return Patient(PROFILES[monitor.profile], templates, seed, habits)


async def _live(
    monitor: MonitorConfig, patient: Patient, line: MonitorLine, interval_s: float, offset_s: float
) -> None:
    """Send one message an interval.  The monitors are spread over the interval, so that no burst meets the node."""
    loop = asyncio.get_running_loop()
    speaker, prefix = speaker_of(monitor), control_ids(monitor.eui64)
    await asyncio.sleep(offset_s)
    began_s, began_ns = loop.time(), time.time_ns()
    interval_ns = round(interval_s * 1e9)
    number = 0
    while True:
        number += 1
        await asyncio.sleep(began_s + number * interval_s - loop.time())
        end_ns = began_ns + number * interval_ns
        numbers, channels = patient.step(interval_s, end_ns - interval_ns)
        control_id = f"{prefix}-{number}"
        report = Report(control_id, time.time_ns(), end_ns - interval_ns, end_ns, numbers, channels)
        line.offer(control_id, compose(speaker, report))


async def _play_for_ever(monitor: MonitorConfig, record: Path, line: MonitorLine) -> None:
    while True:
        with closing(Recording(record, speed=1)) as recording:
            await play(recording, speaker_of(monitor), control_ids(monitor.eui64), line)
