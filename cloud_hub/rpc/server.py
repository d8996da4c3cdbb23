"""The gRPC server inside the hub's process: opened, swept now and then, and ended in bounded time."""

import asyncio
from collections.abc import Callable
from time import time_ns

import grpc
import structlog
from prometheus_client import CollectorRegistry
from telemed.topics import NodeAddress
from telemed.transfer import MESSAGE_LIMIT_BYTES
from telemed.v1 import reconcile_pb2_grpc, talk_pb2_grpc, transfer_pb2_grpc

from cloud_hub.config import RpcConfig
from cloud_hub.errors import ConfigRefused, StoreFailure
from cloud_hub.rpc.comparing import Reconciling
from cloud_hub.rpc.identity import Identity
from cloud_hub.rpc.judging import Judge
from cloud_hub.rpc.metrics import TransferMetrics
from cloud_hub.rpc.parts import Disk, Parts
from cloud_hub.rpc.reconcile import ReconcileServicer
from cloud_hub.rpc.servicer import TransferServicer
from cloud_hub.rpc.talks import Talks, TalkServicer
from cloud_hub.store import transfers
from cloud_hub.store.blobs import Blobs
from cloud_hub.store.engine import Database
from cloud_hub.store.transfers import Transfer

STOP_WITHIN_S = 2.0
SWEEP_EVERY_S = 3600.0
DAY_NS = 24 * 3600 * 10**9
MOST_CALLS = 2_000
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)
"""A node on a dead line is let go after a minute; nodes may ask as often themselves."""

log = structlog.get_logger(__name__)


def _nothing(_: Transfer) -> None:
    """Take no notice."""


class RpcServer:
    """What nodes say to the hub itself; `run` is called once, the care store is migrated by then."""

    def __init__(
        self,
        config: RpcConfig,
        region: str,
        care: Database,
        identity: Identity,
        registry: CollectorRegistry,
        on_complete: Callable[[Transfer], None] = _nothing,
    ) -> None:
        """Open the folder, but no port yet.

        Args:
            config: section [rpc].
            region: nodes of other regions are strangers.
            care: the care store.
            identity: judges who calls.
            registry: gets the counters.
            on_complete: called on the event loop after the commit that says that a file is whole; must not block.
                After a restart ask `transfers.completed` for what was committed and not told.

        Raises:
            ConfigRefused: the folder cannot be made.
        """
        try:
            self.blobs = Blobs(config.folder)
        except OSError as error:
            raise ConfigRefused(f"rpc.folder: {config.folder} cannot be used: {error.strerror}") from error
        self.port = 0
        """The port that is listened on, once `listening` is set."""
        self.listening = asyncio.Event()
        self.reconciling: Reconciling | None = None
        """Compares what nodes hold with what is stored; set by whoever joins the parts, before `run`."""
        self.talks = Talks(registry)
        """Nodes that cannot reach the broker; whoever joins the parts says where their messages go."""
        self._config = config
        self._parts = Parts(config, region, care, Disk(self.blobs), TransferMetrics(registry), time_ns, on_complete)
        self._judge = Judge(self._parts, identity)
        self.credentials: grpc.ServerCredentials | None = None
        """TLS of the port, set before `run`; None: none, on loopback alone."""

    def cut(self, address: NodeAddress) -> None:
        """Shut down the connections on which a node has calls open; returns at once."""
        self._judge.cut(address)

    async def run(self) -> None:
        """Serve until cancelled; calls that are open then get STOP_WITHIN_S.

        Raises:
            ConfigRefused: the port cannot be used.
        """
        known = await self._parts.care.read(transfers.receiving_ids)
        await self._parts.disk.call(self.blobs.drop_strays, known)
        server = self._make()
        await server.start()
        self.listening.set()
        try:
            await self._sweep()
        finally:
            self.listening.clear()
            await server.stop(STOP_WITHIN_S)
            await asyncio.to_thread(self._parts.disk.close)

    def _make(self) -> grpc.aio.Server:
        options = [
            ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
            # A second hub on the same port must fail, not share it.
            ("grpc.so_reuseport", 0),
            *KEEPALIVE,
        ]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MOST_CALLS)
        judge = self._judge
        transfer_pb2_grpc.add_TransferServicer_to_server(TransferServicer(self._parts, judge), server)
        talk = TalkServicer(self.talks, judge, self._config.write_limit_s)
        talk_pb2_grpc.add_TalkServicer_to_server(talk, server)
        if self.reconciling is not None:
            reconcile_pb2_grpc.add_ReconcileServicer_to_server(ReconcileServicer(self.reconciling, judge), server)
        host = f"[{self._config.host}]" if ":" in self._config.host else self._config.host
        try:
            address = f"{host}:{self._config.port}"
            if self.credentials is None:
                self.port = server.add_insecure_port(address)
            else:
                self.port = server.add_secure_port(address, self.credentials)
        except RuntimeError as error:
            raise ConfigRefused(
                f"rpc.port: {host}:{self._config.port} cannot be used (is another hub running?)"
            ) from error
        return server

    async def _sweep(self) -> None:
        """Give up files of which nothing was heard for long, every hour."""
        while True:
            try:
                await self._give_up_old()
            except StoreFailure as failure:
                log.warning("transfer sweep failed", code=failure.code)
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _give_up_old(self) -> None:
        parts, now_ns = self._parts, self._parts.clock()
        before_ns = now_ns - self._config.keep_unfinished_days * DAY_NS
        for row in await parts.care.read(lambda c: transfers.abandoned(c, parts.region, before_ns)):
            await parts.care.write(
                lambda c, row=row: transfers.withdraw(c, row.address, row.transfer_id, now_ns)  # type: ignore[misc]
            )
            await parts.disk.call(self.blobs.drop, row.transfer_id)
            parts.metrics.files.labels(row.facts.kind, "withdrawn").inc()
