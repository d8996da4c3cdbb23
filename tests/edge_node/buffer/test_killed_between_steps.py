"""kill -9 between every two steps: nothing acknowledged is missing, nothing is there twice.

What this cannot show is whether the disk was synced: see test_synced_before_answered.  YUANZHEN_KILLS sets how
often each step is hit.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from telemed.topics import Up
from telemed.wire import Record

from edge_node.buffer import maintenance
from edge_node.buffer.failpoint import VARIABLE
from edge_node.buffer.payload import numeric_set, waveform_set
from edge_node.buffer.store import Buffer
from tests.fakes.ports import free_port

PROGRAM = Path(__file__).with_name("intake_program.py")
ROOT = Path(__file__).resolve().parents[3]
KILLS = int(os.environ.get("YUANZHEN_KILLS", "3"))
STEPS = ("after-insert", "before-commit", "after-commit", "any-time")
MESSAGES_A_ROUND = 12
CHANCE = random.Random(20261121)
pytestmark = [pytest.mark.slow, pytest.mark.anyio]


@dataclass(slots=True)
class Sender:
    """Sends numbers one by one, again until acknowledged; its ledger is what it was promised."""

    port: int
    acknowledged: list[int] = field(default_factory=list)
    next_number: int = 1

    def send_until_cut(self, most: int) -> None:
        """Send up to `most` numbers; return early when the other side dies."""
        with contextlib.suppress(OSError), self._connected() as line, line.makefile("rwb") as stream:
            for _ in range(most):
                stream.write(b"%d\n" % self.next_number)
                stream.flush()
                if stream.readline() != b"%d\n" % self.next_number:
                    return
                self.acknowledged.append(self.next_number)
                self.next_number += 1

    def _connected(self) -> socket.socket:
        for _ in range(400):
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", self.port), 10)
            time.sleep(0.02)
        raise TimeoutError("the program does not listen")


def start(folder: Path, port: int, failpoint: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", VARIABLE: failpoint}
    return subprocess.Popen([sys.executable, str(PROGRAM), str(folder), str(port)], env=environment)


def one_life(folder: Path, sender: Sender, step: str) -> bool:
    """Run the program until it dies at `step`; return whether it was killed there."""
    hit = CHANCE.randint(1, MESSAGES_A_ROUND)
    process = start(folder, sender.port, "" if step == "any-time" else f"{step}:kill:{hit}")
    killer = threading.Timer(0.6 + CHANCE.random() * 0.5, process.kill)
    if step == "any-time":
        killer.start()
    sender.send_until_cut(10_000 if step == "any-time" else 2 * MESSAGES_A_ROUND)
    killer.cancel()
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(2) == -signal.SIGKILL
    process.kill()
    process.wait()
    return False


async def stored_numbers(folder: Path) -> dict[Up, list[int]]:
    buffer = Buffer.open(folder)
    found: dict[Up, list[Record]] = {Up.VITALS: [], Up.WAVES: []}
    for up, stream in ((Up.VITALS, "monitor-1/numeric"), (Up.WAVES, "monitor-1/wave")):
        for key in [key for key in buffer.streams(up) if key.stream == stream]:
            records = await buffer.read_run(up, key, 1, 10**9)
            assert [record.seq for record in records] == list(range(1, len(records) + 1))
            found[up] += records
    vitals, waves = found[Up.VITALS], found[Up.WAVES]
    buffer.close()
    return {
        Up.VITALS: [int(numeric_set(record).source_ref) for record in vitals],
        Up.WAVES: [int(waveform_set(record).source_ref) for record in waves],
    }


@pytest.mark.timeout(60 + 15 * KILLS)
async def test_nothing_acknowledged_is_missing_and_nothing_is_stored_twice(tmp_path: Path) -> None:
    sender = Sender(free_port())
    crashes: Counter[str] = Counter()
    for _ in range(KILLS):
        for step in STEPS:
            crashes[step] += one_life(tmp_path, sender, step)
    print("crashes by step:", dict(crashes), "acknowledged:", len(sender.acknowledged))

    assert crashes == dict.fromkeys(STEPS, KILLS)
    assert all(report.check == "ok" for report in maintenance.inspect(tmp_path))
    for numbers in (await stored_numbers(tmp_path)).values():
        counted = Counter(numbers)
        assert [number for number in sender.acknowledged if number not in counted] == []
        assert [number for number, times in counted.items() if times > 1] == []
