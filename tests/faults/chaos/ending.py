"""What is waited for and measured at the end of an episode, when everybody lives in peace."""

import time

from tests.faults.chaos.downloads import Downloads
from tests.faults.chaos.files import Files
from tests.faults.chaos.invariants import LAG_LIMIT_S, Size
from tests.faults.chaos.place import EDGE_MIB, NODE
from tests.faults.chaos.tally import Counts
from tests.faults.chaos.world import SCALED, World

FILES_LIMIT_S, SAVE_LIMIT_S, PAUSED_S = 30.0, 30.0, 65.0
"""So long may nothing come nearer to its end; the whole may take longer on a machine that is busy."""
CALM_AFTER_S, CALM_S = 10.0, 1.5
"""So long after the last fault the lag must be short again (I8), and so long that is watched."""
SAVED_EVERY_S = SCALED["edge_node.buffer.store:SAVE_EVERY_S"]
MIB = 1024 * 1024
MEMORY_LIMIT_MIB = {"edge": 300, "hub": 300}


def live_in_calm(world: World) -> tuple[int, int]:
    """Let everything work without a fault; return from when to when what arises must be quick, wall clock."""
    world.start_all()
    time.sleep(CALM_AFTER_S)
    first_ns = time.time_ns()
    time.sleep(CALM_S)
    last_ns = time.time_ns()
    # What arose at the very end must have its time too.
    time.sleep(LAG_LIMIT_S)
    return first_ns, last_ns


def until_saved(world: World) -> None:
    """Wait until the edge has written down what it knows: the same twice, longer apart than it saves."""
    before = None
    until_s = time.monotonic() + SAVE_LIMIT_S
    while time.monotonic() < until_s:
        with world.reading:
            now = world.reader.edge_acked(world.place.edge_folder).streams
        if now == before:
            return
        before = now
        time.sleep(2 * SAVED_EVERY_S)


def sizes(world: World, counts: Counts) -> list[Size]:
    """Measure what may not grow without end."""
    with world.reading:
        seen = world.reader.edge(world.place.edge_folder)
    memory = [
        Size(f"memory of the {name} in MiB", world.memory_bytes(name) / MIB, MEMORY_LIMIT_MIB[name])
        for name in ("edge", "hub")
    ]
    for each in memory:
        counts.took(each.name, each.used)
    return [*memory, Size("disk of the edge in MiB", seen.disk_bytes / MIB, EDGE_MIB)]


def until_files_are_there(world: World, sending: Files, counts: Counts) -> None:
    """Wait for the last file; what does not come is found by the look that follows."""
    began_s = time.monotonic()
    # A hub whose disk was nearly full has asked for a pause of a minute.
    limit_s = FILES_LIMIT_S + (PAUSED_S if "hub" in world.may_refuse else 0)
    arrived, arrived_s = -1, began_s
    while time.monotonic() - arrived_s < limit_s:
        with world.reading:
            hub = world.reader.hub_whatever(world.place.hub_folder, NODE)
        if len(hub.files) > arrived:
            arrived, arrived_s = len(hub.files), time.monotonic()
        if sending.promised <= hub.files:
            counts.took("all files arrived after that", time.monotonic() - began_s)
            return
        time.sleep(0.2)


def until_downloads_are_here(downloads: Downloads, counts: Counts) -> None:
    """Wait for the last file that was released; what does not come is found by the look that follows."""
    began_s = time.monotonic()
    left, came_s = len(downloads.released), began_s
    while time.monotonic() - came_s < FILES_LIMIT_S:
        missing = len(downloads.missing())
        if not missing:
            counts.took("all downloads arrived after that", time.monotonic() - began_s)
            return
        if missing < left:
            left, came_s = missing, time.monotonic()
        time.sleep(0.2)


def until_written_down(world: World) -> None:
    """Wait until the edge has written down that the hub has everything; a look that follows finds if it has not."""
    # What it has written down may be older than its last record.
    until_saved(world)
    until_s = time.monotonic() + SAVE_LIMIT_S
    while time.monotonic() < until_s:
        with world.reading:
            if world.reader.has_written_down(world.place.edge_folder):
                return
        time.sleep(0.1)
