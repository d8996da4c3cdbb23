"""Files that the hub releases to its node while both live and die: each must come to lie whole at the node."""

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from telemed.topics import NodeAddress
from telemed.transfer import FileKind

from cloud_hub.errors import StoreFailure
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.releases import publish
from cloud_hub.store.schema import CARE
from tests.faults.chaos.files import whole
from tests.faults.chaos.place import CLINIC, NODE
from tests.faults.chaos.world import World
from tests.region.region import REGION

NAME = "files released to the node"
EVERY_S = 1.0
SIZES_BYTES = (1_500, 12_000, 70_000, 150_000)
"""The largest are of three chunks."""


@dataclass(slots=True)
class Downloads:
    """Releases files by the product's own step, as a process beside the hub; used by one thread at a time."""

    world: World
    seed: str
    released: set[str] = field(default_factory=set)
    """SHA-256 of the files that the hub has committed as released."""
    _count: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def release_until(self, is_over: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Release one file after the other, with `wait` between."""
        draw = Random(f"{self.seed}/downloads/{next(self._count)}")
        while not is_over():
            self._release(draw.randbytes(draw.choice(SIZES_BYTES)))
            wait(EVERY_S * draw.uniform(0.5, 1.5))

    def forget(self) -> None:
        """Expect nothing of what was released so far: the hub goes on from a backup that may be older."""
        self.released.clear()

    def missing(self) -> frozenset[str]:
        """Return the files that were released and do not lie whole at the node."""
        return frozenset(self.released) - whole(self.world.place.edge_folder / "spool" / "down")

    def _release(self, content: bytes) -> None:
        path = self.world.scratch / f"release-{next(self._count)}.bin"
        path.write_bytes(content)
        try:
            asyncio.run(self._publish(path))
        except (OSError, StoreFailure):
            # The hub's disk is full just now: whoever releases is told so.
            return
        finally:
            path.unlink()
        self.released.add(hashlib.sha256(content).hexdigest())

    async def _publish(self, path: Path) -> None:
        hub = self.world.place.hub_folder
        care = Database(f"sqlite:///{hub / 'care.db'}", CARE, "care")
        try:
            node = NodeAddress(REGION, CLINIC.site, NODE)
            await publish(care, Blobs(hub / "blobs"), path, [node], (FileKind.OTHER, path.name))
        finally:
            await asyncio.to_thread(care.close)
