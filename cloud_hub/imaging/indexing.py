"""Takes complete files of studies into the index: as they are told, and whatever is found unread at the start.

A file and what it says are committed together with the note that it was looked at, so that a kill between any two
steps leaves it either indexed or unread, and it is read again.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import Connection
from telemed.study import KEY_IMAGE_NAMES, MANIFEST_NAME
from telemed.transfer import FileKind

from cloud_hub.errors import ImageUnreadable, StoreFailure
from cloud_hub.imaging import entries
from cloud_hub.imaging.entries import NoEntry
from cloud_hub.imaging.readers import Readers
from cloud_hub.imaging.sweeping import sweep
from cloud_hub.store import dialect, erased_images, studies
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.transfers import Transfer

AT_ONCE = 200
MARGIN_NS = 60 * 10**9
"""A transaction that was under way when the last look began had its time before."""
BAD_MANIFEST, BAD_HEADER = "bad-manifest", "bad-header"
EXPECTED = frozenset({studies.INDEXED, studies.MANIFEST, studies.KEY_IMAGE, erased_images.OUTCOME})
Work = Callable[[Connection], str]
"""What a file adds, in the transaction that notes it; returns the outcome."""

log = structlog.get_logger(__name__)


class Indexer:
    """Reads one file after the other; `run` is called once, the care store is migrated by then."""

    def __init__(
        self,
        care: Database,
        region: str,
        blobs: Blobs,
        readers: Readers,
        registry: CollectorRegistry,
        clock: Callable[[], int],
    ) -> None:
        """Read nothing yet.

        Args:
            care: the care store.
            region: of the hub.
            blobs: the folder of files.
            readers: processes that read them.
            registry: gets the counter.
            clock: nanoseconds since the Unix epoch.
        """
        self._care, self._region, self._blobs, self._readers, self._clock = care, region, blobs, readers, clock
        self._awake = asyncio.Event()
        self._since_ns = 0
        """Of what became complete before this, nothing is unread, unless the clock was set back."""
        self._files = Counter(
            "hub_imaging_files", "Files of studies that were looked at.", ["outcome"], registry=registry
        )

    def took(self, row: Transfer) -> None:
        """Note that a file is complete; to be called on the event loop, returns at once."""
        if row.facts.kind is FileKind.STUDY:
            self._awake.set()

    async def run(self) -> None:
        """Read until cancelled: what lies unread now, what is told, and now and then whatever was not."""
        await self._forget_missing()
        await sweep(self._awake, self.read_all, self._forget, "images not indexed")

    def _forget(self) -> None:
        self._since_ns = 0

    async def _forget_missing(self) -> None:
        with contextlib.suppress(StoreFailure):  # it is tried again at the next start
            await self._care.write(studies.forget_missing)

    async def read_all(self) -> int:
        """Read every complete file that was not looked at; return how many.

        Raises:
            StoreFailure: the database failed or no reader starts; what was committed stays.
            OSError: the disk failed.
        """
        done, began_ns = 0, self._clock()
        while rows := await self._care.read(lambda c: studies.unread(c, self._region, self._since_ns, AT_ONCE)):
            for row in rows:
                work = await self._read(row)
                outcome, going = await self._care.write(partial(self._note, row=row, work=work))
                await self._drop(row, going)
                self._files.labels(outcome).inc()
                if outcome not in EXPECTED:
                    log.warning("image not indexed", site=row.address.site, transfer=row.transfer_id, outcome=outcome)
            done += len(rows)
        self._since_ns = began_ns - MARGIN_NS
        return done

    def _note(self, connection: Connection, row: Transfer, work: Work) -> tuple[str, list[str]]:
        """Note what becomes of a file; of one whose group is emptied, return what goes from the disk before it is."""
        dialect.hold_persons(connection)
        known = studies.outcome_of(connection, row.transfer_id)
        if known is not None:
            # Its group was emptied since it was found unread, and with it this.
            return known, []
        outcome = work(connection)
        group = (row.address.region, row.address.site, row.facts.group_id)
        if not erased_images.is_due(connection, group):
            studies.note(connection, row, outcome, self._clock())
            return outcome, []
        going = erased_images.empty(connection, group, self._clock())
        # It is read again, and this done, if the hub ends before all is gone.
        studies.forget_note(connection, row)
        is_first = row.transfer_id in going
        hashes = {*going.values()} if is_first else erased_images.contents(connection, group)
        return erased_images.OUTCOME, sorted(hashes | {row.facts.sha256})

    async def _drop(self, row: Transfer, going: list[str]) -> None:
        """Delete contents that nothing else needs, in pieces between which others may write, and note the file."""
        for at in range(0, len(going), erased_images.CHUNK):
            some = going[at : at + erased_images.CHUNK]
            await self._care.write(partial(erased_images.drop, blobs=self._blobs, hashes=some))
        if going:
            await self._care.write(lambda c: studies.note(c, row, erased_images.OUTCOME, self._clock()))

    async def _read(self, row: Transfer) -> Work:
        path = self._blobs.path(row.facts.sha256)
        try:
            if row.facts.name in KEY_IMAGE_NAMES:
                return lambda _: studies.KEY_IMAGE
            if row.facts.name == MANIFEST_NAME:
                return self._of_manifest(row, (await self._readers.ask("manifest", path)).told)
            answer = await self._readers.ask("header", path)
            return self._of_header(row, answer.told)
        except FileNotFoundError:
            return lambda _: studies.MISSING
        except ImageUnreadable as error:
            reason = error.reason
            return lambda _: reason

    def _of_header(self, row: Transfer, told: dict[str, Any]) -> Work:
        try:
            entry = entries.entry(told)
        except NoEntry:
            return lambda _: BAD_HEADER

        def work(connection: Connection) -> str:
            version = studies.add(connection, row, entry, self._clock())
            if version > 1:
                log.warning("two contents of one image", site=row.address.site, transfer=row.transfer_id)
            return studies.INDEXED

        return work

    def _of_manifest(self, row: Transfer, told: dict[str, Any]) -> Work:
        try:
            person_id, generation = entries.whose(told, row.facts.group_id)
        except NoEntry:
            return lambda _: BAD_MANIFEST
        study = entries.announced(told)

        def work(connection: Connection) -> str:
            counts = studies.tell_person(connection, row, person_id, generation, entries.object_count(told))
            if counts and study is not None:
                studies.announce(connection, row, study, self._clock())
            return studies.MANIFEST

        return work
