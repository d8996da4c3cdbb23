"""Small files that are there whole or as they were before, whatever happens to the machine.  Blocking."""

import contextlib
import os
from pathlib import Path

OWNER_ONLY, FOLDER_MODE = 0o600, 0o700


def write(path: Path, content: bytes) -> None:
    """Write a file for its owner alone; on disk, name and all, when this returns.

    Raises:
        OSError: it is as it was before.
    """
    fresh = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, OWNER_ONLY)
        with os.fdopen(descriptor, "wb") as file:
            _give_to_owner(descriptor, path.parent)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    sync_folder(path.parent)


def destroy(path: Path) -> None:
    """Overwrite a file, then delete it; a flash disk may keep the old block all the same.

    Raises:
        OSError: it is still there.
    """
    try:
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    sync_folder(path.parent)


def _give_to_owner(descriptor: int, folder: Path) -> None:
    """Let a file that root writes belong to whoever has its folder: the node, which is not root, must read it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        # Not every medium knows owners.
        with contextlib.suppress(OSError):
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are on disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
