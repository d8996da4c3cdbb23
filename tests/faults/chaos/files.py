"""Files that are queued beside the node while it lives and dies: what was promised of each."""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.faults.chaos.child import Wishes
from tests.faults.chaos.nursery import Unhealthy
from tests.faults.chaos.steps import STEPS
from tests.faults.chaos.world import World

SEND_LIMIT_S = 60.0
EVERY_S, SELDOM_S = 0.8, 3.0
"""How often a file is queued; and where a round is for steps that need none: the command takes processor time."""
SIZES_BYTES = (1_500, 4_000, 12_000, 150_000)
"""Mostly small: a link that was lost begins again at 128 kbit/s, and a life is short."""
KILLED_SHARE = 0.25
NO_ROOM = "no room on the disk"


@dataclass(slots=True)
class Files:
    """Queues files with the product's own command; used by one thread at a time."""

    world: World
    seed: str
    crashes: Counter[str] = field(default_factory=Counter)
    """Steps at which the command was killed."""
    promised: set[str] = field(default_factory=set)
    """SHA-256 of the files of which it said that they are queued."""
    refused: int = 0
    """Files for which there was no room just then: whoever queues them is told so."""
    _count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def send_until(self, is_over: Callable[[], bool], wait: Callable[[float], object], every_s: float) -> None:
        """Queue one file after the other, with `wait` between; raises Unhealthy where the command fails."""
        draw = Random(f"{self.seed}/files/{next(self._count)}")
        while not is_over():
            self._send(draw)
            wait(every_s * draw.uniform(0.5, 1.5))

    def forget(self) -> None:
        """Expect nothing of what was queued so far: the hub goes on from a backup that may be older."""
        self.promised.clear()

    def _send(self, draw: Random) -> None:
        content = draw.randbytes(draw.choice(SIZES_BYTES))
        path = self.world.scratch / f"file-{next(self._count)}.bin"
        path.write_bytes(content)
        step = draw.choice([each.name for each in STEPS if each.actor == "send"])
        wishes = Wishes(step=step) if draw.random() < KILLED_SHARE else Wishes()
        edge = self.world.actors["edge"]
        life = edge.nursery.start(
            ["send", "--config", self.world.config("edge"), "--kind", "other", str(path)],
            self.world.place.folder,
            wishes,
            log=edge.log,
        )
        if not edge.nursery.until_over(life, SEND_LIMIT_S):
            raise Unhealthy(f"a file is not queued within {SEND_LIMIT_S:g} s: {self.world.last_words('edge')}")
        path.unlink()
        if life.was_killed and wishes.step:
            self.crashes[wishes.step] += 1
        elif life.status != 0 and NO_ROOM in self.world.last_words("edge"):
            self.refused += 1
        elif life.status != 0:
            raise Unhealthy(f"queueing a file ended with {life.status}: {self.world.last_words('edge')}")
        if any(line.startswith("queued:") for line in life.lines):
            self.promised.add(hashlib.sha256(content).hexdigest())


def whole(folder: Path) -> frozenset[str]:
    """Return the SHA-256 of all files below a folder, of their content as it is."""
    return frozenset(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file())
