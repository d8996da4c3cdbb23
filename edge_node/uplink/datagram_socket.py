"""The UDP socket of one path to the hub: bound, marked, and made anew when our address or the hub's has changed."""

import asyncio
import contextlib
import errno
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from edge_node.uplink import backoff
from edge_node.uplink.dscp import Dscp, mark

LOOK_S = 1.0
"""How often it is looked whether we would send from another address now."""
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
IP_MTU_DISCOVER = 10
IP_PMTUDISC_DO = 2
"""Of Linux (ip(7)): the socket module does not name them."""

Remote = tuple[Any, ...]
"""A socket address of the family that the hub's name was looked up to."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PathSettings:
    """Where one path goes."""

    host: str = "127.0.0.1"
    port: int = 8443
    local_address: str = ""
    """Address of ours to send from; empty = whichever the routes give."""
    interface: str = ""
    """Interface to send through, e.g. "wwan0"; empty = whichever the routes give."""
    heartbeat_every_s: float = 2.0
    silence_after_s: float = 5.0
    """Nothing heard for this long: the path counts as down and a new session is tried beside the old one."""


@dataclass(frozen=True, slots=True)
class SocketEvents:
    """What the socket tells; all called on the event loop."""

    on_datagram: Callable[[bytes], None]
    on_open: Callable[[], None]
    """There is a (new) socket."""
    on_too_large: Callable[[], None]
    """The way to the hub does not take datagrams of this size."""


class HubSocket(asyncio.DatagramProtocol):
    """Keeps a socket towards the hub; `run` opens it, and opens it again."""

    def __init__(self, settings: PathSettings, events: SocketEvents) -> None:
        self._settings, self._events = settings, events
        self._transport: asyncio.DatagramTransport | None = None
        self._remote: tuple[int, Remote] | None = None
        self._local: str | None = None
        self._look = asyncio.Event()
        self._is_stale = False
        self.failed = 0
        """Datagrams that the network refused."""

    @property
    def is_open(self) -> bool:
        """Whether there is a socket."""
        return self._transport is not None

    def send(self, datagram: bytes) -> None:
        """Hand a datagram to the network, which may lose it."""
        if self._transport is not None:
            self._transport.sendto(datagram)

    def renew(self) -> None:
        """Look the hub up again and use another port: on this one it does not answer."""
        self._is_stale = True
        self._look.set()

    async def run(self) -> None:
        """Keep the socket until cancelled; logs the first failure."""
        failures = 0
        try:
            while True:
                try:
                    await self._keep()
                    failures = 0
                except OSError as error:
                    self._close()
                    failures += 1
                    if failures == 1:
                        log.warning("datagram.no-socket", host=self._settings.host, reason=str(error))
                await self._rest(failures)
        finally:
            self._close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Use the transport from now on."""
        self._transport = transport  # type: ignore[assignment]  # the base class promises less than it gives
        self._events.on_open()

    def error_received(self, exc: Exception) -> None:
        """Count what the network refused: it is repeated like what was lost."""
        self.failed += 1
        if isinstance(exc, OSError) and exc.errno == errno.EMSGSIZE:
            self._events.on_too_large()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        """Hand a datagram on."""
        self._events.on_datagram(data)

    async def _keep(self) -> None:
        """Open a socket where there is none or the address that we would send from has changed.

        Raises:
            OSError: the name cannot be looked up, there is no way, or our address is gone.
        """
        if self._transport is not None and not self._is_stale and self._local == self._address_now():
            return
        self._is_stale = False
        loop = asyncio.get_running_loop()
        # Looking up may take long; what is there serves meanwhile.
        found = await loop.getaddrinfo(self._settings.host, self._settings.port, type=socket.SOCK_DGRAM)
        self._remote = (found[0][0], found[0][4])
        opened = open_socket(*self._remote, self._settings)
        self._close()
        self._local = opened.getsockname()[0]
        await loop.create_datagram_endpoint(lambda: self, sock=opened)

    def _address_now(self) -> str | None:
        if self._remote is None:
            return None
        with contextlib.suppress(OSError), open_socket(*self._remote, self._settings) as probe:
            return str(probe.getsockname()[0])
        return None

    async def _rest(self, failures: int) -> None:
        drawn_s = backoff.wait_s(failures, FIRST_RETRY_S, LONGEST_RETRY_S, random.random)
        self._look.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_RETRY_S + drawn_s if failures else LOOK_S):
                await self._look.wait()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


def open_socket(family: int, remote: Remote, settings: PathSettings) -> socket.socket:
    """Return a socket towards the hub: marked, bound as the settings say, never fragmenting.

    Raises:
        OSError: no way there, the address is not ours, or the interface is not there.
    """
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.setblocking(False)
        mark(opened, Dscp.EF)
        if family == socket.AF_INET:
            opened.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        if settings.interface:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, settings.interface.encode() + b"\0")
        if settings.local_address:
            opened.bind((settings.local_address, 0))
        opened.connect(remote)
    except OSError:
        opened.close()
        raise
    return opened
