"""The link over MQTT with paho: one client a connection, clean sessions, QoS 1 for flow control alone.

paho runs on the event loop, without a thread of its own: a node sends little, and a thread costs more than that.
"""

import asyncio
import contextlib
import random
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from telemed.topics import CONNECTIONS, Down, NodeAddress, Up

from edge_node.config import UplinkConfig
from edge_node.errors import ConfigRefused, LinkDown
from edge_node.uplink import backoff
from edge_node.uplink.certificates import CertificateFolder
from edge_node.uplink.dscp import DSCP_OF_CLASS, Dscp, mark
from edge_node.uplink.link import Connect, Link, LinkEvents
from edge_node.uplink.schedule import Traffic

KEEPALIVE_S = 10
MISC_EVERY_S = 2.0
"""How often paho looks whether it is time for a ping."""
CONNECT_LIMIT_S = 5.0
INFLIGHT_LIMIT = 200
"""Above the windows of the pump, which alone hold back."""

DSCP_OF_CONNECTION = {
    CONNECTIONS[up]: DSCP_OF_CLASS[traffic]
    for up, traffic in (
        (Up.ALARM, Traffic.ALARM),
        (Up.CARE, Traffic.VITALS),
        (Up.VITALS, Traffic.VITALS),
        (Up.WAVES, Traffic.WATCHED),
    )
}

log = structlog.get_logger(__name__)


def connector(config: UplinkConfig, address: NodeAddress) -> Connect:
    """Return how this node's connections to its broker are made.

    Raises:
        ConfigRefused: the file with the secret cannot be read.
    """
    if config.certificates is not None:
        certificates = CertificateFolder(config.certificates)
        return lambda name, listens, events: MqttLink(
            config, Identity(address, name, "", certificates), listens, events
        )
    try:
        secret = config.secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"uplink.secret_file {config.secret_file}: {error}") from error

    def connect(name: str, listens: bool, events: LinkEvents) -> Link:
        return MqttLink(config, Identity(address, name, secret), listens, events)

    return connect


@dataclass(frozen=True, slots=True)
class Identity:
    """Who connects: client id `<node>.<connection>`, user name = node."""

    address: NodeAddress
    connection: str
    secret: str = field(repr=False)
    certificates: CertificateFolder | None = None
    """Shown instead of the secret, where there are some."""


class MqttLink:
    """One connection `<node>.<name>`, kept up."""

    def __init__(self, config: UplinkConfig, identity: Identity, listens: bool, events: LinkEvents) -> None:
        self._config = config
        self._identity = identity
        self._address = address = identity.address
        self._name = identity.connection
        self._filters = [(address.down(down), 1) for down in Down] if listens else []
        self._events = events
        self._client: paho.Client | None = None
        self._under_way: dict[int, tuple[int, float]] = {}
        """Message id -> its bytes, and when it was handed over."""
        self._hurried = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether `publish` has a connection to use."""
        return self._client is not None

    def publish(self, what: Up, payload: bytes) -> bool:
        """Hand a message to paho; False if there is no connection."""
        if self._client is None:
            return False
        info = self._client.publish(self._address.up(what), payload, qos=1)
        if info.rc != paho.MQTT_ERR_SUCCESS:
            return False
        self._under_way[info.mid] = (len(payload), time.monotonic())
        return True

    async def run(self) -> None:
        """Connect, and connect again with growing waits, until cancelled; logs the first failure and recovery."""
        failures = 0
        while True:
            try:
                await self._session(was_down=failures > 0)
                failures = 1
            except LinkDown as failure:
                failures += 1
                if failures == 1:
                    log.warning("uplink.down", connection=self._name, reason=str(failure))
            await self._rest(
                backoff.wait_s(failures, self._config.first_retry_s, self._config.longest_retry_s, random.random)
            )

    def hurry(self) -> None:
        """Leave out the wait before the next attempt, also where one is still under way and fails."""
        if self._client is None:
            self._hurried.set()

    async def _rest(self, wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurried.wait()
        self._hurried.clear()

    async def _session(self, *, was_down: bool) -> None:
        """Hold one connection until it is lost.

        Raises:
            LinkDown: it could not be made.
        """
        conversation = _Conversation(self._events.on_message, self._acknowledged, len(self._address.down_prefix))
        conversation.dscp = DSCP_OF_CONNECTION.get(self._name, Dscp.DF)
        client = self._new_client(conversation)
        try:
            await self._open(client, conversation)
            self._client = client
            self._hurried.clear()
            if was_down:
                log.info("uplink.up", connection=self._name)
            self._events.on_up()
            while not conversation.lost.done():
                await asyncio.wait([conversation.lost], timeout=MISC_EVERY_S)
                client.loop_misc()
            log.warning("uplink.lost", connection=self._name, reason=conversation.lost.result())
        finally:
            if self._client is not None:
                self._client = None
                for size_bytes, _ in self._under_way.values():
                    self._events.on_lost(size_bytes)
                self._under_way.clear()
                self._events.on_down()
            client.disconnect()
            conversation.hang_up(client)

    async def _open(self, client: paho.Client, conversation: "_Conversation") -> None:
        config = self._config
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S * 2):
                if self._identity.certificates is not None:
                    context = self._identity.certificates.tls()
                    context.sslsocket_class = TidySocket
                    client.tls_set_context(context)
                await asyncio.to_thread(client.connect, config.broker_host, config.broker_port, KEEPALIVE_S)
                await conversation.accepted
                if self._filters:
                    client.subscribe(self._filters)
                    await conversation.subscribed
        except (OSError, ValueError, ConfigRefused) as error:  # TimeoutError and SSLError are OSErrors
            raise LinkDown(f"{config.broker_host}:{config.broker_port}: {error}") from error

    def _acknowledged(self, mid: int) -> None:
        size_bytes, sent_s = self._under_way.pop(mid, (0, 0.0))
        if size_bytes:
            self._events.on_acknowledged(size_bytes, time.monotonic() - sent_s)

    def _new_client(self, conversation: "_Conversation") -> paho.Client:
        node = self._address.node
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{node}.{self._name}",
            clean_session=True,
            # A lost connection is given up with all that paho still holds: the pump sends again what counts.
            reconnect_on_failure=False,
        )
        if self._identity.certificates is None:
            client.username_pw_set(node, self._identity.secret)
        client.connect_timeout = CONNECT_LIMIT_S
        client.max_inflight_messages_set(INFLIGHT_LIMIT)
        client.on_socket_open = conversation.on_socket_open
        client.on_socket_close = conversation.on_socket_close
        client.on_socket_register_write = conversation.on_wants_to_write
        client.on_connect = conversation.on_connect
        client.on_subscribe = conversation.on_subscribe
        client.on_disconnect = conversation.on_disconnect
        client.on_message = conversation.on_message
        client.on_publish = conversation.on_publish
        return client


class TidySocket(ssl.SSLSocket):
    """A socket that is closed where its handshake fails: paho leaves that to the garbage collector."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Read up to `buflen` bytes; `ssl` does so before a handshake too, to see whether anybody is still there.

        Raises:
            OSError: nothing to read; a socket whose peer went before the handshake is closed.
        """
        try:
            return super().recv(buflen, flags)
        except ConnectionError:
            if self.version() is None:
                self.close()
            raise

    def do_handshake(self, block: bool = False) -> None:
        """Do the handshake.

        Raises:
            OSError: it failed, and the socket is closed.
        """
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class _Conversation:
    """Carries paho's callbacks over to the event loop, and paho's socket with it.

    The connection is made in a thread, because that blocks; from then on everything happens on the loop.
    """

    def __init__(
        self, tell: Callable[[Down, bytes], None], acknowledged: Callable[[int], None], prefix_length: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._acknowledged = acknowledged
        self._prefix_length = prefix_length
        self.dscp = Dscp.DF
        """Mark on the packets."""
        self._socket: socket.socket | None = None
        self._is_over = False
        self.accepted: asyncio.Future[None] = self._loop.create_future()
        self.subscribed: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[str] = self._loop.create_future()

    def on_socket_open(self, client: paho.Client, _data: Any, opened: Any) -> None:
        # Small packets one after the other would else wait for the acknowledgement of the first.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        mark(opened, self.dscp)
        self._loop.call_soon_threadsafe(self._watch, client, opened)

    def on_wants_to_write(self, client: paho.Client, _data: Any, _opened: Any) -> None:
        self._loop.call_soon_threadsafe(self._write, client)

    def hang_up(self, client: paho.Client) -> None:
        """Let go of the socket; what paho still had to say is said, if that can be done at once."""
        self._is_over = True
        opened = self._socket
        if opened is not None:
            client.loop_write()
            self._let_go()
            opened.close()

    def on_socket_close(self, _client: paho.Client, _data: Any, _opened: Any) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = None

    def _watch(self, client: paho.Client, opened: socket.socket) -> None:
        if self._is_over:
            opened.close()
            return
        self._socket = opened
        self._loop.add_reader(opened, self._read, client)
        self._write(client)

    def _read(self, client: paho.Client) -> None:
        client.loop_read()
        # What TLS has unpacked already does not make the socket readable again.
        while isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            client.loop_read()

    def _write(self, client: paho.Client) -> None:
        """Write what there is; what the socket does not take now goes when it does."""
        if self._socket is None:
            return
        client.loop_write()
        if self._socket is not None and client.want_write():
            self._loop.add_writer(self._socket, self._write, client)
        elif self._socket is not None:
            self._loop.remove_writer(self._socket)

    def on_connect(
        self, _client: paho.Client, _data: Any, _flags: paho.ConnectFlags, reason: ReasonCode, _: Properties | None
    ) -> None:
        _settle(self.accepted, reason.is_failure, str(reason))

    def on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _: Properties | None
    ) -> None:
        refused = any(reason.is_failure for reason in reasons)
        _settle(self.subscribed, refused, "subscription refused")

    def on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: paho.DisconnectFlags, reason: ReasonCode, _: Properties | None
    ) -> None:
        self._end(str(reason))

    def on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._hear(message.topic, bytes(message.payload))

    def on_publish(self, _client: paho.Client, _data: Any, mid: int, _reason: ReasonCode, _: Properties | None) -> None:
        self._acknowledged(mid)

    def _hear(self, topic: str, payload: bytes) -> None:
        try:
            down = Down(topic[self._prefix_length :])
        except ValueError:
            return  # a later hub may say more than this node understands
        self._tell(down, payload)

    def _end(self, reason: str) -> None:
        for waiting in (self.accepted, self.subscribed):
            _settle(waiting, True, reason)
        if not self.lost.done():
            self.lost.set_result(reason)


def _settle(future: "asyncio.Future[None]", refused: bool, reason: str) -> None:
    if future.done():
        return
    if refused:
        future.set_exception(ConnectionRefusedError(reason))
        future.exception()  # marked as seen: nobody need be waiting for it
    else:
        future.set_result(None)
