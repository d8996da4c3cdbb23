"""The hub's connection to the broker: the only module that knows the MQTT library.

Messages are acknowledged to the broker at once, because a PUBACK means nothing: a broker drops what is not
acknowledged within seconds, and edges resend until they have our own receipt.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gmqtt
import structlog
from gmqtt.mqtt.connection import MQTTConnection
from gmqtt.mqtt.constants import MQTTCommands, MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.mqtt.package import Package
from gmqtt.mqtt.utils import pack_variable_byte_integer

CLIENT = "ingest"
ANSWER_WITHIN_S = 5.0
KEEPALIVE_S = 10
LONGEST_WAIT_S = 1.0
FIRST_WAIT_S = 0.1
_PUBLISH = int(MQTTCommands.PUBLISH)
_PUBLISH_HEAD = bytes((_PUBLISH,))
_PUBACK_HEAD = bytes((MQTTCommands.PUBACK, 2))

log = structlog.get_logger()
_quiet = logging.getLogger("gmqtt")
# It writes a line for every packet that finds the socket closed; we tell of a loss once.
_quiet.setLevel(logging.CRITICAL)


class _Client(gmqtt.Client):  # type: ignore[misc]  # the library has no types
    """The library's client, which says in one write what there is to say in one turn of the loop."""

    def __init__(self, client_id: str, take: Callable[[str, bytes], None]) -> None:
        super().__init__(client_id, clean_session=True, logger=_quiet)
        self._take = take
        self._answers: list[bytes] = []
        """Acknowledgements to the broker, which wait for the end of this turn."""
        self._unsaid: list[bytes] = []
        """Messages to nodes, which wait for it too."""
        self._other_arrived: Callable[[Package], None] = lambda _package: None

    async def _create_connection(self, *args: Any, **kwargs: Any) -> MQTTConnection:
        connection = await super()._create_connection(*args, **kwargs)
        # The library's own way makes a dozen calls of each message, half of what its reception costs.
        self._other_arrived, connection.put_package = connection.put_package, self._arrived
        return connection

    def _arrived(self, package: Package) -> None:
        """Take a packet without its fixed header: a PUBLISH (MQTT 3.1.1, 3.3; QoS 2 was never asked for) here."""
        if package.cmd & 0xF0 != _PUBLISH:
            self._other_arrived(package)
            return
        topic, raw_packet = "", package.data
        try:
            # By this the library knows that the broker lives.
            self._connection._last_data_in = time.monotonic()  # noqa: SLF001
            payload_at = topic_end = 2 + (raw_packet[0] << 8 | raw_packet[1])
            if package.cmd & 0b110:
                payload_at += 2
                if not self._answers:
                    asyncio.get_running_loop().call_soon(self._answer)
                self._answers.append(_PUBACK_HEAD + raw_packet[topic_end:payload_at])
            topic = raw_packet[2:topic_end].decode(errors="replace")
            self._take(topic, raw_packet[payload_at:])
        except Exception:
            # The library would pass over it in silence, or read no more.
            log.exception("message-failed", topic=topic)

    def tell(self, topic: str, payload: bytes, qos: int) -> None:
        """Publish: hundreds of nodes are told something each second, and the library makes ten calls for each."""
        if qos:
            # It remembers what must be acknowledged.
            self._say_all()
            self.publish(topic, payload, qos=qos)
            return
        name = topic.encode()
        length = pack_variable_byte_integer(2 + len(name) + len(payload))
        if not self._unsaid:
            asyncio.get_running_loop().call_soon(self._say_all)
        self._unsaid.append(b"".join((_PUBLISH_HEAD, length, len(name).to_bytes(2), name, payload)))

    def _answer(self) -> None:
        answers, self._answers = self._answers, []
        self._write(answers)

    def _say_all(self) -> None:
        unsaid, self._unsaid = self._unsaid, []
        self._write(unsaid)

    def _write(self, packets: list[bytes]) -> None:
        if packets and self.is_connected:
            # The connection may end between the check and the write.
            with contextlib.suppress(OSError, RuntimeError):
                self._connection.send_package(b"".join(packets))


@dataclass(frozen=True, slots=True)
class BrokerLogin:
    """Where the broker is and who we are there."""

    host: str
    port: int
    user: str
    secret: str
    tls: ssl.SSLContext | None = None
    """With the hub's certificate, which takes the place of the secret; None: no TLS."""


class BrokerLink:
    """One connection, made again whenever it is lost; every time with a clean session and a new subscription."""

    def __init__(self, login: BrokerLogin, topic_filters: list[str], on_message: Callable[[str, bytes], None]) -> None:
        """Connect nothing yet.

        Args:
            login: the broker.
            topic_filters: what to subscribe to, after every connect.
            on_message: called on the event loop with topic and payload; must not block.
        """
        self._login = login
        self._filters = topic_filters
        self._on_message = on_message
        self._client: _Client | None = None
        self.subscribed = asyncio.Event()
        """Set while messages can arrive."""

    @property
    def is_connected(self) -> bool:
        """Whether messages can arrive."""
        return self.subscribed.is_set()

    def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Send now or never: what is lost here is sent again by whoever needs it."""
        if self._client is not None and self._client.is_connected:
            # The connection may end between the check and the write.
            with contextlib.suppress(OSError, RuntimeError, AttributeError):
                self._client.tell(topic, payload, qos)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        wait_s, is_told = FIRST_WAIT_S, False
        while True:
            try:
                await self._connect_once()
                wait_s, is_told = FIRST_WAIT_S, False
            except (OSError, TimeoutError, MQTTConnectError) as error:
                if not is_told:
                    log.warning("broker-unreachable", why=type(error).__name__, port=self._login.port)
                is_told, wait_s = True, min(wait_s * 2, LONGEST_WAIT_S)
            await asyncio.sleep(wait_s)

    async def _connect_once(self) -> None:
        """Connect, subscribe, and stay until the connection ends."""
        lost, granted = asyncio.Event(), asyncio.Event()
        client = _Client(f"{self._login.user}.{CLIENT}", self._on_message)
        # Its own reconnect would ask for the old session; -2 is "never" in its counting.
        client.set_config({"reconnect_retries": -2, "reconnect_delay": 0})
        if self._login.tls is None:
            client.set_auth_credentials(self._login.user, self._login.secret)
        client.on_disconnect = lambda *_: lost.set()
        client.on_subscribe = lambda _client, _mid, qos, _properties: granted.set() if max(qos) < 0x80 else lost.set()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await client.connect(
                    self._login.host,
                    self._login.port,
                    ssl=self._login.tls or False,
                    keepalive=KEEPALIVE_S,
                    version=MQTTv311,
                )
                client.subscribe([gmqtt.Subscription(topic, qos=1) for topic in self._filters])
                await _first(granted, lost)
            if not granted.is_set():
                raise ConnectionError("subscription refused")
            self._client = client
            self.subscribed.set()
            log.info("broker-connected", port=self._login.port)
            await lost.wait()
            log.warning("broker-lost", port=self._login.port)
        finally:
            self._client = None
            self.subscribed.clear()
            await _leave(client)


async def _first(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def _leave(client: gmqtt.Client) -> None:
    with contextlib.suppress(OSError, TimeoutError, RuntimeError, AttributeError):
        async with asyncio.timeout(1):
            await client.disconnect()
