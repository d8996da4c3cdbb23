"""A file system that forgets: what was synced stays when its power is lost, what was not goes."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.chaos.disk import Disk, held
from tests.faults.relay.namespaces import Unavailable


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
