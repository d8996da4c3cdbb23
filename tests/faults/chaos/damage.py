"""Bytes of the node's store that its disk has turned into others while the node was dead (fault 6)."""

from pathlib import Path
from random import Random

PAGE_BYTES, HEADER_BYTES = 4096, 100
FILES = ("vitals.db", "vitals.db", "alarm.db", "care.db")
"""The largest is hit most often."""
KINDS = ("header", "page", "page", "log")
LOG_BYTES = 3 * (PAGE_BYTES + 24)
"""A write-ahead log that is shorter has nothing behind the damage."""
SET_ASIDE = ".damaged-"
NAME = "6 damaged"
HEAD = f"{NAME}: header"
"""Of this nothing is lost."""


def inflict(folder: Path, draw: Random) -> str:
    """Damage one file of a dead node; return what was done to it, as it is counted."""
    path, kind = folder / draw.choice(FILES), draw.choice(KINDS)
    log = path.with_name(f"{path.name}-wal")
    if kind == "log":
        if log.exists() and log.stat().st_size > LOG_BYTES:
            _flip(log, draw)
            return f"{NAME}: write-ahead log"
        kind = "page"
    pages = path.stat().st_size // PAGE_BYTES
    at, length = (0, HEADER_BYTES) if kind == "header" else (draw.randrange(1, max(2, pages)) * PAGE_BYTES, PAGE_BYTES)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(draw.randbytes(length))
    return f"{NAME}: {kind}"


def _flip(path: Path, draw: Random) -> None:
    """Change one byte of the first half of a file."""
    with path.open("r+b") as file:
        file.seek(draw.randrange(path.stat().st_size // 2))
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes((byte[0] ^ 0x40,)))


def is_set_aside(folder: Path) -> bool:
    """Whether a damaged file was kept for people to look at."""
    return any(SET_ASIDE in path.name for path in folder.iterdir())
