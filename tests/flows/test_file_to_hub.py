"""A file that is queued at the node lies at the hub, whole, also when node and hub die on the way."""

import hashlib
import random
from pathlib import Path

import pytest

from tests.region.region import Clinic, Region, running, until

CLINIC = Clinic(beds=("B01",))
FILE_BYTES = 16 * 1024 * 1024


def blob(region: Region, sha256: str) -> Path | None:
    return next((region.folder / "hub" / "blobs").rglob(sha256), None)


def transfers_of(region: Region) -> str:
    return region.run("edge_node", "transfers", "--config", "edge-clinic.toml")


def received_bytes(region: Region) -> int:
    return sum(path.stat().st_blocks * 512 for path in (region.folder / "hub" / "blobs" / "incoming").rglob("*"))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_file_arrives_whole_although_node_and_hub_are_killed_on_the_way(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(Region(tmp_path_factory.mktemp("region"), (CLINIC,))) as region:
        content = random.Random(5).randbytes(FILE_BYTES)
        sha256 = hashlib.sha256(content).hexdigest()
        (region.folder / "exam.bin").write_bytes(content)
        said = region.run("edge_node", "send", "--config", "edge-clinic.toml", "--kind", "exam", "exam.bin")
        assert said.startswith("queued: ")

        until(lambda: received_bytes(region) > FILE_BYTES // 8, 60, "an eighth of the file is at the hub")
        region.kill("edge-clinic")
        before = received_bytes(region)
        assert blob(region, sha256) is None
        region.start_edge()
        until(lambda: received_bytes(region) > max(before, FILE_BYTES // 3), 60, "a third of the file is at the hub")
        region.kill("hub")
        region.start_hub()
        found = until(lambda: blob(region, sha256), 60, "the whole file is at the hub")
        assert found is not None
        assert hashlib.sha256(found.read_bytes()).hexdigest() == sha256
        until(lambda: "safe at the hub" in transfers_of(region), 10, "the node knows that it is there")
