"""The hub's door for nodes without a valid certificate: enrolment and renewal, nothing else.

A port of its own, because gRPC either asks everybody for a certificate or nobody, and refuses one that has ended
before anybody could judge its grace.  Here TLS shows the hub; the node is judged by its token or its signature.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
import structlog
from cryptography.hazmat.primitives.serialization import Encoding
from telemed.enrolment import MESSAGE_LIMIT_BYTES, Refusal
from telemed.topics import NodeAddress
from telemed.v1 import enrolment_pb2, enrolment_pb2_grpc

from cloud_hub.access.ca_folder import LISTENERS, LISTENERS_KEY, TRUSTED, CaFolder
from cloud_hub.access.enrolment import NOTICES, Enrolment, Given
from cloud_hub.access.sources import source_of
from cloud_hub.config import PkiConfig
from cloud_hub.errors import ConfigRefused, EnrolmentRefused, StoreFailure
from cloud_hub.ingest.datagram_limits import Bucket, SourceRates
from cloud_hub.store.engine import Database

STOP_WITHIN_S = 1.0
MOST_CALLS = 64
PER_SOURCE_S, PER_SOURCE_BURST = 0.2, 20.0
"""A site behind one translated address enrols a dozen nodes at once; guessing 128 bits stays hopeless."""
PER_S, BURST = 50.0, 200.0
_STATUS = {
    Refusal.REQUEST_BAD: grpc.StatusCode.INVALID_ARGUMENT,
    Refusal.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

Context = grpc.aio.ServicerContext[Any, Any]
ServerCredentials = grpc.ServerCredentials
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DoorParts:
    """What the door stands on."""

    care: Database
    enrolment: Enrolment
    folder: CaFolder
    changed: Callable[[], Awaitable[None]]
    """Called after every certificate that was given: an earlier one may be worth nothing now."""
    note: Callable[[NodeAddress, str], None] = lambda _node, _code: None
    """Told of a node whose token or certificate somebody should not have."""
    model_root: bytes = b""
    """What nodes pin as the root of trust of model bundles when they enrol."""


class Doorway(enrolment_pb2_grpc.EnrolmentServicer):
    """Serves the enrolment; `run` is called once."""

    def __init__(self, config: PkiConfig, parts: DoorParts, now_s: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet."""
        self._config, self._parts, self._now_s = config, parts, now_s
        self._sources = SourceRates(PER_SOURCE_S, PER_SOURCE_BURST)
        self._all = Bucket(PER_S, BURST, BURST, now_s())
        self.port = 0
        """The port that is listened on, once `listening` is set."""
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            ConfigRefused: the port cannot be used.
        """
        server = self._make()
        await server.start()
        self.listening.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.listening.clear()
            await server.stop(STOP_WITHIN_S)

    async def Enrol(  # noqa: N802 - the name of the contract
        self, request: enrolment_pb2.EnrolRequest, context: Context
    ) -> enrolment_pb2.Issued:
        """Give a node its first certificate."""
        async with self._judged(context):
            issued = await self._give(lambda c: self._parts.enrolment.enrol(c, request.secret, request.request_der))
            issued.model_root = self._parts.model_root
            return issued
        raise AssertionError("unreachable")

    async def Renew(  # noqa: N802
        self, request: enrolment_pb2.RenewRequest, context: Context
    ) -> enrolment_pb2.Issued:
        """Give a node its next certificate."""
        async with self._judged(context):
            return await self._give(
                lambda c: self._parts.enrolment.renew(
                    c, request.certificate_der, request.request_der, request.signature
                )
            )
        raise AssertionError("unreachable")

    async def _give(self, work: Callable[[Any], Given]) -> enrolment_pb2.Issued:
        given = await self._parts.care.write(work)
        await self._parts.changed()
        log.info("certificate-given", site=given.address.site, node=given.address.node)
        return enrolment_pb2.Issued(
            certificate_der=given.certificate.public_bytes(Encoding.DER),
            trust_der=[each.public_bytes(Encoding.DER) for each in self._parts.folder.trusted],
            hub_unix_ns=given.given_ns,
        )

    @contextlib.asynccontextmanager
    async def _judged(self, context: Context) -> AsyncIterator[None]:
        """End a call with its status where it fails; the text is the reason alone."""
        reason: Refusal | None = None
        try:
            if not self._may_ask(context.peer()):
                raise EnrolmentRefused(Refusal.TOO_MANY)
            yield
        except EnrolmentRefused as refused:
            reason = refused.reason
            log.warning("certificate-refused", reason=reason.value, node=refused.address and refused.address.node)
            if refused.address is not None and reason in NOTICES:
                self._parts.note(refused.address, NOTICES[reason])
        except StoreFailure as failure:
            await context.abort(grpc.StatusCode.UNAVAILABLE, failure.code)
        if reason is not None:
            await context.abort(_STATUS.get(reason, grpc.StatusCode.PERMISSION_DENIED), reason.value)

    def _may_ask(self, peer: str) -> bool:
        now_s = self._now_s()
        return self._sources.take(source_of(_host_of(peer)), now_s) and self._all.take(now_s)

    def _make(self) -> grpc.aio.Server:
        options = [
            ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.so_reuseport", 0),
            ("grpc.max_connection_age_ms", 60_000),
            ("grpc.max_connection_idle_ms", 10_000),
        ]
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=MOST_CALLS)
        enrolment_pb2_grpc.add_EnrolmentServicer_to_server(self, server)
        folder = self._parts.folder
        shown = [(folder.pem(LISTENERS_KEY), folder.pem(LISTENERS))]
        credentials = grpc.ssl_server_credentials(shown)
        host = f"[{self._config.door_host}]" if ":" in self._config.door_host else self._config.door_host
        try:
            self.port = server.add_secure_port(f"{host}:{self._config.door_port}", credentials)
        except RuntimeError as error:
            raise ConfigRefused(f"pki.door_port: {host}:{self._config.door_port} cannot be used") from error
        return server


def secured(folder: CaFolder) -> grpc.ServerCredentials:
    """Return the credentials of a port on which every node must show its certificate."""
    shown = [(folder.pem(LISTENERS_KEY), folder.pem(LISTENERS))]
    return grpc.ssl_server_credentials(shown, folder.pem(TRUSTED), require_client_auth=True)


def _host_of(peer: str) -> str:
    """Return the address in how gRPC names a peer, e.g. "ipv4:127.0.0.1:50123" or "ipv6:[::1]:50123"."""
    return unquote(peer).split(":", 1)[-1].rpartition(":")[0].strip("[]") or "unknown"
