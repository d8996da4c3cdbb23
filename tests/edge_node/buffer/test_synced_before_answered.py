"""No acknowledgement leaves before the fdatasync that covers its row has returned, seen from the kernel (decision 12).

kill -9 keeps the page cache and so cannot show this; the system calls can.
"""

import contextlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.edge_node.devices.hl7_monitor.conftest import EXAMPLE_TEXT
from tests.fakes.ports import free_port
from tests.fakes.strace import calls

PROGRAM = Path(__file__).with_name("monitor_program.py")
ROOT = Path(__file__).resolve().parents[3]
MESSAGES = 5
CALLS = "fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg,recvfrom,read"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_SENDS = ("sendto(", "write(", "writev(", "sendmsg(")
_WAL = re.compile(r"<([^>]*-wal)>")


@dataclass(slots=True)
class Verdict:
    """What a trace shows."""

    answers: int = 0
    early: list[str] = field(default_factory=list)
    """Answers that left while a write to a log was not synced, or without any synced write before them."""


def judge(trace: str) -> Verdict:
    """Walk a trace in the order of its lines; sound for one writer and one request in flight."""
    verdict = Verdict()
    dirty: set[str] = set()
    synced_since_answer = False
    for rest, begins, ends in calls(trace):
        wal = _WAL.search(rest)
        if rest.startswith("pwrite64(") and wal and begins:
            dirty.add(wal[1])
        elif rest.startswith(("fdatasync(", "fsync(")) and wal and ends and rest.endswith(" = 0"):
            dirty.discard(wal[1])
            synced_since_answer = True
        elif "TCP:" in rest and "\\vMSH" in rest and rest.startswith(_SENDS) and begins:
            verdict.answers += 1
            if dirty or not synced_since_answer:
                verdict.early.append(rest)
            synced_since_answer = False
    return verdict


@contextlib.contextmanager
def traced(folder: Path, synchronous: str) -> Iterator[int]:
    """Run the program under strace and yield its port; ended, and the trace complete, when left."""
    port = free_port()
    command = ["strace", "-f", "-yy", "-ttt", "-s", "80", "--seccomp-bpf", "-o", str(folder / "trace")]
    command += ["-e", f"trace={CALLS}", sys.executable, str(PROGRAM), str(folder / "db"), synchronous, str(port)]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, text=True)
    assert process.stderr is not None
    try:
        told = ""
        for line in process.stderr:
            told += line
            if line.startswith("ready"):
                break
        assert "ready" in told, told
        yield port
    finally:
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.wait()
        process.stderr.close()


def ask(line: socket.socket, control_id: str) -> bytes:
    message = EXAMPLE_TEXT.replace("BS01-20261120-000417|P", f"{control_id}|P").encode()
    line.sendall(b"\x0b" + message + b"\x1c\r")
    answer = b""
    while not answer.endswith(b"\x1c\r"):
        answer += line.recv(4096)
    return answer


def after_ready(trace: str) -> str:
    """Leave out the opening of the files, whose syncs are none of an answer's."""
    return trace[trace.index('"ready\\n"') :]


@pytest.fixture(scope="module")
def strace() -> None:
    """Skip by name where tracing is not allowed."""
    if shutil.which("strace") is None or subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace is not installed or ptrace is not allowed here")


def run(tmp_path: Path, synchronous: str) -> Verdict:
    with traced(tmp_path, synchronous) as port, socket.create_connection(("127.0.0.1", port)) as line:
        for number in range(MESSAGES):
            assert b"MSA|AA|" in ask(line, f"M{number}")
    return judge(after_ready((tmp_path / "trace").read_text()))


@pytest.mark.usefixtures("strace")
def test_every_answer_leaves_after_the_sync_of_its_row(tmp_path: Path) -> None:
    verdict = run(tmp_path, "FULL")
    assert verdict.answers == MESSAGES
    assert verdict.early == []


@pytest.mark.usefixtures("strace")
@pytest.mark.parametrize("synchronous", ["NORMAL", "OFF"])
def test_the_check_catches_a_store_that_does_not_sync(tmp_path: Path, synchronous: str) -> None:
    verdict = run(tmp_path, synchronous)
    assert verdict.answers == MESSAGES
    assert len(verdict.early) == MESSAGES
