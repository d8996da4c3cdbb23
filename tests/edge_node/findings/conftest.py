"""A node's models with the released microbleed bundle, and its images with a made-up head in them."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydicom import Dataset, dcmread
from telemed.bundle import Bundle

from deploy.bundles import packing
from deploy.bundles.keys import KeyFolder
from deploy.bundles.repository import Repository
from edge_node.config import FindingsConfig
from edge_node.findings import rules
from edge_node.findings.due import Waits
from edge_node.findings.filing import Filing
from edge_node.findings.metrics import FindingsMetrics
from edge_node.findings.readings import Means, Readings
from edge_node.imaging import part10, reading, rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.delivery import Offered
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored
from edge_node.inference import ports
from edge_node.inference.metrics import InferenceMetrics
from edge_node.inference.runtime import Inference
from edge_node.inference.worker import Means as WorkerMeans
from models.tasks.cmb import bundling

NS = 10**9
ZONE = timezone(timedelta(hours=8))
TASK = "cmb"


@dataclass(frozen=True, slots=True)
class Signed:
    """The released models as a bundle, and the root of trust that it leads back to."""

    path: Path
    root: bytes
    bundle: Bundle


@pytest.fixture(scope="session")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    folder = tmp_path_factory.mktemp("maker")
    repository = Repository(folder / "repository", KeyFolder(folder / "keys"))
    repository.begin()
    repository.add_task(TASK)
    draft = bundling.fill(folder / "draft")
    bundle = packing.pack(draft, folder / "draft", repository, folder / "cmb.bundle")
    return Signed(folder / "cmb.bundle", repository.root(), bundle)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Return two versions of a model."""
    folder = tmp_path_factory.mktemp("drafts")
    draft = bundling.fill(folder)
    first = packing.complete(draft, folder)
    return first, packing.complete({**draft, "version": "9.9.9"}, folder)


@dataclass(slots=True)
class Inbox:
    """Bundles as they come from the hub."""

    files: list[ports.Arrival] = field(default_factory=list)

    async def waiting(self) -> Sequence[ports.Arrival]:
        return list(self.files)

    async def settled(self, arrival: ports.Arrival) -> None:
        self.files.remove(arrival)


class Unlimited:
    """A budget that never makes anybody wait."""

    def wait_s(self, now_s: float, usual_s: float) -> float:
        return usual_s


@asynccontextmanager
async def models_of(
    folder: Path, signed: Signed, *, is_research: bool = True, is_new: bool = True
) -> AsyncIterator[Inference]:
    """Run the models of a node to which the bundle comes now, or came before."""
    settings = ports.Settings(
        folder, signed.root, WorkerMeans(1, 1024, folder / "engines"), is_research, False, 600, 3, 3
    )
    inbox = Inbox([ports.Arrival("cmb", signed.path)] if is_new else [])
    outlets = ports.Outlets(InferenceMetrics(CollectorRegistry()), lambda *_: None, Unlimited)
    models = await asyncio.to_thread(Inference, settings, inbox, outlets)
    running = asyncio.create_task(models.run())
    try:
        async with asyncio.timeout(60):
            # What a worker does has no event here.
            while inbox.files:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield models
    finally:
        running.cancel()
        await asyncio.wait([running])


@dataclass(slots=True)
class Bench:
    """Readings on a catalogue, with clocks that are moved by hand."""

    folder: Path
    catalog: Catalog
    objects: Objects
    now_ns: int = 1_000_000 * NS
    steady_s: float = 0.0
    noted: list[tuple[str, str, str]] = field(default_factory=list)
    filed_when_noted: list[int] = field(default_factory=list)
    """How many objects of this node were in the catalogue when something was noted."""
    offered: list[Offered] = field(default_factory=list)

    def arrive(self, files: Sequence[Path]) -> None:
        """Have files arrive now, as a receiver takes them."""
        for path in files:
            parts = part10.parted(path.read_bytes())
            content = reading.read(parts.data, parts.transfer_syntax, 10**9)
            head = part10.head(parts.sop_class_uid, parts.sop_instance_uid, parts.transfer_syntax)
            sha256 = self.objects.put(head, parts.data)
            size_bytes = len(head) + len(parts.data)
            one = Stored(0, sha256, size_bytes, parts.transfer_syntax, "MR-1", content)
            self.catalog.write_blocking(lambda c, one=one: rows.take(c, one, self.now_ns))  # type: ignore[misc]

    def results(self) -> list[str]:
        """Return what was noted, without targets, engines and times."""
        return [f"{action} {result.split()[0]}" for action, _, result in self.noted]

    async def _note(self, action: str, target: str, result: str) -> None:
        filed = self.catalog.read_blocking(lambda c: [rows.instances(c, each.study_id) for each in rows.studies(c)])
        self.filed_when_noted.append(sum(each.modality != "MR" for of_study in filed for each in of_study))
        self.noted.append((action, target, result))

    async def _offer(self, file: Offered) -> None:
        self.offered.append(file)

    def made(self) -> dict[str, Dataset]:
        """Return the objects that this node made, by modality."""
        (study,) = self.catalog.read_blocking(rows.studies)
        instances = self.catalog.read_blocking(lambda c: rows.instances(c, study.study_id))
        own = [each for each in instances if each.modality != "MR"]
        return {each.modality: dcmread(self.objects.path(each.sha256)) for each in own}

    def readings(self, models: Inference) -> Readings:
        """Return readings; a study is complete after 30 seconds of quiet."""
        return Readings(
            self.catalog,
            self.objects,
            models,
            rules.load(),
            Waits(30 * NS, 3600 * NS),
            Means(2048, 60, FindingsConfig().again_after_s),
            Filing(self.catalog, self.objects, self._offer, "edge-clinic", 2048, 60, lambda: self.now_ns, ZONE),
            self._note,
            FindingsMetrics(CollectorRegistry()),
            lambda: self.now_ns,
            lambda: self.steady_s,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    catalog = Catalog(tmp_path / "images")
    yield Bench(tmp_path, catalog, Objects(tmp_path / "images"))
    catalog.close()
