"""What a node has of images and models: receiving, models, readings of the one by the other; each may be missing."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from telemed.transfer import FileKind
from telemed.v1 import uplink_pb2

from edge_node import arrangement, page_server, stuck, supervise
from edge_node.audittrail import AuditTrail
from edge_node.buffer.clock import NodeClock
from edge_node.bundle_arrivals import BundleArrivals
from edge_node.config import EdgeConfig
from edge_node.imaging.delivery import Offered
from edge_node.imaging.images import Images
from edge_node.imaging.node import Imaging, Joints
from edge_node.inference.runtime import Inference
from edge_node.sitelog import SiteLog
from edge_node.uplink.transfer.client import TransferClient
from edge_node.uplink.transfer.parcel import Labels
from edge_node.uplink.transfer.releases import Release

AHEAD_OF_IMAGES = 2
"""Priority of what says much in little: one before that of a study's images."""

Stage = tuple[str, Callable[[], Awaitable[None]], supervise.Budget | None]


@dataclass(frozen=True, slots=True)
class Beside:
    """What else of the node images and models have to do with."""

    config: EdgeConfig
    log: SiteLog
    audit: AuditTrail
    clock: NodeClock
    files: TransferClient | None
    """None: nothing is sent and no bundle comes."""
    figures: CollectorRegistry


class Studies:
    """Images, models and readings of one node."""

    def __init__(self, beside: Beside) -> None:
        """Open folder and catalogue of the images if they can be used, and start nothing; blocking."""
        self._beside = beside
        self.imaging = self._imaging()
        """None where it is not configured."""
        self.models = self._models()
        """None where none can come, or none is believed."""
        self._read = self._readings()

    def fetched(self, release: Release) -> None:
        """Look at a file that came from the hub."""
        if self.models is not None and release.kind is FileKind.BUNDLE:
            self.models.arrived()

    def stages(self) -> Iterator[Stage]:
        """Yield what is to run for good."""
        if self.imaging is not None:
            yield "imaging", self.imaging.receive, None
            yield "studies", self.imaging.deliver, None
            yield "images", self.imaging.keep, None
            yield "imports", self._imports(self.imaging), None
        if self.models is not None:
            yield "models", self.models.run, None
        if self._read is not None:
            yield "readings", self._read, None

    def stuck(self) -> Iterator[uplink_pb2.Stuck]:
        """Yield what somebody must look at."""
        if self.imaging is not None:
            yield from (uplink_pb2.Stuck(code=code, what=what) for code, what in self.imaging.stuck())
        if self.models is not None:
            yield from stuck.of_models(self.models.refused())

    def close(self) -> None:
        """Close what was opened; idempotent, blocking."""
        if self.imaging is not None:
            self.imaging.close()

    def _imaging(self) -> Images | None:
        settings, files, clock_ns = self._beside.config.imaging, self._beside.files, self._beside.clock.now_ns
        if settings is None:
            return None

        async def offer(file: Offered) -> None:
            if files is not None:
                priority = AHEAD_OF_IMAGES if file.is_ahead else -1
                await files.offer(file.path, Labels(FileKind.STUDY, file.name, file.group, file.is_preview, priority))

        joints = Joints(
            roster=lambda: self._beside.log.roster,
            offer=offer if files is not None else None,
            has_sent=files.has_sent if files is not None else None,
            open_port=lambda: page_server.open_port(settings.host, settings.port, "imaging.port"),
            clock_ns=clock_ns,
        )
        return Images(lambda: Imaging(settings, joints, self._beside.figures))

    def _models(self) -> Inference | None:
        beside, files = self._beside, self._beside.files
        root = arrangement.models_root(beside.config) if files is not None else b""
        if files is None or not root:
            return None

        def note(action: str, target: str, result: str) -> None:
            beside.audit.note_soon(None, action, target, result)

        outlets = arrangement.models_outlets(beside.figures, note, supervise.Budget, beside.clock)
        return arrangement.models(beside.config, root, BundleArrivals(files, beside.audit.settle), outlets)

    def _imports(self, imaging: Images) -> Callable[[], Awaitable[None]]:
        beside, settings = self._beside, self._beside.config.imaging

        async def note(action: str, target: str, result: str) -> None:
            await beside.audit.note(None, action, target, result)

        imports_of = arrangement.study_imports(beside.config, lambda: beside.log.roster, note, beside.figures)

        async def run() -> None:
            await imports_of(await imaging.opened()).run(settings.import_folder if settings is not None else None)

        return run

    def _readings(self) -> Callable[[], Awaitable[None]] | None:
        beside, imaging = self._beside, self.imaging
        if imaging is None or self.models is None:
            return None

        async def note(action: str, target: str, result: str) -> None:
            await beside.audit.note(None, action, target, result)

        readings_of = arrangement.study_readings(beside.config, self.models, note, beside.figures)

        async def run() -> None:
            await readings_of(await imaging.opened()).run()

        return run
