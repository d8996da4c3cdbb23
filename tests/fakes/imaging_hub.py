"""The hub's index of images over real stores: files lie as the transfer leaves them, real readers read them."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from sqlalchemy import Connection
from telemed import study
from telemed.study import OBJECT_NAME, StudyManifest
from telemed.topics import NodeAddress
from telemed.transfer import FileKind
from telemed.v1 import event_pb2

from cloud_hub.config import ImagingConfig
from cloud_hub.imaging.face import Images
from cloud_hub.imaging.indexing import Indexer
from cloud_hub.imaging.readers import Readers
from cloud_hub.store import persons, studies, transfers
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.transfers import FileFacts, Transfer

NOW_NS = 1_800_000_000 * 10**9


@dataclass(slots=True)
class ImagingHub:
    """Stores, readers and the indexer; nothing runs by itself."""

    care: Database
    blobs: Blobs
    readers: Readers
    indexer: Indexer
    registry: CollectorRegistry
    clock_ns: int = NOW_NS
    generation: int = 0

    @classmethod
    def over(
        cls, care: Database, folder: Path, config: ImagingConfig | None = None, region: str = "baoshan"
    ) -> "ImagingHub":
        """Make one that keeps its files in a folder."""
        registry, blobs = CollectorRegistry(), Blobs(folder)
        readers = Readers(config or ImagingConfig())
        indexer = Indexer(care, region, blobs, readers, registry, lambda: NOW_NS)
        return cls(care, blobs, readers, indexer, registry)

    @property
    def images(self) -> Images:
        """What the routes take."""
        return Images(self.blobs, self.readers)

    def arrive(
        self, address: NodeAddress, content: bytes, group: str = "g1", name: str = "", *, is_preview: bool = False
    ) -> Transfer:
        """Have a file lie complete, as the transfer leaves it."""
        self.clock_ns += 1
        source = self.blobs.folder / "arriving"
        source.write_bytes(content)
        sha256, size_bytes, hashes = self.blobs.keep(source)
        source.unlink()
        manifest = hashlib.sha256(hashes).hexdigest()
        facts = FileFacts(sha256, size_bytes, manifest, FileKind.STUDY, name or OBJECT_NAME, group, is_preview)
        now_ns = self.clock_ns

        def work(connection: Connection) -> Transfer:
            row = transfers.offer(connection, address, facts, now_ns)
            transfers.keep_hashes(connection, address, row.transfer_id, hashes, now_ns)
            transfers.complete(connection, address, row.transfer_id, now_ns)
            found = transfers.find(connection, address, row.transfer_id)
            assert found is not None
            return found

        return self.care.write_blocking(work)

    def tell(self, address: NodeAddress, person_id: str, group: str = "g1") -> Transfer:
        """Have the next manifest of a group arrive, of somebody whom the site told of; empty: nobody decided."""
        if person_id:
            self.register(address, person_id)
        self.generation += 1
        return self.send_manifest(address, StudyManifest(group, "1.2.3", self.generation, person_id))

    def send_manifest(self, address: NodeAddress, manifest: StudyManifest) -> Transfer:
        """Have a manifest arrive as it is."""
        return self.arrive(address, study.pack(manifest), manifest.study_id, study.MANIFEST_NAME)

    def register(self, address: NodeAddress, person_id: str) -> None:
        """Have a site tell of a person, if it has not."""

        def work(connection: Connection) -> None:
            if persons.person(connection, address.region, person_id) is None:
                body = event_pb2.PersonRegistered(family_name="谷")
                persons.save_person(connection, (address.region, address.site), person_id, body, NOW_NS)

        self.care.write_blocking(work)

    def outcome(self, row: Transfer) -> str | None:
        """What became of a file."""
        return self.care.read_blocking(lambda c: studies.outcome_of(c, row.transfer_id))
