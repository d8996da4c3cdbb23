"""Files that are there whole or not at all, also after the power went."""

import os
from pathlib import Path


def write_whole(file: Path, content: bytes, mode: int) -> None:
    """Put a file in place whole and synced, with its rights from the first byte on.  Blocking.

    One writer at a time: the file is made beside it under its name with ".new" behind.

    Raises:
        OSError: it cannot be stored; what was there stays.
    """
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are on disk.  Blocking."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
