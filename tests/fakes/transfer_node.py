"""A node's real transfer client inside the test's own process, and files for it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry
from telemed.topics import NodeAddress
from telemed.transfer import FileKind

from edge_node.config import BedConfig, BufferConfig, EdgeConfig, NodeConfig, TransferConfig, UplinkConfig
from edge_node.uplink.transfer.client import Paces, TransferClient
from edge_node.uplink.transfer.pace import Unlimited
from edge_node.uplink.transfer.parcel import Labels, Parcel
from edge_node.uplink.transfer.releases import Release
from edge_node.uplink.transfer.states import State
from tests.fakes.brokers import running
from tests.fakes.rpc_hub import CLINIC, SECRETS

STUDY = Labels(FileKind.STUDY, "CT head")


def node_config(
    folder: Path, hub_port: int, address: NodeAddress = CLINIC, transfer: TransferConfig | None = None
) -> EdgeConfig:
    """Configuration of a node in a folder, quick in trying again."""
    secret = folder / f"{address.node}-secret"
    secret.write_text(SECRETS[address.node])
    asked = transfer or TransferConfig()
    return EdgeConfig(
        node=NodeConfig(region=address.region, site=address.site, node=address.node, name_zh="站", name_en="Site"),
        buffer=BufferConfig(folder=folder / address.node),
        uplink=UplinkConfig(secret_file=secret, first_retry_s=0.05, longest_retry_s=0.2),
        transfer=asked.model_copy(update={"hub_port": hub_port}),
        beds=[BedConfig(bed="B01", label="01")],
    )


def write_file(path: Path, size_bytes: int, seed: int = 1) -> Path:
    """Write a file of this size that compresses badly and is the same each time."""
    path.write_bytes(random.Random(seed).randbytes(size_bytes))
    return path


@dataclass(slots=True)
class RunningNode:
    """A client under test."""

    client: TransferClient
    registry: CollectorRegistry
    pace: Unlimited
    fetched: list[Release] = field(default_factory=list)

    def counted(self, name: str, **labels: str) -> float:
        """A counter of the node, 0 where it never counted."""
        return self.registry.get_sample_value(f"edge_transfer_{name}_total", labels) or 0

    async def until(self, parcel_id: str, right: Callable[[Parcel], bool], within_s: float = 30) -> Parcel:
        """Wait until a file of the queue is as wanted, and return it."""
        found: Parcel | None = None
        try:
            async with asyncio.timeout(within_s):
                while True:
                    found = next(each for each in await self.client.transfers() if each.parcel_id == parcel_id)
                    if right(found):
                        return found
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(found) from None

    async def done(self, parcel_id: str, within_s: float = 30) -> Parcel:
        """Wait until a file is safe at the hub."""
        return await self.until(parcel_id, lambda parcel: parcel.state is State.DONE, within_s)


@contextlib.asynccontextmanager
async def running_node(config: EdgeConfig, pace: Unlimited | None = None) -> AsyncIterator[RunningNode]:
    """Run a client while the block runs."""
    registry, used = CollectorRegistry(), pace or Unlimited()
    fetched: list[Release] = []
    client = TransferClient(config, Paces(used, Unlimited()), registry, fetched.append)
    try:
        async with running(client.run()):
            yield RunningNode(client, registry, used, fetched)
    finally:
        client.close()
