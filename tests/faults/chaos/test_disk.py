"""A file system that forgets: what was synced stays when its power is lost, what was not goes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.chaos import mishaps
from tests.faults.chaos.disk import Disk, held
from tests.faults.relay.namespaces import Unavailable

OPEN_WAL = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE IF NOT EXISTS kept (value)")
connection.executemany("INSERT INTO kept VALUES (zeroblob(3000))", [()] * int(sys.argv[2]))
connection.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small file system; skipped by name where this machine has no loop devices."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    try:
        with held(folder, tmp_path / "disk.img", 16) as made:
            yield made
    except Unavailable as reason:
        pytest.skip(str(reason))


def write(path: Path, content: bytes, *, synced: bool) -> None:
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        if synced:
            os.fsync(file.fileno())


def live(path: Path, rows: int) -> int:
    """Open a database, write to it and die; return how it ended."""
    return subprocess.run(
        [sys.executable, "-c", OPEN_WAL, str(path), str(rows)], capture_output=True, check=False
    ).returncode


def test_what_was_not_synced_is_gone_after_a_loss_of_power(disk: Disk) -> None:
    for seed in range(4):
        kept, lost = disk.folder / f"kept-{seed}", disk.folder / f"lost-{seed}"
        write(kept, b"promised", synced=True)
        write(kept, b" and not", synced=False)
        write(lost, b"never promised", synced=False)

        disk.lose_power(Random(seed))

        assert kept.read_bytes()[:8] == b"promised"
        assert not lost.exists() or lost.stat().st_size == 0
        assert kept.stat().st_size == 8


def test_what_a_run_itself_puts_there_stays_once_it_is_told_to_sync(disk: Disk) -> None:
    write(disk.folder / "template", b"beginning", synced=False)
    disk.sync()

    disk.lose_power(Random(1))

    assert (disk.folder / "template").read_bytes() == b"beginning"


def test_a_full_disk_is_an_error_to_who_starts_on_it_and_no_bus_error(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = disk.folder / "kept.db"
    assert live(path, rows=200) == -signal.SIGKILL

    ends = set()
    for left_bytes in range(8 * 1024, 28 * 1024, 4 * 1024):
        monkeypatch.setattr(mishaps, "LEAVE_BYTES", left_bytes)
        path.with_name("kept.db-shm").unlink(missing_ok=True)
        with mishaps.filled(disk.folder):
            ends.add(live(path, rows=1))

    assert 1 in ends
    assert -signal.SIGBUS not in ends
