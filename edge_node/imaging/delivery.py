"""Gathers what came into studies, says whose they are, and hands complete ones to the transfer of files."""

import asyncio
import contextlib
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import structlog
from telemed import study as wire
from telemed.study import ManifestTooLarge, StudyManifest, StudyObject
from telemed.whole_files import OWNER_ONLY, write_whole

from edge_node.errors import BufferFailure, UplinkError
from edge_node.imaging import rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.objects import Objects
from edge_node.imaging.study import (
    MATCHED,
    NO_PICTURE,
    Episode,
    Instance,
    Study,
    goes_ahead,
    is_complete,
    key_image,
    whose,
)

LOOK_EVERY_S = 1.0
LEAST_REST_S = 0.02
LONGEST_REST_LOOKS = 255
NS = 1_000_000_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Offered:
    """One file of a study for the transfer."""

    path: Path
    """Nobody writes to it any more; it may be linked, and is still needed here."""
    name: str
    """For people; says nothing of the patient."""
    group: str
    """The study's id."""
    is_preview: bool = False
    is_ahead: bool = False
    """Whole, and goes before the images of all studies."""


Offer = Callable[[Offered], Awaitable[object]]
"""Queues a file durably; the same file in the same group is queued once."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """How long nothing must come of a study."""

    preview_s: float
    complete_s: float


@dataclass(slots=True)
class _Rest:
    """How long a study is left alone that could not be offered, in looks: the next one tries again, then ever fewer."""

    looks: int = 0
    left: int = 0

    def is_over(self) -> bool:
        self.left -= 1
        return self.left < 0

    def begin(self) -> None:
        self.left, self.looks = self.looks, min(2 * self.looks + 1, LONGEST_REST_LOOKS)


@dataclass(slots=True)
class Delivery:
    """Looks after the studies of the catalogue; `run` is called once."""

    catalog: Catalog
    objects: Objects
    offer: Offer | None
    """None: nothing is sent, the studies stay here."""
    episodes: Callable[[], Iterable[Episode]]
    """Who is at the site now."""
    quiet: Quiet
    picture: Callable[[Path], Awaitable[bytes | None]]
    metrics: ImagingMetrics
    clock_ns: Callable[[], int] = time.time_ns
    held: Mapping[str, int] = field(default_factory=dict)
    """What the catalogue has, by a word each, as of the last look."""
    used_share: float = 0.0
    """How full the disk is, as of the last look; 1 where it does not say."""
    due_in_s: float = math.inf
    """When the next study will have been quiet for long enough, as of the last look."""
    _version: tuple[int, int] = (-1, -1)
    """Of what was counted."""
    _assigned_version: tuple[int, int] = (-1, -1)
    """Of what was looked at for whose it is."""
    _episodes: frozenset[Episode] = frozenset()
    _announced: dict[str, str] = field(default_factory=dict)
    """Of studies that are not complete yet: whose the hub was told that they are."""
    _rests: dict[str, _Rest] = field(default_factory=dict)
    """Of studies that could not be offered."""

    async def run(self) -> None:
        """Look once a second, and when something is due, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(min(LOOK_EVERY_S, max(LEAST_REST_S, self.due_in_s)))

    async def look(self) -> None:
        """Do what is due now; what fails is tried again, ever less often, and holds up no other study.

        Raises:
            CatalogueFailure: the catalogue cannot be read or written.
        """
        # In a thread, and kept: a disk that hangs or is gone must not hold up whoever asks how things stand.
        self.used_share = await asyncio.to_thread(self._measured)
        await self._assign()
        self.due_in_s = math.inf
        if self.offer is not None:
            for study in await self.catalog.read(rows.to_offer):
                rest = self._rests.get(study.study_id)
                if rest is None or rest.is_over():
                    await self._attempt(study, self.offer)
        await self._count()

    async def _assign(self) -> None:
        """Say whose studies are where that can be said, when studies or people have changed."""
        version, episodes = await self.catalog.read(rows.version), frozenset(self.episodes())
        if (version, episodes) == (self._assigned_version, self._episodes):
            return
        for study in await self.catalog.read(rows.mixed_matches):
            await self.catalog.write(lambda c, one=study: rows.assign(c, one.study_id, "", ""))  # type: ignore[misc]
        for study in await self.catalog.read(rows.unassigned):
            person = "" if study.is_mixed else whose(study.patient, episodes)
            if person:
                await self.catalog.write(lambda c, one=study, to=person: rows.assign(c, one.study_id, to, MATCHED))  # type: ignore[misc]
        # As of before: what came meanwhile, and what was written here, is looked at once more.
        self._assigned_version, self._episodes = version, episodes

    def _measured(self) -> float:
        try:
            return self.objects.used_share()
        except OSError:
            return 1.0

    async def _count(self) -> None:
        version = await self.catalog.read(rows.version)
        if version == self._version:
            return
        self._version, self.held = version, await self.catalog.read(rows.count_of)
        for what, count in self.held.items():
            self.metrics.held.labels(what).set(count)

    async def _attempt(self, study: Study, offer: Offer) -> None:
        now_ns = self.clock_ns()
        quiet_s = (now_ns - study.last_ns) / NS
        due_s = self.quiet.complete_s if study.key_image else min(self.quiet.preview_s, self.quiet.complete_s)
        if quiet_s < due_s:
            self.due_in_s = min(self.due_in_s, due_s - quiet_s)
        try:
            if not study.key_image and quiet_s >= self.quiet.preview_s:
                study = await self._preview(study, offer)
            if study.key_image and not study.offered_generation:
                await self._announce(study, offer)
            if is_complete(study, now_ns, round(self.quiet.complete_s * NS)):
                await self._deliver(study, offer)
        except (UplinkError, BufferFailure, OSError, ManifestTooLarge) as failure:
            if study.study_id not in self._rests:
                log.warning("imaging-study-not-offered", reason=type(failure).__name__)
            self._rests.setdefault(study.study_id, _Rest()).begin()
        else:
            self._rests.pop(study.study_id, None)

    async def _preview(self, study: Study, offer: Offer) -> Study:
        """Offer the key image ahead of everything else."""
        instances = await self.catalog.read(lambda c: rows.instances(c, study.study_id))
        chosen = key_image(instances)
        made = await self.picture(self.objects.path(chosen.sha256)) if chosen is not None else None
        noted = NO_PICTURE
        if made is not None:
            await self._offer_made(study, offer, made, wire.KEY_IMAGE_NAME)
            noted = hashlib.sha256(made).hexdigest()
        await self.catalog.write(lambda c: rows.note_key_image(c, study.study_id, noted))
        return replace(study, key_image=noted)

    async def _announce(self, study: Study, offer: Offer) -> None:
        """Offer a manifest of what has come so far, once, and again when it turns out to be another person's study.

        So people at the hub see a study long before it is complete here, and never under whom it is not of.
        """
        if self._announced.get(study.study_id) == study.person_id:
            return
        await self._offer_manifest(study, offer)
        self._announced[study.study_id] = study.person_id

    async def _deliver(self, study: Study, offer: Offer) -> None:
        """Offer manifest and objects; done again after a crash it offers nothing twice."""
        objects = await self._offer_manifest(study, offer)
        await self._offer_files(study.study_id, offer)
        await self.catalog.write(lambda c: rows.note_offered(c, study.study_id, study.generation))
        self._announced.pop(study.study_id, None)
        log.info("imaging-study-offered", objects=objects, is_assigned=bool(study.person_id))

    async def _offer_manifest(self, study: Study, offer: Offer) -> int:
        """Offer what a study is as far as it has come; return of how many objects."""
        instances = await self.catalog.read(lambda c: rows.instances(c, study.study_id))
        await self._offer_made(study, offer, wire.pack(manifest_of(study, instances)), wire.MANIFEST_NAME)
        return len(instances)

    async def _offer_files(self, study_id: str, offer: Offer) -> None:
        """Offer the objects that were not offered yet, and note which were, also where one fails."""
        done: list[str] = []
        try:
            for each in await self.catalog.read(lambda c: rows.not_offered(c, study_id)):
                path, is_ahead = self.objects.path(each.sha256), goes_ahead(each.modality, each.size_bytes)
                await offer(Offered(path, wire.OBJECT_NAME, study_id, is_ahead=is_ahead))
                done.append(each.sha256)
        finally:
            await self.catalog.write(lambda c: rows.note_files(c, done))

    async def _offer_made(self, study: Study, offer: Offer, content: bytes, name: str) -> None:
        path = self.objects.folder / f"offered-{name}"
        await asyncio.to_thread(write_whole, path, content, OWNER_ONLY)
        try:
            await offer(Offered(path, name, study.study_id, is_preview=True))
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def manifest_of(study: Study, instances: Sequence[Instance]) -> StudyManifest:
    """Return what the hub is told of a study."""
    return StudyManifest(
        study_id=study.study_id,
        study_uid=study.study_uid,
        generation=study.generation,
        person_id=study.person_id,
        assigned_by=study.assigned_by,
        patient_id=study.patient.patient_id,
        issuer=study.patient.issuer,
        study_date=study.study_date,
        description=study.description,
        is_mixed=study.is_mixed,
        key_image_sha256="" if study.key_image == NO_PICTURE else study.key_image,
        objects=tuple(StudyObject(**asdict(each)) for each in instances),
    )
