"""The parts of imaging as one node runs them: made from its configuration, joined with what is told from outside."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry
from telemed.errors import Code

from edge_node.config import ImagingConfig
from edge_node.errors import ConfigRefused, ImagingError
from edge_node.imaging import rows
from edge_node.imaging.arriving import Arriving
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.delivery import Delivery, Offer, Quiet
from edge_node.imaging.host import ImagingHost
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.objects import Objects
from edge_node.imaging.pictures import picture_of
from edge_node.imaging.pipe import Configure
from edge_node.imaging.retention import HasSent, Retention
from edge_node.imaging.study import Episode, Study
from edge_node.samples.roster import Roster

MIB = 1024 * 1024
NS_PER_DAY = 24 * 3600 * 10**9
PORT_WITHIN_S = 3.0
UNLISTED_S = 24 * 3600.0
"""So old must a file without a row be to be deleted."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Joints:
    """What the rest of the node gives to imaging."""

    roster: Callable[[], Roster]
    offer: Offer | None
    """Queues a file for the hub; None where the node transfers none."""
    has_sent: HasSent | None
    """Whether the hub has files that were offered; None where the node transfers none."""
    open_port: Callable[[], socket.socket]
    """Opens the port; raises ConfigRefused where that cannot be done."""
    clock_ns: Callable[[], int]


class Imaging:
    """Receiving and delivering of images at one node."""

    def __init__(self, config: ImagingConfig, joints: Joints, registry: CollectorRegistry) -> None:
        """Open folder and catalogue, but no port; blocking.

        Raises:
            ImagingError: folder or catalogue cannot be used.
        """
        assert config.folder is not None, "made absolute when the configuration was loaded"
        try:
            self._objects = Objects(config.folder)
        except OSError as error:
            raise ImagingError(f"{config.folder}: {error.strerror}") from error
        self.catalog = Catalog(config.folder)
        metrics = ImagingMetrics(registry)
        self._open_port = joints.open_port
        self._port: socket.socket | None = None
        self.host = ImagingHost(
            settings(config), config.receivers, self._listening, self.catalog, metrics, joints.clock_ns
        )
        self.delivery = Delivery(
            self.catalog,
            self._objects,
            joints.offer,
            lambda: episodes(joints.roster()),
            Quiet(config.preview_after_s, config.complete_after_s),
            picture_of,
            metrics,
            joints.clock_ns,
        )
        self.retention = Retention(
            self.catalog,
            self._objects,
            joints.has_sent,
            lambda: joints.roster().erased,
            round(config.keep_days * NS_PER_DAY),
            metrics,
            joints.clock_ns,
        )
        self._disk_limit_share = config.disk_limit_pct / 100
        self._limit_bytes = config.object_limit_mib * MIB

    async def open(self) -> None:
        """Open the port; the receivers of a node that was killed may hold it for a moment.

        Raises:
            ConfigRefused: somebody else has it.
        """
        until_s = time.monotonic() + PORT_WITHIN_S
        while self._port is None:
            try:
                self._port = self._open_port()
            except ConfigRefused:
                if time.monotonic() > until_s:
                    raise
                await asyncio.sleep(0.1)

    def _listening(self) -> socket.socket:
        assert self._port is not None, "open comes before receive"
        return self._port

    async def receive(self) -> None:
        """Receive images until cancelled; what a lost catalogue listed is read again first."""
        await asyncio.to_thread(self._bring_together)
        await self.host.run()

    def _bring_together(self) -> None:
        """Have every object that was acknowledged in the list, and no file lie there that was not.

        Raises:
            CatalogueFailure: the list cannot be read or written.
            OSError: the objects cannot be read.
        """
        if self.catalog.read_blocking(rows.is_listed):
            before_s = time.time() - UNLISTED_S
            swept = self._objects.sweep_unlisted(
                lambda sha256: self.catalog.read_blocking(lambda c: rows.has_file(c, sha256)), before_s
            )
            if swept:
                log.info("imaging-unlisted-deleted", objects=swept)
            return
        if any(self._objects.whole()):
            # Here alone the node's process reads data sets: else it does without the library and its memory.
            from edge_node.imaging import recovery  # noqa: PLC0415

            recovery.list_again(self._objects, self.catalog, self._limit_bytes)
        self.catalog.write_blocking(rows.note_listed)

    async def listed(self, limit: int, after: str = "") -> list[Study]:
        """Return at most so many studies, the newest first; of those behind one, where that is named.

        Raises:
            CatalogueFailure: they cannot be read.
        """
        return await self.catalog.read(lambda c: rows.studies(c, limit, after))

    async def found(self, study_id: str) -> Study | None:
        """Return one study; None where there is none.

        Raises:
            CatalogueFailure: it cannot be read.
        """
        return await self.catalog.read(lambda c: rows.study(c, study_id))

    async def assign(self, study_id: str, person_id: str, by: str) -> bool:
        """Note a person's decision whose a study is; False where there is no such study.

        Raises:
            CatalogueFailure: it is not noted.
        """
        return await self.catalog.write(lambda c: rows.assign(c, study_id, person_id, by))

    def arriving(self, sender: str, study_uid: str) -> Arriving:
        """Return a file that is to come piece by piece.

        Args:
            sender: who brings it.
            study_uid: the study that it must be of; empty: any.
        """
        return Arriving(
            self._objects.scratch(), self._limit_bytes, lambda path: self.host.look(path, sender, study_uid)
        )

    def stuck(self) -> Iterator[tuple[str, str]]:
        """Yield what somebody must look at: a code of `telemed.errors`, and how many."""
        for what, code in (("unassigned", Code.STUDY_UNASSIGNED), ("conflicts", Code.IMAGES_DIFFER)):
            if count := self.delivery.held.get(what, 0):
                yield code, f"×{count}"
        if self.delivery.used_share >= self._disk_limit_share:
            yield Code.IMAGES_REFUSED, ""

    def close(self) -> None:
        """Close port and catalogue; idempotent, blocking."""
        if self._port is not None:
            self._port.close()
        self.catalog.close()


def settings(config: ImagingConfig) -> Configure:
    """Return what a receiver is told."""
    return Configure(
        folder=str(Path(config.folder or "")),
        ae_title=config.ae_title,
        senders=list(config.senders),
        associations=-(-config.associations // config.receivers),
        object_limit_bytes=config.object_limit_mib * MIB,
        disk_limit_share=config.disk_limit_pct / 100,
        stall_s=config.stall_s,
        idle_s=config.idle_s,
        readers=list(config.readers),
        destinations={each.ae_title: (each.host, each.port) for each in config.destinations},
        watched="" if config.watched_folder is None else str(config.watched_folder),
    )


def episodes(roster: Roster) -> Iterator[Episode]:
    """Yield who is at the site now: the persons in its beds."""
    for bed in roster.beds:
        person = roster.occupant(bed)
        if person is not None:
            facts = person.facts
            identifiers = frozenset((each.system, each.value) for each in facts.identifiers)
            yield Episode(person.person_id, identifiers, facts.birth_date, facts.gender)
