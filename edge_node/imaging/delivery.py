"""Gathers what came into studies, says whose they are, and hands complete ones to the transfer of files."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import structlog
from telemed import study as wire
from telemed.study import StudyManifest, StudyObject
from telemed.whole_files import OWNER_ONLY, write_whole

from edge_node.errors import BufferFailure, UplinkError
from edge_node.imaging import rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.objects import Objects
from edge_node.imaging.study import MATCHED, NO_PICTURE, Episode, Instance, Study, is_complete, key_image, whose

LOOK_EVERY_S = 1.0
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


Offer = Callable[[Offered], Awaitable[object]]
"""Queues a file durably; the same file in the same group is queued once."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """How long nothing must come of a study."""

    preview_s: float
    complete_s: float


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
    _version: tuple[int, int] = (-1, -1)
    _episodes: frozenset[Episode] = frozenset()
    _failing: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Look once a second until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Do what is due now; what fails is tried again at the next look, and holds up no other study.

        Raises:
            CatalogueFailure: the catalogue cannot be read or written.
        """
        await self._assign()
        if self.offer is not None:
            for study in await self.catalog.read(rows.to_offer):
                await self._attempt(study, self.offer)
        await self._count()

    async def _assign(self) -> None:
        """Say whose studies are where that can be said, when studies or people have changed."""
        version, episodes = await self.catalog.read(rows.version), frozenset(self.episodes())
        if (version, episodes) == (self._version, self._episodes):
            return
        for study in await self.catalog.read(rows.mixed_matches):
            await self.catalog.write(lambda c, one=study: rows.assign(c, one.study_id, "", ""))  # type: ignore[misc]
        for study in await self.catalog.read(rows.unassigned):
            person = "" if study.is_mixed else whose(study.patient, episodes)
            if person:
                await self.catalog.write(lambda c, one=study, to=person: rows.assign(c, one.study_id, to, MATCHED))  # type: ignore[misc]
        self._episodes = episodes

    async def _count(self) -> None:
        version = await self.catalog.read(rows.version)
        if version == self._version:
            return
        self._version, self.held = version, await self.catalog.read(rows.count_of)
        for what, count in self.held.items():
            self.metrics.held.labels(what).set(count)

    async def _attempt(self, study: Study, offer: Offer) -> None:
        now_ns = self.clock_ns()
        try:
            if not study.key_image and now_ns - study.last_ns >= self.quiet.preview_s * NS:
                study = await self._preview(study, offer)
            if is_complete(study, now_ns, round(self.quiet.complete_s * NS)):
                await self._deliver(study, offer)
        except (UplinkError, BufferFailure, OSError) as failure:
            if study.study_id not in self._failing:
                log.warning("imaging-study-not-offered", reason=type(failure).__name__)
            self._failing.add(study.study_id)
        else:
            self._failing.discard(study.study_id)

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

    async def _deliver(self, study: Study, offer: Offer) -> None:
        """Offer manifest and objects; done again after a crash it offers nothing twice."""
        instances = await self.catalog.read(lambda c: rows.instances(c, study.study_id))
        manifest = manifest_of(study, instances)
        await self._offer_made(study, offer, wire.pack(manifest), wire.MANIFEST_NAME)
        for each in instances:
            await offer(Offered(self.objects.path(each.sha256), wire.OBJECT_NAME, study.study_id))
        await self.catalog.write(lambda c: rows.note_offered(c, study.study_id, study.generation))
        log.info("imaging-study-offered", objects=len(instances), is_assigned=bool(study.person_id))

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
