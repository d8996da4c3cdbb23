"""Keeps files that came by STOW-RS or from an archive: on disk, read by a reader, in one transaction with their rows.

What is kept here lies as if the transfer had brought it, from the node "hub" of the person's site.  Nothing is told to
be stored before it is committed, and whose images they are is looked at again in that transaction.
"""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import Connection
from telemed.parts_in import Begin, End, NoParts, PartsIn
from telemed.study import OBJECT_NAME
from telemed.topics import NodeAddress
from telemed.transfer import FileKind

from cloud_hub.access import images
from cloud_hub.access.rights import Principal
from cloud_hub.access.treating import opens
from cloud_hub.errors import BadRequest, ImageUnreadable, NotFound, StoreFailure
from cloud_hub.imaging import entries, media
from cloud_hub.imaging.entries import NoEntry
from cloud_hub.imaging.face import Images
from cloud_hub.store import accounts, dialect, erased_images, erasure, persons, studies, transfers
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.persons import Person
from cloud_hub.store.studies import Entry, Narrowing
from cloud_hub.store.transfers import FileFacts, Transfer

HUB = studies.HUB_NODE
MOST_PARTS = 1000
FIRST = 1
"""Generation of what no manifest says: who stores here names the person."""
# Failure reasons of PS3.4 B.2.3 and PS3.18 10.5.3.
CANNOT_UNDERSTAND, OTHER_STUDY, NO_PATIENT = 0xC000, 0xA900, 0xA901
Judge = Callable[[Entry], int]
"""Returns the reason for which a file that can be read is not kept; 0: nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one part."""

    sop_class_uid: str = ""
    uids: tuple[str, str, str] = ("", "", "")
    """Study, series and instance; empty where the file does not say."""
    failure: int = 0
    """Reason; 0: it is stored and committed."""


class _Scratch:
    """The file into which the part that arrives is written."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self._limit_bytes = limit_bytes
        self._file: BinaryIO | None = None
        self._size_bytes = 0

    async def take(self, event: Begin | bytes | End) -> bool:
        """Write what came; True where the part is whole.

        Raises:
            BadRequest: it is too large.
        """
        if isinstance(event, Begin):
            self._file, self._size_bytes = await asyncio.to_thread(self.path.open, "wb"), 0
        elif isinstance(event, bytes) and self._file is not None:
            self._size_bytes += len(event)
            if self._size_bytes > self._limit_bytes:
                raise BadRequest(f"a file is at most {self._limit_bytes} bytes", ["body"])
            await asyncio.to_thread(self._file.write, event)
        elif self._file is not None:
            await asyncio.to_thread(self._file.close)
        return isinstance(event, End)

    def drop(self) -> None:
        """Delete it; idempotent."""
        if self._file is not None:
            self._file.close()
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Where:
    """Under whom files are put."""

    site: str
    group_id: str
    person_id: str


class Storing:
    """Takes the parts of the bodies that are stored for one person or request, one body after the other."""

    def __init__(
        self,
        care: Database,
        files: Images,
        principal: Principal,
        person_id: str,
        study_uid: str,
        judge: Judge = lambda _: 0,
        *,
        is_fetched: bool = False,
    ) -> None:
        """Take nothing yet.

        Args:
            care: the care store.
            files: the folder and the readers.
            principal: who stores.
            person_id: whose images these are; empty: whose study it is already.
            study_uid: the study they must be of; empty: any.
            judge: says what speaks against keeping a file.
            is_fetched: they come from an archive.
        """
        self._care, self._files, self._principal = care, files, principal
        self._person_id, self._study_uid, self._judge = person_id, study_uid, judge
        self._is_fetched = is_fetched
        self._told = set[str]()
        """Of whom the trail says that images were stored so."""

    async def run(self, boundary: str, body: AsyncIterator[bytes], now_ns: int) -> list[Stored]:
        """Take a multipart body to its end and return what became of each part, in order.

        Raises:
            BadRequest: it is no multipart body of DICOM files; parts before that are stored.
            NotFound: the person is not open to this principal.
            StoreFailure: the database failed or the disk is nearly full; so it is for this part and those after it.
            OSError: the disk failed; likewise.
        """
        if self._person_id:
            await self._care.read(self._demand_person)
        found = list[Stored]()
        scratch = _Scratch(self._files.blobs.scratch(), self._files.largest_file_bytes)
        try:
            parts = PartsIn(boundary)
            async for data in body:
                for event in parts.feed(data):
                    if isinstance(event, Begin):
                        _check(event, len(found))
                        await asyncio.to_thread(self._demand_room)
                    if await scratch.take(event):
                        found.append(await self._keep(scratch.path, now_ns))
            parts.close()
        except NoParts as error:
            raise BadRequest(str(error), [error.where]) from error
        finally:
            await asyncio.to_thread(scratch.drop)
        if not found:
            raise BadRequest("the body has no part", ["body"])
        return found

    async def _keep(self, path: Path, now_ns: int) -> Stored:
        try:
            told = (await self._files.readers.ask("header", path)).told
            entry = entries.entry(told)
        except (ImageUnreadable, NoEntry):
            return Stored(failure=CANNOT_UNDERSTAND)
        uids = (entry.study_uid, entry.series_uid, entry.sop_uid)
        sop_class = entries.sop_class(told)
        if self._study_uid not in ("", entry.study_uid):
            return Stored(sop_class, uids, OTHER_STUDY)
        if failure := self._judge(entry):
            return Stored(sop_class, uids, failure)
        where = await self._care.read(lambda c: self._where(c, entry))
        if where is None:
            return Stored(sop_class, uids, NO_PATIENT)
        sha256, size_bytes, hashes = await asyncio.to_thread(self._files.blobs.keep, path)
        facts = FileFacts(sha256, size_bytes, manifest_of(hashes), FileKind.STUDY, OBJECT_NAME, where.group_id)
        if not await self._care.write(lambda c: self._commit(c, (where, facts, hashes), entry, now_ns)):
            return Stored(sop_class, uids, NO_PATIENT)
        self._told.add(where.person_id)
        return Stored(sop_class, uids)

    def _demand_room(self) -> None:
        """Pass where the disk takes one more file.

        Raises:
            StoreFailure: it is nearly full.
        """
        if self._files.blobs.room().used_share() * 100 > self._files.disk_limit_pct:
            raise StoreFailure("the disk is nearly full")

    def _demand_person(self, connection: Connection) -> Person:
        return open_person(connection, self._principal, self._person_id)

    def _where(self, connection: Connection, entry: Entry) -> Where | None:
        """Return under whom a file is put; None where neither the request nor its study says."""
        asked = Narrowing(study_uids=frozenset({entry.study_uid}))
        seen = list(images.seen(connection, self._principal, asked))
        fitting = [
            Where(one.site, one.group_id, one.person_id)
            for one in seen
            if one.person_id and self._person_id in ("", one.person_id)
        ]
        # Where a number is that of two persons, or of one and nobody yet, only the request can say whose a file is.
        if fitting and (self._person_id or len({one.owner for one in seen}) == 1):
            return fitting[0]
        if not self._person_id:
            return None
        site = self._demand_person(connection).site
        # The same for all parts, and for a request that is made again.
        named = uuid.uuid5(uuid.NAMESPACE_OID, f"{site}/{self._person_id}/{entry.study_uid}")
        return Where(site, f"stow-{named}", self._person_id)

    def _commit(self, connection: Connection, what: tuple[Where, FileFacts, bytes], entry: Entry, now_ns: int) -> bool:
        """Store a file; False where it belongs there no more, and then nothing of it stays.

        Raises:
            StoreFailure: it was deleted from the disk since it was copied there, as something nobody needs.
        """
        # Since the first look somebody may have been taken out, or the study may have become another's.
        dialect.hold_persons(connection)
        where, facts, hashes = what
        if not self._is_still(connection, where, entry):
            erased_images.drop(connection, self._files.blobs, [facts.sha256])
            return False
        if not self._files.blobs.path(facts.sha256).is_file():
            raise StoreFailure("the file went from the disk before it was committed")
        address = NodeAddress(self._principal.region, where.site, HUB)
        whole = keep_row(connection, address, (facts, hashes), entry, now_ns, is_fetched=self._is_fetched)
        if not self._is_fetched:
            key = studies.key_of(address.region, address.site, where.group_id, entry.study_uid)
            studies.expect_reading(connection, key)
        if where.group_id.startswith("stow-"):
            studies.tell_person(connection, whole, where.person_id, FIRST)
        self._write_down(connection, where, now_ns)
        return True

    def _is_still(self, connection: Connection, where: Where, entry: Entry) -> bool:
        if erased_images.is_due(connection, (self._principal.region, where.site, where.group_id)):
            return False
        try:
            return self._where(connection, entry) == where
        except NotFound:
            return False

    def _write_down(self, connection: Connection, where: Where, now_ns: int) -> None:
        """Have the trail say whose images are stored, with the first file: a body may break off after it."""
        if where.person_id in self._told:
            return
        who, target = self._principal, f"Patient/{where.person_id}"
        entry = AuditEntry(now_ns, who.username, who.role, "images-store", target, "ok", who.region, where.site)
        accounts.write_audit(connection, entry)


def open_person(connection: Connection, principal: Principal, person_id: str) -> Person:
    """Return a person whose record is open to somebody.

    Raises:
        NotFound: no such person, or erased, or not open to this principal.
    """
    found = persons.person(connection, principal.region, person_id)
    is_open = found is not None and opens(connection, principal, found.site, found.person_id)
    if found is None or not is_open or erasure.is_any_erased(connection, found.region, {found.person_id}):
        raise NotFound("no such person within scope")
    return found


def manifest_of(hashes: bytes) -> str:
    """Return the hash that a file is known by on its way: that of the hashes of all its chunks."""
    return hashlib.sha256(hashes).hexdigest()


def keep_row(
    connection: Connection,
    address: NodeAddress,
    what: tuple[FileFacts, bytes],
    entry: Entry,
    now_ns: int,
    *,
    is_fetched: bool = False,
) -> Transfer:
    """Take a file that lies whole among the blobs into the index, as if a node had sent it; harmless twice.

    Args:
        connection: of the care store, in a transaction.
        address: the node "hub" of the site.
        what: facts of the file, and its chunk hashes.
        entry: what a reader said of it.
        now_ns: when.
        is_fetched: it comes from an archive.
    """
    facts, hashes = what
    row = transfers.offer(connection, address, facts, now_ns)
    transfers.keep_hashes(connection, address, row.transfer_id, hashes, now_ns)
    transfers.complete(connection, address, row.transfer_id, now_ns)
    whole = transfers.find(connection, address, row.transfer_id)
    assert whole is not None
    studies.note(connection, whole, studies.INDEXED, now_ns)
    studies.add(connection, whole, entry, now_ns, is_fetched=is_fetched)
    return whole


def _check(begun: Begin, count: int) -> None:
    if count >= MOST_PARTS:
        raise BadRequest(f"at most {MOST_PARTS} files at once", ["body"])
    if begun.content_type not in ("", media.DICOM):
        raise BadRequest(f"parts are {media.DICOM}; metadata with bulk data apart is not taken", ["body"])
