"""The stage that imports: looks into folders, has files made into objects, and files these under a person."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Counter

from edge_node.errors import CatalogueFailure
from edge_node.imaging import rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored
from edge_node.importing import asking, gathering, names
from edge_node.importing.converting import converted
from edge_node.importing.inbox import DONE, REFUSED, Inbox, Job
from edge_node.importing.kinds import Kind
from edge_node.importing.names import STUDY
from edge_node.importing.order import DOCUMENT, PHOTO, Order
from edge_node.importing.reasons import NotImported, Reason
from edge_node.samples.roster import Roster

LOOK_EVERY_S = 1.0
NS = 10**9
BY = ":import"
"""Who decided whose a study is: whoever imported it named the person.  The name of no account begins so."""
JOBS, WORK = "imports", "importing"
"""In the folder of the images: what the command line laid there, and copies while they are converted."""
IMPORTED, KNOWN = "imported", "known"
_MODALITIES = {Kind.JPEG: PHOTO, Kind.PNG: PHOTO, Kind.PDF: DOCUMENT}
"""Of kinds that can be nothing else."""

log = structlog.get_logger(__name__)
Note = Callable[[str, str, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Means:
    """Bounds of importing, and what every object says of the node."""

    memory_mib: int
    limit_s: float
    disk_limit_share: float
    node: str
    software: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a file."""

    study_uid: str
    images: int
    """0: it had been imported before."""


class Imports:
    """Importing at one node."""

    def __init__(
        self, catalog: Catalog, objects: Objects, roster: Callable[[], Roster], means: Means, note: Note,
        results: Counter, clock_ns: Callable[[], int],
    ) -> None:  # fmt: skip
        """Look at nothing yet.

        Args:
            catalog: of the images.
            objects: where they lie.
            roster: tells who is at the site.
            means: bounds.
            note: writes into the audit trail: action, target, result.
            results: counts what became of files; see `counter`.
            clock_ns: the node's clock.
        """
        self._catalog, self._objects, self._roster, self._means = catalog, objects, roster, means
        self._note, self._clock_ns = note, clock_ns
        self._results = results
        self._is_failing = False

    async def run(self, folder: Path | None) -> None:
        """Look into the node's own folder and one of people, if there is one, until cancelled."""
        inboxes = [Inbox(self._objects.folder / JOBS, settled_s=0, keeps=False)]
        if folder is not None:
            inboxes.append(Inbox(folder))
        await asyncio.to_thread(self._sweep, inboxes)
        while True:
            for inbox in inboxes:
                for job in await asyncio.to_thread(inbox.due):
                    await self._import(inbox, job)
            await asyncio.sleep(LOOK_EVERY_S)

    async def take(self, job: Job) -> tuple[Outcome, tuple[str, ...]]:
        """Import one file; return what became of it, and the names of the files that it consists of.

        Raises:
            NotImported: nothing of it is stored.
            CatalogueFailure: likewise, for now.
            OSError: likewise; a disk fails.
        """
        ask = asking.load(await asyncio.to_thread(_said, job.said))
        person_id, subject = asking.person(ask, self._roster().persons.values())
        async with self._work() as work:
            size_bytes = await asyncio.to_thread(_size_bytes, job.path)
            # The copy, and what is made of it.
            if await asyncio.to_thread(self._objects.used_share, 2 * size_bytes) >= self._means.disk_limit_share:
                raise NotImported(Reason.DISK_FULL)
            found = await asyncio.to_thread(gathering.gather, job.path, work)
            means = self._means
            order = Order(
                folder=str(self._objects.folder),
                path=str(found.path),
                kind=found.kind,
                sha256=found.sha256,
                subject=subject,
                modality=ask.modality or _MODALITIES.get(found.kind, ""),
                axes=ask.axes,
                description=ask.description,
                study_date=ask.study_date,
                node=means.node,
                made_at=datetime.fromtimestamp(self._clock_ns() // NS, UTC).isoformat(),
                memory_mib=means.memory_mib,
                software=means.software,
            )
            return await self._made(order, person_id), found.names

    async def _made(self, order: Order, person_id: str) -> Outcome:
        study_uid = names.uid(order, STUDY)
        if await self._catalog.read(lambda c: rows.study_id_of(c, study_uid)):
            return Outcome(study_uid, 0)
        made = await converted(order, self._means.limit_s)
        study_id, is_new = await self._catalog.write(lambda c: _file(c, made, (study_uid, person_id), self._clock_ns()))
        await self._note("study-import", f"Patient/{person_id}/study/{study_id}", "ok")
        return Outcome(study_uid, len(made) if is_new else 0)

    async def _import(self, inbox: Inbox, job: Job) -> None:
        """Import a file of a folder, and leave word there; what cannot be done now is done later."""
        files: tuple[str, ...] = (job.path.name,)
        try:
            outcome, files = await self.take(job)
            where, text, result = DONE, _told(outcome), IMPORTED if outcome.images else KNOWN
        except NotImported as refusal:
            if refusal.reason is Reason.DISK_FULL and inbox.keeps:
                inbox.later(job)
                return
            where, text, result = REFUSED, f"{refusal}  [{refusal.reason}]", str(refusal.reason)
            await self._note("study-import", "file", refusal.reason)
        except (CatalogueFailure, OSError) as failure:
            self._tell_failing(type(failure).__name__)
            inbox.later(job)
            return
        self._results.labels(result).inc()
        try:
            await asyncio.to_thread(inbox.finish, job, files, where, text)
            self._is_failing = False
        except OSError:
            self._tell_failing("file-failed")
            inbox.later(job)

    def _tell_failing(self, reason: str) -> None:
        """Log that something cannot be done for now; once until something can again."""
        if not self._is_failing:
            log.warning("import-not-done", reason=reason)
        self._is_failing = True

    @contextlib.asynccontextmanager
    async def _work(self) -> AsyncIterator[Path]:
        folder = self._objects.folder / WORK / uuid4().hex
        await asyncio.to_thread(folder.mkdir, 0o700, True)
        try:
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)

    def _sweep(self, inboxes: Sequence[Inbox]) -> None:
        shutil.rmtree(self._objects.folder / WORK, ignore_errors=True)
        for inbox in inboxes:
            inbox.sweep()


def counter(registry: CollectorRegistry) -> Counter:
    """Return what counts the files of a node by what became of them; made once."""
    return Counter(
        "edge_imports", "Files that were to be imported, by what became of them.", ["result"], registry=registry
    )


def _said(path: Path) -> bytes:
    """Return what a file says about another, not through a link."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        return file.read(asking.LIMIT_BYTES + 1)


def _size_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _file(
    connection: sqlite3.Connection, made: Sequence[Stored], whose: tuple[str, str], now_ns: int
) -> tuple[str, bool]:
    """Note objects and whose they are; return the study's id, and whether it is new."""
    study_uid, person_id = whose
    known = rows.study_id_of(connection, study_uid)
    if known:
        return known, False
    for each in made:
        rows.take(connection, each, now_ns)
    study_id = rows.study_id_of(connection, study_uid)
    rows.assign(connection, study_id, person_id, BY)
    return study_id, True


def _told(outcome: Outcome) -> str:
    if outcome.images:
        return f"已导入 {outcome.images} 幅 / imported: {outcome.images} images, study {outcome.study_uid}"
    return f"此前已导入 / was imported before: study {outcome.study_uid}"
