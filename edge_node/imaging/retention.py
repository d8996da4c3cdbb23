"""How long the files of a study stay at the node once the hub has all of them.

What is let go keeps its rows: whose a study is can still be said, and the hub is told by a new manifest.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from edge_node.disk_share import KEEP_COPIES_BELOW
from edge_node.errors import BufferFailure
from edge_node.imaging import rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.objects import Objects
from edge_node.imaging.study import Study

LOOK_EVERY_S = 60.0
NS = 1_000_000_000
IN_USE_NS = 3600 * NS
"""A study that came so lately stays, however full the disk is: it is being looked at."""
PUT_AGAIN_S = 600.0
"""A file that was put so lately stays: the row that says so may be under way."""
AT_ONCE = 200
"""Files that go in one transaction: receivers wait for it."""

HasSent = Callable[[str, Sequence[str]], Awaitable[bool]]
"""Whether the hub has these files of a group."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Retention:
    """Lets studies go; `run` is called once."""

    catalog: Catalog
    objects: Objects
    has_sent: HasSent | None
    """None: nothing is sent, and everything stays."""
    erased: Callable[[], Collection[str]]
    """The persons who were erased."""
    keep_ns: int
    """From the moment on at which the hub had the whole study."""
    metrics: ImagingMetrics
    clock_ns: Callable[[], int] = time.time_ns

    async def run(self) -> None:
        """Look once a minute until cancelled."""
        while True:
            # What waits is looked for again after a minute; a disk that hangs must not end the receiving of images.
            with contextlib.suppress(BufferFailure, OSError):
                await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Note what the hub has by now, and let go what is due.

        Raises:
            CatalogueFailure: the catalogue cannot be read or written.
            BufferFailure: the queue of files cannot be read.
            OSError: the disk does not do as it is told.
        """
        await self._erase()
        await self._delete()
        if self.has_sent is None:
            return
        for study in await self.catalog.read(rows.to_confirm):
            await self._confirm(study, self.has_sent)
        now_ns = self.clock_ns()
        for study in await self.catalog.read(lambda c: rows.at_hub(c, now_ns - self.keep_ns)):
            await self._let_go(study)
        if await self._is_full():
            for study in goes_for_room(await self.catalog.read(lambda c: rows.at_hub(c, now_ns)), now_ns):
                await self._let_go(study)
                if not await self._is_full():
                    break

    async def _is_full(self) -> bool:
        return await asyncio.to_thread(self.objects.used_share) >= KEEP_COPIES_BELOW

    async def _erase(self) -> None:
        """Take every word of those who were erased out of the list; their files are to be deleted."""
        persons = sorted(self.erased())
        changed = await self.catalog.write(lambda c: rows.erase(c, persons)) if persons else 0
        if changed:
            # Else the words would stay in the write-ahead log.
            await self.catalog.read(rows.shrink)

    async def _confirm(self, study: Study, has_sent: HasSent) -> None:
        instances = await self.catalog.read(lambda c: rows.instances(c, study.study_id))
        if await has_sent(study.study_id, [each.sha256 for each in instances]):
            await self.catalog.write(lambda c: rows.note_at_hub(c, study.study_id, study.generation, self.clock_ns()))

    async def _let_go(self, study: Study) -> None:
        await self.catalog.write(lambda c: rows.let_go(c, study))
        await self._delete()

    async def _delete(self) -> None:
        """Delete the files that are to go; between the pieces others may write."""
        while count := await self.catalog.write(partial(_drop_some, self.objects)):
            self.metrics.let_go.inc(count)
            log.info("imaging-files-let-go", objects=count)


def goes_for_room(studies: Iterable[Study], now_ns: int) -> Iterator[Study]:
    """Yield those that may go where the disk is full, in order."""
    return (study for study in studies if now_ns - study.last_ns >= IN_USE_NS)


def _drop_some(objects: Objects, connection: sqlite3.Connection) -> int:
    """Delete some of the files that are to go; on the catalogue's thread, where none is noted as here meanwhile."""
    before_s = time.time() - PUT_AGAIN_S
    gone = [each for each in rows.going(connection, AT_ONCE) if objects.drop(each, before_s)]
    rows.note_gone(connection, gone)
    return len(gone)
