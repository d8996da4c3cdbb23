"""No receipt leaves before the fdatasync that covers its row has returned, seen from the kernel (decision 12)."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from telemed.topics import Up

from tests.fakes import ingest_process
from tests.fakes.brokers import running, running_broker, until
from tests.fakes.containers import CLINIC, alarm, numeric
from tests.fakes.edge import FakeEdge
from tests.fakes.strace import calls

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
CALLS = "fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg"
SENDS = ("sendto(", "write(", "writev(", "sendmsg(")
RECEIPT = CLINIC.down_prefix + "receipt"
MESSAGES = 5


@dataclass(slots=True)
class Verdict:
    """What a trace shows."""

    receipts: int = 0
    synced: int = 0
    early: int = 0
    """Receipts that left while a write to a log was not synced."""


def judge(trace: str) -> Verdict:
    """Walk the lines in order; sound for one record in flight."""
    verdict, dirty = Verdict(), set[str]()
    for rest, begins, ends in calls(trace):
        wal = re.search(r"<([^>]*-wal)>", rest)
        if wal and rest.startswith("pwrite64(") and begins:
            dirty.add(wal[1])
        elif wal and rest.startswith(("fdatasync(", "fsync(")) and ends and rest.endswith("= 0"):
            dirty.discard(wal[1])
            verdict.synced += 1
        elif rest.startswith(SENDS) and RECEIPT in rest and begins:
            verdict.receipts += 1
            verdict.early += bool(dirty)
    return verdict


def find_strace() -> str:
    """Return the program; the test is skipped by name where it is absent or may not trace."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace is not installed or may not trace here")
    return strace


async def trace(folder: Path, *options: str) -> Verdict:
    """Send records one at a time to a traced intake; return what the kernel saw."""
    strace = find_strace()
    out = folder / "trace"
    async with running_broker("amqtt", folder) as broker:
        program = await asyncio.create_subprocess_exec(
            strace, "-f", "-yy", "-s", "160", "--seccomp-bpf", "-o", str(out), "-e", f"trace={CALLS}",
            ingest_process.PYTHON, ingest_process.__file__, str(folder), str(broker.port), str(broker.secrets),
            *options, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert program.stdout is not None
            async with asyncio.timeout(30):
                while await program.stdout.readline() != b"ready\n":
                    assert program.returncode is None
            skip = len(out.read_text(errors="replace"))
            edge = FakeEdge(broker.login("edge-clinic"), CLINIC)
            async with running(edge.run()):
                await edge.link.subscribed.wait()
                for seq in range(1, MESSAGES + 1):
                    for what, record in ((Up.ALARM, alarm(seq)), (Up.VITALS, numeric(seq))):
                        edge.send(what, record)
                        await edge.drained()
            await until(lambda: judge(out.read_text(errors="replace")[skip:]).receipts >= 2 * MESSAGES)
            return judge(out.read_text(errors="replace")[skip:])
        finally:
            for child in psutil.Process(program.pid).children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
            await program.wait()


async def test_every_receipt_leaves_after_the_sync_of_its_row(tmp_path: Path) -> None:
    verdict = await trace(tmp_path)
    assert verdict.early == 0
    assert verdict.synced >= 2 * MESSAGES


async def test_the_same_check_fails_without_synced_commits(tmp_path: Path) -> None:
    verdict = await trace(tmp_path, "unsynced")
    assert verdict.early >= MESSAGES
