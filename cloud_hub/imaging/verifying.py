"""Writes the verified report of each report that physicians have wholly judged, and stores it beside the model's own.

What was said is committed before; a hub that is killed at any moment writes the report when it runs again.  Its name is
made of the report and of the words that stand, so that it is written once for them.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from sqlalchemy import Connection
from telemed.study import OBJECT_NAME
from telemed.topics import NodeAddress
from telemed.transfer import FileKind

from cloud_hub.care import finding_review
from cloud_hub.care.finding_review import Review
from cloud_hub.errors import ImageUnreadable
from cloud_hub.imaging import entries, storing
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.model_reports import COMPREHENSIVE_3D_SR
from cloud_hub.imaging.sweeping import sweep
from cloud_hub.store import accounts, dialect, finding_reviews, studies
from cloud_hub.store.accounts import AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.studies import Entry, Instance, Narrowing, Study
from cloud_hub.store.transfers import FileFacts

ACTION = "study-report-verified"
MARGIN_NS = 60 * 10**9
"""Words that were being committed when the last look began."""
_ROOM = uuid.UUID("3f0c8f1e-7a52-4a26-9f0b-0f6f2f7f4c55")
"""Never changed."""

log = structlog.get_logger(__name__)


class Verifying:
    """Writes verified reports; `run` is called once, the care store is migrated by then."""

    def __init__(self, care: Database, region: str, files: Images, clock: Callable[[], int]) -> None:
        """Write nothing yet.

        Args:
            care: the care store.
            region: of the hub.
            files: the folder, and the processes that read and write.
            clock: nanoseconds since the Unix epoch.
        """
        self._care, self._region, self._files, self._clock = care, region, files, clock
        self._awake = asyncio.Event()
        self._since_ns = 0

    def wake(self) -> None:
        """Note that something was said; to be called on the event loop, returns at once."""
        self._awake.set()

    async def run(self) -> None:
        """Write until cancelled: what is due now, what is told, and now and then whatever was missed."""
        await sweep(self._awake, self.write_all, self._forget, "reports not verified")

    def _forget(self) -> None:
        self._since_ns = 0

    async def write_all(self) -> int:
        """Write what is due; return how many reports.

        Raises:
            StoreFailure: the database failed, or no reader starts; what was committed stays.
            OSError: the disk failed; likewise.
        """
        since_ns = self._clock() - MARGIN_NS
        keys = await self._care.read(lambda c: finding_reviews.studies_since(c, self._region, self._since_ns))
        written = 0
        for key in keys:
            for due in await self._care.read(lambda c, k=key: _due(c, self._region, k)):  # type: ignore[misc]
                written += await self._write(*due)
        self._since_ns = since_ns
        return written

    async def _write(self, study: Study, model: Instance, said: list[Review]) -> int:
        asked = await self._care.read(lambda c: _asked(c, study, model, said))
        scratch = self._files.blobs.scratch()
        try:
            made = await self._files.readers.ask("verified", self._files.path(model), verify=asked)
            await asyncio.to_thread(scratch.write_bytes, made.body)
            told = (await self._files.readers.ask("header", scratch)).told
            return await self._keep(study, said, scratch, entries.entry(told))
        except (FileNotFoundError, ImageUnreadable) as error:
            # What ails one study holds up no other; the next sweep tries it again.
            log.error("report not verified", why=error.reason if isinstance(error, ImageUnreadable) else "gone")
            return 0
        finally:
            await asyncio.to_thread(scratch.unlink, missing_ok=True)

    async def _keep(self, study: Study, said: list[Review], scratch: Path, entry: Entry) -> int:
        sha256, size_bytes, hashes = await asyncio.to_thread(self._files.blobs.keep, scratch)
        manifest = storing.manifest_of(hashes)
        facts = FileFacts(sha256, size_bytes, manifest, FileKind.STUDY, OBJECT_NAME, study.group_id)
        now_ns = self._clock()

        def work(connection: Connection) -> int:
            dialect.hold_persons(connection)
            # Who was erased meanwhile has no study any more, and gets no new one.
            asked = Narrowing(study_keys=frozenset({study.study_key}))
            now = next(studies.studies(connection, study.region, asked), None)
            if now is None:
                return 0
            storing.keep_row(
                connection, NodeAddress(study.region, study.site, storing.HUB), (facts, hashes), entry, now_ns
            )
            if now.reading is not None and not now.is_unread:
                # Who read the images need not read again what is said of them.
                images = now.reading.images + 1
                studies.note_read(connection, study.study_key, replace(now.reading, images=images))
            last = said[-1]
            target = f"Patient/{now.person_id}" if now.person_id else f"ImagingStudy/{now.study_key}"
            entry_of = AuditEntry(now_ns, last.username, last.role, ACTION, target, "ok", study.region, study.site)
            accounts.write_audit(connection, entry_of)
            return 1

        return await self._care.write(work)


def name_of(said: list[Review]) -> str:
    """Return the SOP Instance UID of the verified report of these words."""
    words = sorted(f"{one.finding_uid}/{one.version}" for one in said)
    return _uid(said[0].report.study_key, said[0].report.sha256, *words)


def _uid(*words: str) -> str:
    return f"2.25.{uuid.uuid5(_ROOM, '/'.join(words)).int}"


def _due(connection: Connection, region: str, study_key: str) -> list[tuple[Study, Instance, list[Review]]]:
    """Return the reports of a study that are wholly judged and not written as such, with the words that stand."""
    asked = Narrowing(study_keys=frozenset({study_key}))
    study = next(studies.studies(connection, region, asked), None)
    if study is None:
        return []
    there = studies.instances_of(connection, {study_key})
    names, found = {one.sop_uid for one in there}, list[tuple[Study, Instance, list[Review]]]()
    every = finding_reviews.of_studies(connection, {study_key})
    for sha256 in sorted({one.report.sha256 for one in every}):
        mine = [one for one in every if one.report.sha256 == sha256]
        said = sorted(finding_review.newest(mine).values(), key=lambda one: one.at_ns)
        model = next((one for one in there if one.sha256 == sha256), None)
        if finding_review.is_whole(mine) and model is not None and name_of(said) not in names:
            found.append((study, model, said))
    return found


def _asked(connection: Connection, study: Study, model: Instance, said: list[Review]) -> dict[str, object]:
    """Return what the process that writes is told."""
    series_uid = _uid(model.study_key, model.sha256, "verified")
    before = studies.instances_of(connection, {study.study_key}, series_uid)
    observers = {one.username: one for one in said}
    organization = f"{study.region}/{study.site}"[:64]
    return {
        "sop_uid": name_of(said),
        "series_uid": series_uid,
        "number": len(before) + 1,
        "observers": [
            {"name": _person_name(connection, one.username), "organization": organization, "at": _at(one.at_ns)}
            for one in sorted(observers.values(), key=lambda one: -one.at_ns)
        ],
        "words": {
            one.finding_uid: {
                "verdict": one.word.verdict.value,
                "reason": one.word.reason,
                "said": one.word.said and asdict(one.word.said),
            }
            for one in said
        },
        "predecessors": [(COMPREHENSIVE_3D_SR, one.sop_uid, one.series_uid) for one in before],
    }


def _person_name(connection: Connection, username: str) -> str:
    """Return somebody's name as DICOM writes it: Latin letters, then as it is written."""
    account = accounts.account_of(connection, username)
    names = (username, username) if account is None else (account.name_en, account.name_zh)
    latin, written = ("".join(" " if one in "^=\\" else one for one in name).strip()[:60] for name in names)
    return f"{latin}^={written}^"


def _at(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 10**9, UTC).isoformat()
