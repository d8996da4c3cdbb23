"""A real RPC server of the hub inside the test's own process, and nodes that may call it."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from prometheus_client import CollectorRegistry
from telemed.topics import NodeAddress
from telemed.transfer import MESSAGE_LIMIT_BYTES, NODE_KEY, SECRET_KEY
from telemed.v1 import transfer_pb2_grpc

from cloud_hub.broker_rights import User, Users
from cloud_hub.config import RpcConfig
from cloud_hub.rpc.identity import SecretIdentity
from cloud_hub.rpc.server import RpcServer
from cloud_hub.store import transfers
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from cloud_hub.store.transfers import Transfer
from tests.fakes.brokers import running
from tests.fakes.ports import free_port

REGION = "baoshan"
CLINIC = NodeAddress(REGION, "baoshan-clinic", "edge-clinic")
HOME = NodeAddress(REGION, "heming-home", "edge-home")
SECRETS = {CLINIC.node: "clinic-secret", HOME.node: "home-secret", "hub": "hub-secret"}


def users() -> Users:
    """The users of a secrets file."""
    nodes = {CLINIC.node: CLINIC, HOME.node: HOME}
    return Users(
        {
            name: User(name, hashlib.sha256(secret.encode()).digest(), nodes.get(name))
            for name, secret in SECRETS.items()
        }
    )


def metadata(node: str, secret: str | None = None) -> tuple[tuple[str, str], ...]:
    """What a call of a node shows."""
    return ((NODE_KEY, node), (SECRET_KEY, SECRETS[node] if secret is None else secret))


def sqlite(folder: Path) -> Database:
    """A migrated care store in a folder."""
    care = Database(f"sqlite:///{folder / 'care.db'}", CARE, "care")
    care.migrate()
    return care


@dataclass(slots=True)
class RunningHub:
    """A hub under test."""

    server: RpcServer
    care: Database
    registry: CollectorRegistry
    completed: list[Transfer] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self.server.port

    def counted(self, name: str, **labels: str) -> float:
        """A counter of the hub, 0 where it never counted."""
        return self.registry.get_sample_value(f"hub_transfer_{name}_total", labels) or 0

    async def find(self, transfer_id: str, address: NodeAddress = CLINIC) -> Transfer:
        """The row of a transfer."""
        found = await self.care.read(lambda c: transfers.find(c, address, transfer_id))
        assert found is not None
        return found

    @contextlib.asynccontextmanager
    async def stub(self, *options: tuple[str, int]) -> AsyncIterator["transfer_pb2_grpc.TransferAsyncStub"]:
        """A bare client, for calls that our own client would not make."""
        limits = [("grpc.max_send_message_length", 16 * MESSAGE_LIMIT_BYTES), ("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}", options=[*limits, *options]) as channel:
            yield transfer_pb2_grpc.TransferStub(channel)


@contextlib.asynccontextmanager
async def running_hub(
    folder: Path, care: Database, change: Callable[[RpcConfig], RpcConfig] = lambda config: config, port: int = 0
) -> AsyncIterator[RunningHub]:
    """Run a hub while the block runs."""
    config = change(RpcConfig(port=port or free_port(), folder=folder / "blobs"))
    registry = CollectorRegistry()
    completed: list[Transfer] = []
    server = RpcServer(config, REGION, care, SecretIdentity(users()), registry, completed.append)
    serving, listening = asyncio.ensure_future(server.run()), asyncio.ensure_future(server.listening.wait())
    await asyncio.wait([serving, listening], return_when=asyncio.FIRST_COMPLETED)
    async with running(serving):
        if serving.done():
            serving.result()
        yield RunningHub(server, care, registry, completed)
