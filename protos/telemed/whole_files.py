"""Files that are there whole or not at all, also after the power went."""

import contextlib
import os
from pathlib import Path

OWNER_ONLY, FOLDER_MODE = 0o600, 0o700
"""Rights of a secret, and of the folder that holds some."""


def write_whole(file: Path, content: bytes, mode: int) -> None:
    """Put a file in place whole and synced, with its rights from the first byte on.  Blocking.

    One writer at a time: the file is made beside it under its name with ".new" behind.  What root writes belongs to
    whoever has the folder: a command that an administrator runs must not lock the service out of its own files.

    Raises:
        OSError: it cannot be stored; what was there stays.
    """
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as opened:
            _give_to_owner(opened.fileno(), file.parent)
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        fresh.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    sync_folder(file.parent)


def destroy(file: Path) -> None:
    """Overwrite a file, then delete it; a flash disk may keep the old block all the same.  Blocking.

    Raises:
        OSError: it is still there.
    """
    try:
        with file.open("r+b") as opened:
            opened.write(bytes(file.stat().st_size))
            opened.flush()
            os.fsync(opened.fileno())
        file.unlink()
    except FileNotFoundError:
        return
    sync_folder(file.parent)


def _give_to_owner(descriptor: int, folder: Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        # Not every medium knows owners.
        with contextlib.suppress(OSError):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are on disk.  Blocking."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
