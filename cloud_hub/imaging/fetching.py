"""Fetches studies of the hospital's archive, one after the other, image by image: only what is not here yet.

Each file is stored as one that comes by STOW-RS is.  Before every one it is looked at again whether its person is open
to whoever asked; a file of another patient ends the fetch, and is not kept.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog
from sqlalchemy import Connection
from telemed.consent import Purpose
from telemed.roles import ELSEWHERE

from cloud_hub.access import images
from cloud_hub.access.rights import Principal, result_of_read
from cloud_hub.errors import (
    ArchiveOfAnother,
    ArchiveUnclear,
    BadRequest,
    HubError,
    NotFound,
    StepRefused,
    StoreFailure,
)
from cloud_hub.imaging import archived
from cloud_hub.imaging.archive import Archive
from cloud_hub.imaging.archived import ArchivedImage, ArchivedStudy
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.model_reports import is_report
from cloud_hub.imaging.storing import Storing, open_person
from cloud_hub.store import accounts, consents, studies
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.persons import Person
from cloud_hub.store.studies import Entry, Narrowing

SEARCH, FETCH = "archive-search", "archive-fetch"
"""Words of the audit trail."""
WAITING_MOST = 20
REMEMBERED_MOST = 500
LEFT_OUT_MOST = 20
"""So many images in a row that cannot be used end a fetch."""
OTHER_PATIENT, OTHER_IMAGE = 0xA902, 0xA903

log = structlog.get_logger(__name__)


class State(StrEnum):
    """How far a fetch is."""

    WAITING = "waiting"
    FETCHING = "fetching"
    DONE = "done"
    FAILED = "failed"


UNDER_WAY = (State.WAITING, State.FETCHING)


@dataclass(frozen=True, slots=True)
class Progress:
    """What is told of a fetch."""

    state: State
    images: int = 0
    """How many of the archive's images are here."""
    of: int | None = None
    """How many the archive has; None before it said so."""
    left_out: int = 0
    """How many were not kept because they cannot be read, or are not what was asked for."""
    reason: str = ""
    """Code of the failure that ended it."""


@dataclass(frozen=True, slots=True)
class Here:
    """What is here of a study that the archive has."""

    study_key: str
    images: int


@dataclass(frozen=True, slots=True)
class OfPerson:
    """What the archive has of a person."""

    person: Person
    is_numbered: bool
    """False: the person has no number that the archive knows patients by."""
    studies: list[ArchivedStudy]
    """The newest first."""
    is_more: bool
    """True: there may be more than these."""
    here: dict[str, Here]
    """By Study Instance UID."""


@dataclass(frozen=True, slots=True)
class _Order:
    principal: Principal
    person_id: str
    study_uid: str

    @property
    def key(self) -> tuple[str, str]:
        return self.person_id, self.study_uid


class Fetching:
    """Looks into the archive, and fetches from it; `run` is called once, the care store is migrated by then."""

    def __init__(self, care: Database, files: Images, archive: Archive, clock: Callable[[], int]) -> None:
        """Ask nobody yet.

        Args:
            care: the care store.
            files: the folder, and the processes that read.
            archive: what is asked.
            clock: nanoseconds since the Unix epoch.
        """
        self._care, self._files, self.archive, self._clock = care, files, archive, clock
        self._orders = asyncio.Queue[_Order](WAITING_MOST)
        self._progress = dict[tuple[str, str], Progress]()

    async def look(self, principal: Principal, person_id: str) -> OfPerson:
        """Return what the archive has of a person; that it was asked is written down before.

        Raises:
            NotFound: the person is not open to this principal.
            ArchiveFailure: the archive does not answer so that it can be used.
            StoreFailure: the audit trail cannot be written; nobody was asked.
        """
        person, numbers = await self._care.write(lambda c: self._written_down(c, principal, person_id, SEARCH))
        listed = [await self.archive.studies(number) for number in numbers]
        found = {one.study_uid: one for each in listed for one in each.studies}
        here = await self._care.read(lambda c: _here(c, principal, person_id, frozenset(found)))
        ordered = sorted(found.values(), key=lambda one: (one.study_date, one.study_time), reverse=True)
        return OfPerson(person, bool(numbers), ordered, any(each.is_more for each in listed), here)

    async def begin(self, principal: Principal, person_id: str, study_uid: str) -> Progress:
        """Have a study fetched, which is written down; one that is under way already is not begun again.

        Raises:
            NotFound: the person is not open to this principal.
            StepRefused: too many studies wait.
            StoreFailure: the audit trail cannot be written; nothing is fetched.
        """
        await self._care.write(lambda c: self._written_down(c, principal, person_id, FETCH))
        order = _Order(principal, person_id, study_uid)
        known = self._progress.get(order.key)
        if known is not None and known.state in UNDER_WAY:
            return known
        try:
            self._orders.put_nowait(order)
        except asyncio.QueueFull as error:
            raise StepRefused("too many studies wait to be fetched", []) from error
        return self._tell(order, Progress(State.WAITING))

    def progress(self, person_id: str, study_uid: str) -> Progress | None:
        """Return how far the last fetch of a study is; None where none is remembered."""
        return self._progress.get((person_id, study_uid))

    async def run(self) -> None:
        """Fetch what is asked for until cancelled."""
        while True:
            order = await self._orders.get()
            try:
                await self._fetch(order)
            except Exception as failure:  # whatever an archive sends, it ends this fetch and not the hub
                code = _code_of(failure)
                log.warning("study not fetched", code=code, why=type(failure).__name__)
                self._tell(order, replace(self._progress[order.key], state=State.FAILED, reason=code))

    async def _fetch(self, order: _Order) -> None:
        patient_id = await self._patient_id(order)
        wanted = await self.archive.images(order.study_uid, patient_id)
        known = await self._care.read(lambda c: _sop_uids(c, order))
        missing = [one for one in wanted if one.sop_uid not in known]
        now = self._tell(order, Progress(State.FETCHING, len(wanted) - len(missing), len(wanted)))
        one_by_one = _OneByOne(self._care, self._files, self.archive, order, patient_id)
        for image in missing:
            # Rights and consent count as they are now, not as they were when somebody pressed.
            await self._care.read(lambda c: open_now(c, order.principal, order.person_id))
            if await one_by_one.fetch(image, self._clock()):
                now = replace(now, images=now.images + 1)
            else:
                now = replace(now, left_out=now.left_out + 1)
            self._tell(order, now)
        self._tell(order, replace(now, state=State.DONE))

    async def _patient_id(self, order: _Order) -> str:
        """Return under which of the person's numbers the archive has the study.

        Raises:
            NotFound: the person is not open any more, or the archive has no such study of them.
        """
        person = await self._care.read(lambda c: open_now(c, order.principal, order.person_id))
        for number in self._numbers_of(person):
            if (await self.archive.studies(number, order.study_uid)).studies:
                return number
        raise NotFound("the archive has no such study of this person")

    def _written_down(
        self, connection: Connection, principal: Principal, person_id: str, action: str
    ) -> tuple[Person, tuple[str, ...]]:
        """Write down that the archive is asked; return of whom, and by which numbers."""
        person = open_person(connection, principal, person_id)
        who, target, result = principal, f"Patient/{person_id}", result_of_read(principal, person_id)
        entry = AuditEntry(self._clock(), who.username, who.role, action, target, result, who.region, person.site)
        accounts.write_audit(connection, entry)
        return person, self._numbers_of(person)

    def _numbers_of(self, person: Person) -> tuple[str, ...]:
        system = self.archive.config.identifier_system
        return archived.usable(value for authority, value in person.identifiers if authority == system)

    def _tell(self, order: _Order, progress: Progress) -> Progress:
        # The newest last, so that what is forgotten is the oldest that is over.
        self._progress.pop(order.key, None)
        self._progress[order.key] = progress
        over = [key for key, one in self._progress.items() if one.state not in UNDER_WAY]
        for key in over[: max(0, len(self._progress) - REMEMBERED_MOST)]:
            del self._progress[key]
        return progress


class _OneByOne:
    """Fetches the images of one study, each on the path of one that comes by STOW-RS."""

    def __init__(self, care: Database, files: Images, archive: Archive, order: _Order, patient_id: str) -> None:
        self._archive, self._patient_id = archive, patient_id
        self._storing = Storing(care, files, order.principal, order.person_id, "", self._judge, is_fetched=True)
        self._asked: ArchivedImage | None = None
        self._in_a_row = 0

    async def fetch(self, image: ArchivedImage, now_ns: int) -> bool:
        """Fetch and store one; False where it cannot be used.

        Raises:
            ArchiveOfAnother: it is another patient's.
            ArchiveUnclear: it cannot be used, and neither can the many before it.
            ArchiveFailure, StoreFailure, OSError: archive, store or disk failed.
        """
        self._asked = image
        try:
            found = await self._archive.file(image, lambda boundary, body: self._storing.run(boundary, body, now_ns))
        except (ArchiveUnclear, BadRequest):
            found = []
        if any(one.failure == OTHER_PATIENT for one in found):
            raise ArchiveOfAnother("the archive sent a file of another patient")
        is_kept = any(not one.failure for one in found)
        self._in_a_row = 0 if is_kept else self._in_a_row + 1
        if self._in_a_row >= LEFT_OUT_MOST:
            raise ArchiveUnclear("image after image cannot be used")
        return is_kept

    def _judge(self, entry: Entry) -> int:
        if not archived.is_of(json.loads(entry.study), self._patient_id, self._archive.config.issuer):
            return OTHER_PATIENT
        return 0 if ArchivedImage(entry.study_uid, entry.series_uid, entry.sop_uid) == self._asked else OTHER_IMAGE


def _code_of(failure: Exception) -> str:
    if isinstance(failure, HubError):
        return failure.code
    return StoreFailure.code if isinstance(failure, OSError) else HubError.code


def open_now(connection: Connection, principal: Principal, person_id: str) -> Person:
    """Return a person who is open to somebody who asked a while ago, whatever people have refused since.

    Raises:
        NotFound: the person is not open to them any more.
    """
    if principal.role in ELSEWHERE:
        withheld = consents.refusing(connection, principal.region, Purpose.SHARING)
        principal = replace(principal, withheld=withheld)
    return open_person(connection, principal, person_id)


def _sop_uids(connection: Connection, order: _Order) -> set[str]:
    """Return what is here of a study and whole, under its person."""
    asked = Narrowing(persons=frozenset({order.person_id}), study_uids=frozenset({order.study_uid}))
    keys = {one.study_key for one in images.seen(connection, order.principal, asked)}
    return {one.sop_uid for one in studies.instances_of(connection, keys) if not one.is_preview}


def _here(connection: Connection, principal: Principal, person_id: str, uids: frozenset[str]) -> dict[str, Here]:
    asked = Narrowing(persons=frozenset({person_id}), study_uids=uids)
    found = dict[str, Here]()
    for study in images.seen(connection, principal, asked):
        every = studies.instances_of(connection, {study.study_key})
        # Reports of models and physicians are made here: they are no part of what the archive has.
        whole = {one.sop_uid for one in every if not one.is_preview and not is_report(one)}
        if study.study_uid not in found or found[study.study_uid].images < len(whole):
            found[study.study_uid] = Here(study.study_key, len(whole))
    return found
