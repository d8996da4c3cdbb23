"""A store on a full disk of small blocks: who starts on it says so, where memory that SQLite maps would end it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.chaos.disk import held
from tests.faults.relay.namespaces import Unavailable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
ROOT = Path(__file__).resolve().parents[2]
BLOCK_BYTES = 1024
SAID = 3
LEFT_BYTES = (12 * 1024, 18 * 1024, 24 * 1024)
"""Room for the bytes by which SQLite takes its memory, and not for the memory."""
BUFFER = """
from edge_node.buffer.opening import open_checked
from edge_node.errors import BufferFull as Full
def start(folder):
    return open_checked(folder / "vitals.db", "FULL")
"""
QUEUE = """
from edge_node.errors import BufferFull as Full
from edge_node.uplink.transfer.ledger import Ledger
def start(folder):
    return Ledger(folder)
"""
HUB = """
from cloud_hub.errors import StoreFailure as Full
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import SAMPLES
def start(folder):
    database = Database(f"sqlite:///{folder / 'samples.db'}", SAMPLES, "samples")
    database.migrate()
    return database
"""
LIFE = """
import os, signal, sys
from pathlib import Path
try:
    held = start(Path(sys.argv[1]))
except Full as refusal:
    print(refusal)
    os._exit(int(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of small blocks; skipped by name where this machine has no loop devices."""
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    mounted = tmp_path / "disk"
    mounted.mkdir()
    try:
        with held(mounted, tmp_path / "disk.img", 32, BLOCK_BYTES):
            yield mounted
    except Unavailable as reason:
        pytest.skip(str(reason))


def live(program: str, folder: Path) -> tuple[int, str]:
    """Open a store and be killed; return how it ended and what it said."""
    paths = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program + LIFE, str(folder), str(SAID)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=paths)
    return ended.returncode, ended.stdout


def fill(folder: Path, left_bytes: int) -> Path:
    """Take all the room but so much."""
    filler, state = folder / "filler", os.statvfs(folder)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize - left_bytes)
    return filler


@pytest.mark.parametrize("program", [BUFFER, QUEUE, HUB], ids=["buffer", "queue", "hub"])
def test_a_start_on_a_full_disk_of_small_blocks_says_that_there_is_no_room(folder: Path, program: str) -> None:
    assert live(program, folder)[0] == -signal.SIGKILL

    for left_bytes in LEFT_BYTES:
        for each in folder.glob("*-shm"):
            each.unlink()
        filler = fill(folder, left_bytes)
        status, said = live(program, folder)
        assert (status, "no room" in said) == (SAID, True)
        filler.unlink()

    assert live(program, folder)[0] == -signal.SIGKILL
