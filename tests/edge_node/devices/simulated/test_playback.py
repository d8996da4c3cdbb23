"""Recordings through the player and the real receiver over a socket: complete and bit-exact at both ends."""

import asyncio
import hashlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_node.config import DeviceConfig
from edge_node.devices.recorded.driver import open_record, value_of
from edge_node.devices.simulated.ledger import Ledger
from edge_node.devices.simulated.messages import Speaker
from edge_node.devices.simulated.playback import Recording, play
from edge_node.devices.simulated.sender import MonitorLine, Target
from edge_node.samples.measurement import Channel, Origin
from tests.edge_node.devices.hl7_monitor.conftest import Rig, StartRig

pytestmark = pytest.mark.anyio
EUI64 = "0A1B2CFFFE3D4E77"
DEVICE = DeviceConfig(device="player", family="hl7_monitor", bed="B03", eui64=EUI64)

RECORDS = [
    "100.hea",
    "03700181.hea",
    "a103l.hea",
    "s0010_re.hea",
    "test01_00s.hea",
    "041s/041s.hea",
    "p000878/p000878-2137-10-26-16-57.hea",
]


def checksums(channels: Iterable[Channel]) -> dict[str, tuple[int, str]]:
    """By lead: number of digits and hash over digits, gain, baseline, rate and invalid digit, in order."""
    counts: dict[str, int] = {}
    hashes: dict[str, hashlib._Hash] = {}
    for channel in channels:
        counts[channel.label] = counts.get(channel.label, 0) + channel.digits.size
        kept = hashes.setdefault(channel.label, hashlib.sha256())
        kept.update(channel.digits.tobytes())
        head = (channel.measure, channel.gain, channel.baseline, channel.rate_hz, channel.invalid_digits)
        kept.update(repr(head).encode())
    return {label: (count, hashes[label].hexdigest()) for label, count in counts.items()}


async def played_into(running: Rig, path: Path) -> int:
    line = MonitorLine(Target("127.0.0.1", running.port), Ledger(None), backlog=8)
    sending = asyncio.create_task(line.run())
    try:
        return await play(Recording(path, 0), Speaker(EUI64), "T", line)
    finally:
        sending.cancel()
        await asyncio.wait([sending])


@pytest.mark.parametrize("name", RECORDS)
async def test_a_recording_arrives_bit_exact(shared_data: Path, rig: StartRig, name: str) -> None:
    path = shared_data / "vitals" / name
    sent = checksums(channel for part in open_record(path).stretches() for channel in part.channels)
    async with rig(DEVICE) as running:
        messages = await played_into(running, path)
    arrived = checksums(
        channel for intake in running.store.intakes for part in intake.waves for channel in part.channels
    )
    assert messages == len(running.store.intakes)
    assert arrived == sent
    assert sum(count for count, _ in sent.values()) > 0


async def test_numerics_arrive_exactly(shared_data: Path, rig: StartRig) -> None:
    path = shared_data / "vitals" / "s25047" / "s25047-2704-05-04-10-44n.hea"
    sent = [
        {reading.measure: value_of(reading).value for reading in part.readings}
        for part in open_record(path).stretches()
    ]
    async with rig(DEVICE) as running:
        await played_into(running, path)
    arrived = [{value.measure: value.value for value in part.values} for part in running.store.sets]
    assert arrived == sent
    assert {part.origin for part in running.store.sets} == {Origin.LIVE}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_player_as_a_process_names_what_is_missing_and_delivers_the_rest(
    shared_data: Path, rig: StartRig, tmp_path: Path
) -> None:
    path = shared_data / "vitals" / "s25047" / "s25047-2704-05-04-10-44.hea"
    async with rig(DEVICE) as running:
        words = f"-m edge_node.devices.simulated play {path} --eui64 {EUI64} --port {running.port} --speed 0"
        more = f"--processing T --ledger {tmp_path / 'ledger'}"
        process = await asyncio.create_subprocess_exec(
            sys.executable, *words.split(), *more.split(), stdout=asyncio.subprocess.PIPE
        )
        told = (await process.communicate())[0].decode()
    assert process.returncode == 0
    sent = checksums(channel for part in open_record(path).stretches() for channel in part.channels)
    waves = [part for intake in running.store.intakes for part in intake.waves]
    assert checksums(channel for part in waves for channel in part.channels) == sent
    assert {part.origin for part in waves} == {Origin.TEST}
    assert "missing: 3234460_0001/ABP: not recorded" in told
    assert re.search(r"missing: ~: gap \(205.92 s", told)
    lines = (tmp_path / "ledger").read_text().splitlines()
    assert sum('"ack"' in line and '"AA"' in line for line in lines) == len(running.store.intakes)
