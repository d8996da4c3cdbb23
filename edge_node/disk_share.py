"""How full a disk is, as those who store files on it ask."""

import os
from pathlib import Path

KEEP_COPIES_BELOW = 0.80
"""Above it copies of what the hub has go, the oldest first (reliability 2.5)."""


def used_share(folder: Path, more_bytes: int = 0) -> float:
    """Return how full the disk of a folder is once so much more is on it, 0 to 1 and over; blocking.

    What only root may use counts as neither used nor free.

    Raises:
        OSError: the folder is not there, or its disk does not answer.
    """
    disk = os.statvfs(folder)
    usable = (disk.f_blocks - disk.f_bfree + disk.f_bavail) * disk.f_frsize
    return 1 - (disk.f_bavail * disk.f_frsize - more_bytes) / usable if usable else 1.0
