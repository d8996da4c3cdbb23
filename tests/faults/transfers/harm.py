"""Who is killed while studies are on their way: receivers, readers and workers of models, the node itself, the hub."""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.region.region import Region

NODE = "edge-clinic"
CHILDREN = {
    "receiver": ("-m", "edge_node.imaging"),
    "worker of a model": ("-m", "edge_node.inference"),
    "reader or writer of findings": ("-m", "edge_node.findings"),
}
"""How a child's command line names it."""
VICTIMS = {"node (uplink)": 2, "hub": 2, "receiver": 4, "worker of a model": 2, "reader or writer of findings": 2}
"""Each with how often it is drawn."""


class Harm:
    """Draws who is killed next, and kills; whoever dies is started again at once, as a service would be."""

    def __init__(self, region: Region, seed: int) -> None:
        self._region = region
        self._drawn = random.Random(seed)
        self.killed: Counter[str] = Counter()
        """How many of each were killed."""

    def pause_s(self) -> float:
        """Draw how long nobody is killed."""
        return self._drawn.uniform(0.5, 3.0)

    def strike(self) -> None:
        """Kill one; a draw of a child that the node does not have now kills nobody."""
        (victim,) = self._drawn.choices(list(VICTIMS), list(VICTIMS.values()))
        if victim in CHILDREN:
            pids = sorted(children(self._region.processes[NODE].popen.pid, CHILDREN[victim]))
            if not pids or not _kill(self._drawn.choice(pids)):
                return
        else:
            name, start = self._whole(victim)
            self._region.kill(name)
            start()
        self.killed[victim] += 1

    def _whole(self, victim: str) -> tuple[str, Callable[[], None]]:
        if victim == "hub":
            return "hub", self._region.launch_hub
        return NODE, self._region.start_edge


def children(parent: int, words: tuple[str, ...]) -> Iterator[int]:
    """Yield the children of a process whose command line has these words in a row."""
    wanted = b"\0".join(word.encode() for word in words) + b"\0"
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            # The name in parentheses may have spaces.
            state = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            if int(state[1]) == parent and wanted in (folder / "cmdline").read_bytes():
                yield int(folder.name)
        except OSError:
            continue


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
