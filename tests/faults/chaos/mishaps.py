"""Faults of the machine under an actor: a disk that is full for a while, a wall clock that jumps and comes back."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from tests.faults.chaos import clock
from tests.faults.chaos.world import World

LEAVE_BYTES = 8192
FILLER, CLOCK, DISK = "filler", "11 clock", "5 disk full"
PAUSE_S = (0.5, 2.0)
HOUR_NS = 3600 * 10**9
Mishap = Callable[[World, Callable[[float], object]], None]
"""Does it, holds it as long as the second argument is asked to wait, and undoes it."""


def disk_full(folder_of: Callable[[World], Path]) -> Mishap:
    """Return the mishap that fills the file system of a folder."""

    def mishap(world: World, hold: Callable[[float], object]) -> None:
        with filled(folder_of(world)):
            hold(1.0)

    return mishap


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Leave next to no room on a folder's file system while the block runs."""
    path = folder / FILLER
    state = os.statvfs(folder)
    # Others write there at the same time: what does not fit any more is not missed.
    with path.open("wb") as file, suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, state.f_bavail * state.f_frsize - LEAVE_BYTES))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def clear(world: World) -> None:
    """Make room again on disks whose filler came back with an older state of theirs."""
    for folder in (world.place.edge_folder, world.place.hub_folder):
        (folder / FILLER).unlink(missing_ok=True)


def clock_wrong(by_ns: Callable[[], int]) -> Mishap:
    """Return the mishap that lets the edge's wall clock jump, and jump back."""

    def mishap(world: World, hold: Callable[[float], object]) -> None:
        clock.set_wrong_by(world.clock_file, by_ns())
        try:
            hold(1.0)
        finally:
            clock.set_wrong_by(world.clock_file, 0)

    return mishap


KINDS: dict[str, Mishap] = {
    "5 disk full: edge": disk_full(lambda world: world.place.edge_folder),
    "5 disk full: hub": disk_full(lambda world: world.place.hub_folder),
    "11 clock +1 h": clock_wrong(lambda: HOUR_NS),
    "11 clock -1 h": clock_wrong(lambda: -HOUR_NS),
    "11 clock 1970": clock_wrong(lambda: -time.time_ns()),
}


def drawn(seed: str, names: tuple[str, ...]) -> Iterator[tuple[float, str, float]]:
    """Draw mishaps without end: after how many seconds which one, and how much longer or shorter than usual."""
    draw = Random(f"{seed}/mishaps")
    while names:
        yield draw.uniform(*PAUSE_S), draw.choice(names), draw.uniform(0.3, 1.2)
