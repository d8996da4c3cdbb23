"""The candidate that was not chosen for the alarms' datagram path: QUIC datagrams (RFC 9221) with aioquic.

It has the repeats of the product, so that only the transports differ.  It is let off two things that the chosen one
does: aioquic has no exporter and no client certificates, so the node is believed by the name it says.
"""

import asyncio
import contextlib
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import DatagramFrameReceived, QuicEvent
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from telemed.v1 import uplink_pb2
from telemed.wire import Record

from edge_node.uplink.repeat import Repeats

ALPN = ["yuanzhen-alarm"]
SILENCE_S = 5.0
HEARTBEAT_S = 2.0
Take = Callable[[str, bytes], None]


def _configuration(*, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        is_client=is_client, alpn_protocols=ALPN, max_datagram_frame_size=65535, idle_timeout=SILENCE_S
    )


class HubProtocol(QuicConnectionProtocol):
    """The hub's end of one connection."""

    def __init__(self, *args: Any, take: Take, sessions: "dict[str, HubProtocol]", **named: Any) -> None:
        super().__init__(*args, **named)
        self._take_alarms, self._sessions = take, sessions
        self._node = ""

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take a name, then containers."""
        if not isinstance(event, DatagramFrameReceived):
            return
        if event.data[:1] == b"N":
            self._node = event.data[1:].decode()
            self._sessions[self._node] = self
            self.say(b"W")
        elif self._node:
            self._take_alarms(self._node, event.data[1:])

    def say(self, data: bytes) -> None:
        """Send one datagram."""
        self._quic.send_datagram_frame(data)
        self.transmit()


class QuicHub:
    """Takes alarms by QUIC datagrams."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._sessions: dict[str, HubProtocol] = {}

    async def open(self, port: int) -> None:
        """Listen on loopback; strangers get a Retry first, as the other candidate's get a cookie."""
        configuration = _configuration(is_client=False)
        with tempfile.TemporaryDirectory() as folder:
            configuration.load_cert_chain(*_certificate(Path(folder)))
        await serve(
            "127.0.0.1",
            port,
            configuration=configuration,
            create_protocol=lambda *args, **named: HubProtocol(
                *args, take=self._take, sessions=self._sessions, **named
            ),
            retry=True,
        )

    def publish(self, node: str, receipts: uplink_pb2.Receipts) -> None:
        """Tell a node what is committed."""
        session = self._sessions.get(node)
        if session is not None:
            session.say(b"R" + receipts.SerializeToString())


class NodeProtocol(QuicConnectionProtocol):
    """The node's end of one connection."""

    def __init__(self, *args: Any, heard: Callable[[bytes], None], **named: Any) -> None:
        super().__init__(*args, **named)
        self._heard = heard

    def quic_event_received(self, event: QuicEvent) -> None:
        """Hand datagrams on."""
        if isinstance(event, DatagramFrameReceived):
            self._heard(event.data)

    def say(self, data: bytes) -> None:
        """Send one datagram."""
        self._quic.send_datagram_frame(data)
        self.transmit()


class QuicPath:
    """Carries alarms by QUIC datagrams, with the repeats of the product."""

    def __init__(self, node: str, port: int, on_receipts: Callable[[uplink_pb2.Receipts], None]) -> None:
        self._node, self._port, self._on_receipts = node, port, on_receipts
        self.repeats = Repeats()
        self.is_up = False
        self._woken = asyncio.Event()

    def send(self, records: Sequence[Record]) -> None:
        """Send alarms until they are receipted."""
        self.repeats.add(records, time.monotonic())
        self._woken.set()

    async def run(self) -> None:
        """Hold a connection, anew whenever it is lost."""
        while True:
            with contextlib.suppress(ConnectionError, OSError):
                await self._session()
            self.is_up = False
            await asyncio.sleep(0.1)

    async def _session(self) -> None:
        configuration = _configuration(is_client=True)
        configuration.verify_mode = ssl.CERT_NONE
        protocol = lambda *args, **named: NodeProtocol(*args, heard=self._heard, **named)  # noqa: E731
        async with connect("127.0.0.1", self._port, configuration=configuration, create_protocol=protocol) as made:
            assert isinstance(made, NodeProtocol)
            closed = asyncio.ensure_future(made.wait_closed())
            beat_s = 0.0
            while not closed.done():
                self._woken.clear()
                now_s = time.monotonic()
                if now_s >= beat_s:
                    beat_s = now_s + (HEARTBEAT_S if self.is_up else 0.1)
                    made.say(b"N" + self._node.encode())
                for container in self.repeats.due(now_s, lambda _size, _now: True) if self.is_up else ():
                    made.say(b"A" + container)
                until_s = min(beat_s, self.repeats.next_s() or beat_s) if self.is_up else beat_s
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, until_s - time.monotonic())):
                        await self._woken.wait()

    def _heard(self, data: bytes) -> None:
        if data[:1] == b"W" and not self.is_up:
            self.is_up = True
            self.repeats.restart(time.monotonic())
        elif data[:1] == b"R":
            message = uplink_pb2.Receipts.FromString(data[1:])
            self.repeats.take(message.receipts, time.monotonic())
            self._on_receipts(message)
        self._woken.set()


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    pem = serialization.Encoding.PEM
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(pem))
    (folder / "key.pem").write_bytes(plain)
    return folder / "certificate.pem", folder / "key.pem"
