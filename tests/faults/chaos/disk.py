"""A file system that forgets what was not synced when its power is lost: ext4 on a loop device (Linux, root).

What a process has written and not synced is in the kernel's pages only.  `lose_power` shuts the file system down as it
is on the disk, without writing anything back, and mounts a copy of that: its journal is replayed as after a real loss.
"""

import ctypes
import fcntl
import itertools
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tests.faults.relay.namespaces import Unavailable

SHUT_DOWN, WITHOUT_THE_LOG = 0x8004587D, 2
"""EXT4_IOC_SHUTDOWN, and its flag that not even the journal is written out."""
JOURNAL_MIB, METADATA_MIB = 4, 4
BLOCK_BYTES = 4096
"""As on the disks of installations; by itself mkfs gives disks below 512 MiB blocks of 1,024 bytes, and on those a full
disk is another fault: SQLite's index in shared memory has holes, and a bus error ends who writes to one."""
OPTIONS = "loop,noatime,commit=300"
"""The kernel writes its journal out by itself every five minutes: nothing is saved that nobody asked to be."""
PIECE_BYTES = 16 * 4096
WRITTEN_SHARE, PARTLY_SHARE = 0.5, 0.5
WRITE_AND_WAIT = 1 | 2 | 4

_libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """One file system in a folder; made by `held`."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self._image = image
        self._count = itertools.count(1)

    def lose_power(self, draw: Random) -> None:
        """Forget what was not synced, wholly or in part; nobody may have a file open there.

        In part means that the disk has got pages of the files in an order of its own before the power went.
        """
        if draw.random() < PARTLY_SHARE:
            self._write_back_some(draw)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUT_DOWN, struct.pack("I", WITHOUT_THE_LOG))
        finally:
            os.close(folder)
        self.unmount()
        # A copy, because a mount namespace of somebody else may hold the one that was shut down.
        left, self._image = self._image, self._image.with_suffix(f".{next(self._count)}")
        _run("cp", "--sparse=always", str(left), str(self._image))
        # Emptied too: while somebody holds it, deleting it alone would keep its room.
        os.truncate(left, 0)
        left.unlink()
        self.mount()

    def sync(self) -> None:
        """Let the disk have all that is written: what a run itself has put there is no actor's to sync."""
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            if _libc.syncfs(folder) != 0:
                raise OSError(ctypes.get_errno(), "syncfs")
        finally:
            os.close(folder)

    def mount(self) -> None:
        """Mount it, its journal replayed."""
        _run("mount", "-o", OPTIONS, str(self._image), str(self.folder))

    def unmount(self) -> None:
        """Take it away; lazily, as whoever still has a file open there is about to end."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False, capture_output=True)

    def _write_back_some(self, draw: Random) -> None:
        for path in sorted(self.folder.rglob("*")):
            if not path.is_file():
                continue
            with path.open("rb") as file:
                for at in range(0, path.stat().st_size, PIECE_BYTES):
                    if draw.random() < WRITTEN_SHARE:
                        span = (ctypes.c_int64(at), ctypes.c_int64(PIECE_BYTES))
                        _libc.sync_file_range(file.fileno(), *span, WRITE_AND_WAIT)


@contextmanager
def held(folder: Path, image: Path, mib: int, block_bytes: int = BLOCK_BYTES) -> Iterator[Disk]:
    """Hold a file system of so many MiB in a folder; raises Unavailable where this machine has no loop devices."""
    image.write_bytes(b"")
    os.truncate(image, (mib + JOURNAL_MIB + METADATA_MIB) * 1024 * 1024)
    disk = Disk(folder, image)
    try:
        options = ("-q", "-m", "0", "-b", str(block_bytes), "-J", f"size={JOURNAL_MIB}")
        _run("mkfs.ext4", *options, str(image))
        disk.mount()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unavailable(f"no file system on a loop device: {error}") from error
    try:
        (folder / "lost+found").rmdir()
        folder.chmod(0o755)
        disk.sync()
        yield disk
    finally:
        disk.unmount()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
