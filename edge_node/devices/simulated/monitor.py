"""One simulated monitor as a file or a command line describes it."""

import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edge_node.devices.simulated.messages import Speaker
from edge_node.devices.simulated.profiles import PROFILES

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
