"""The way to the hub's gRPC face: one channel a direction, and what its failures mean here."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from cryptography import x509
from telemed.errors import Code
from telemed.topics import NodeAddress
from telemed.transfer import MESSAGE_LIMIT_BYTES, NODE_KEY, SECRET_KEY
from telemed.v1 import transfer_pb2_grpc

from edge_node.errors import HubRefuses, LinkDown, UplinkError
from edge_node.uplink.certificates import CertificateFolder

DSCP_FILES, DSCP_BUNDLES = 10, 1
"""AF11 for studies and exams, LE for bundles (reliability 3.1)."""
HEARD_LIMIT_S = 60.0
"""The hub says something at least every ten seconds while a call is open."""
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
)
_REASONS = {
    grpc.StatusCode.UNAUTHENTICATED: Code.IDENTITY_REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Code.IDENTITY_REFUSED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Code.TOO_MANY_OPEN,
    grpc.StatusCode.NOT_FOUND: Code.TRANSFER_UNKNOWN,
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Login:
    """Where the hub is, and who this node is there."""

    host: str
    port: int
    address: NodeAddress
    secret: str = field(repr=False)
    certificates: CertificateFolder | None = None
    """Shown by every connection instead of the secret, where there are some."""

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call shows of who makes it."""
        if self.certificates is not None:
            return ()
        return ((NODE_KEY, self.address.node), (SECRET_KEY, self.secret))

    def channel(self, dscp: int) -> grpc.aio.Channel:
        """Return a channel with a connection of its own; nothing is connected yet."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        options = [
            ("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.max_send_message_length", MESSAGE_LIMIT_BYTES),
            ("grpc.dscp", dscp),
            # The hub is reached directly, whatever the environment of the process says of proxies.
            ("grpc.enable_http_proxy", 0),
            # The waits between tries are ours.
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            *KEEPALIVE,
        ]
        if self.certificates is None:
            return grpc.aio.insecure_channel(f"{host}:{self.port}", options=options)
        held = self.certificates.latest()
        credentials = grpc.ssl_channel_credentials(held.trust_pem, held.key_pem, held.certificate_pem)
        return grpc.aio.secure_channel(f"{host}:{self.port}", credentials, options=options)


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub as seen from one channel."""

    login: Login
    stub: "transfer_pb2_grpc.TransferAsyncStub"


class Line:
    """The connection of one direction; used by one task, one call after the other.

    gRPC connects again by itself, for ever with what its channel was made with: once there is another certificate,
    another channel is made.
    """

    def __init__(self, login: Login, dscp: int) -> None:
        self._login, self._dscp = login, dscp
        self._channel: grpc.aio.Channel | None = None
        self._hub: Hub | None = None
        self._shown: x509.Certificate | None = None

    async def hub(self) -> Hub:
        """Return the hub, as seen from a channel that shows the newest certificate; no call may be under way."""
        certificates = self._login.certificates
        newest = certificates.latest().certificate if certificates is not None else None
        if self._hub is None or newest != self._shown:
            await self.close()
            self._channel, self._shown = self._login.channel(self._dscp), newest
            self._hub = Hub(self._login, transfer_pb2_grpc.TransferStub(self._channel))
        return self._hub

    async def close(self) -> None:
        """End the connection; idempotent."""
        if self._channel is not None:
            await self._channel.close()
        self._channel = self._hub = None


def failure_of(error: grpc.aio.AioRpcError) -> UplinkError:
    """Return the node's own failure for one of gRPC's."""
    reason = _REASONS.get(error.code())
    text = f"{error.code().name}: {error.details()}"
    return HubRefuses(reason, text) if reason else LinkDown(text)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Give gRPC's failures the node's own names.

    Raises:
        LinkDown: there is no connection, or it ended.
        HubRefuses: the hub answers, but not with what was asked for.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise failure_of(error) from error
    except (asyncio.InvalidStateError, grpc.aio.UsageError) as error:
        # Writing to a call that the other side has ended; why, its reader is told.
        raise LinkDown("the hub ended the call") from error
    except TimeoutError as error:
        raise LinkDown(f"nothing heard for {HEARD_LIMIT_S:g} s") from error
