"""Whether there is room for what the connections of a SQLite file share, asked before the first one opens.

SQLite takes that room by one byte in each page, and then writes to it through memory.  Where the blocks of the file
system are smaller than a page there are holes, and on a full disk a bus error ends who writes to one; elsewhere SQLite
itself says that there is no room.
"""

import os
from pathlib import Path

PAGE_BYTES = 4096
NEED_BYTES = 64 * 1024
"""Twice the size of the shared index at first."""


def may_open(folder: Path) -> bool:
    """Whether a file in this folder can be opened without the risk of a bus error.

    Raises:
        OSError: the folder is not there.
    """
    disk = os.statvfs(folder)
    return disk.f_frsize >= PAGE_BYTES or disk.f_bavail * disk.f_frsize >= NEED_BYTES
