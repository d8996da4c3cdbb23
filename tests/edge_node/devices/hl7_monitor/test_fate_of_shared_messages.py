"""What becomes of each file of the shared HL7 messages, with and without its device enrolled."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_node.config import DeviceConfig
from edge_node.samples.measurement import Assignment, Origin
from tests.edge_node.devices.hl7_monitor.conftest import StartRig

pytestmark = pytest.mark.anyio

ENROLLED = [
    DeviceConfig(device="acme-bp", family="hl7_monitor", bed="B01", eui64="ACDE48234567ABCD"),
    DeviceConfig(device="whi", family="hl7_monitor", bed="B02", application="WHI_Automation"),
    DeviceConfig(device="se050", family="hl7_monitor", bed="B03", application="SE050"),
]
STRANGER = [DeviceConfig(device="other", family="hl7_monitor", bed="B01", eui64="0000000000000001")]


@dataclass(frozen=True)
class Fate:
    """What must become of one file."""

    name: str
    is_enrolled: bool
    answer: str
    error: str = ""
    """ERR code, empty where none is sent."""
    kept: str = ""
    """Why the raw message is kept."""
    values: tuple[tuple[str, str], ...] = ()


FATES = [
    # A blood pressure of 2009 for a person nobody knows: stored unassigned, its clock suspect.
    Fate("pcd01_bp.hl7", True, "AA", values=(("nibp_sys", "120"), ("nibp_dia", "80"))),
    Fate("pcd01_bp.hl7", False, "AR", "204", "device-unknown"),
    # A test message (MSH-11 T) of text rows without codes: nothing is measured, kept as it is.
    Fate("ORU-multiline-short.hl7", True, "AA", kept="nothing-measured"),
    Fate("ORU-multiline-short.hl7", False, "AR", "204", "device-unknown"),
    # MSH-2 has five signs, two of them the same: unreadable, whoever sent it.
    Fate("sample_win.hl7", True, "AR", "100", "message-unreadable"),
    Fate("sample_win.hl7", False, "AR", "100", "message-unreadable"),
]


def test_every_shared_message_has_its_fate(shared_data: Path) -> None:
    files = {path.name for path in (shared_data / "messages" / "hl7v2").iterdir()}
    assert files == {fate.name for fate in FATES}


@pytest.mark.parametrize("fate", FATES, ids=lambda fate: f"{fate.name}-{fate.is_enrolled}")
async def test_the_fate_of_a_shared_message(shared_data: Path, rig: StartRig, fate: Fate) -> None:
    payload = (shared_data / "messages" / "hl7v2" / fate.name).read_bytes()
    async with rig(*(ENROLLED if fate.is_enrolled else STRANGER)) as running, running.line() as line:
        answer = await line.ask(payload)
    assert answer.split("\r")[1].split("|")[1] == fate.answer
    assert ("\rERR|" in answer) is bool(fate.error)
    assert f"|{fate.error}^" in answer
    (intake,) = running.store.intakes
    assert intake.raw_reason == fate.kept
    assert (intake.raw == payload) is bool(fate.kept)
    assert tuple((value.measure, value.value) for part in intake.sets for value in part.values) == fate.values


async def test_the_old_pressure_is_unassigned_and_keeps_its_own_time(shared_data: Path, rig: StartRig) -> None:
    payload = (shared_data / "messages" / "hl7v2" / "pcd01_bp.hl7").read_bytes()
    async with rig(*ENROLLED) as running, running.line() as line:
        await line.ask(payload)
    (part,) = running.store.sets
    assert part.assignment is Assignment.UNASSIGNED
    assert part.claimed_patient_id == "789567"
    assert part.origin is Origin.LIVE
    assert part.clock_suspect
    assert part.measured_at_ns == 1_250_139_435 * 1_000_000_000
