"""The ward as a process of its own: its monitors speak, its control socket changes what they say."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from edge_node.config import DeviceConfig
from edge_node.devices.simulated import ward
from tests.edge_node.devices.hl7_monitor.conftest import Rig, StartRig
from tests.fakes.ports import free_port

pytestmark = pytest.mark.anyio
MONITORS = [
    DeviceConfig(device=f"mon-{number}", family="hl7_monitor", bed=f"B0{number}", eui64=f"0A1B2CFFFE00000{number}")
    for number in (1, 2, 3)
]
WARD = """
port = {port}
control_port = {control_port}
interval_s = 0.1
[[patients]]
bed = "B01"
eui64 = "0A1B2CFFFE000001"
profile = "fever"
[[patients]]
bed = "B02"
eui64 = "0A1B2CFFFE000002"
waves = false
[[patients]]
bed = "B03"
eui64 = "0A1B2CFFFE000003"
record = "{record}"
"""


def heard(running: Rig) -> set[str]:
    numeric = {part.device for part in running.store.sets}
    return numeric | {part.device for intake in running.store.intakes for part in intake.waves}


async def until_told(running: Rig, device: str, measure: str, value: str) -> None:
    """Wait until the device's last value of a measure is this one."""
    while True:
        told = [part for part in running.store.sets if part.device == device]
        if told and any((row.measure, row.value) == (measure, value) for row in told[-1].values):
            return
        await asyncio.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_value_set_at_the_control_socket_arrives_at_the_receiver(
    shared_data: Path, rig: StartRig, tmp_path: Path
) -> None:
    control_port = free_port()
    async with rig(*MONITORS) as running:
        record = shared_data / "vitals" / "100.hea"
        text = WARD.format(port=running.port, control_port=control_port, record=record)
        (tmp_path / "ward.toml").write_text(text)
        words = f"-m edge_node.devices.simulated ward --file {tmp_path / 'ward.toml'}"
        process = await asyncio.create_subprocess_exec(sys.executable, *words.split())
        try:
            while len(heard(running)) < 3:  # noqa: ASYNC110 - a process starts
                await asyncio.sleep(0.05)
            reader, writer = await asyncio.open_connection("127.0.0.1", control_port)
            writer.write(b"B02 set spo2 81\n")
            assert await reader.readline() == b"ok\n"
            await until_told(running, "mon-2", "spo2", "81")
            writer.close()
        finally:
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    waves = {part.device for intake in running.store.intakes for part in intake.waves}
    assert waves == {"mon-1", "mon-3"}


@pytest.mark.parametrize("spoilt", ["port = 0", "profil = 'stable'", "profile = 'x'"])
def test_a_wrong_key_or_value_in_the_ward_file_is_refused(tmp_path: Path, spoilt: str) -> None:
    (tmp_path / "ward.toml").write_text(f"[[patients]]\neui64 = '0A1B2CFFFE000001'\n{spoilt}\n")
    with pytest.raises(ValidationError):
        ward.load(tmp_path / "ward.toml")
