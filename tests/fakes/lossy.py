"""A UDP forwarder that loses datagrams; each client gets a port of its own towards the hub."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

Address = tuple[str, int]


@dataclass
class Lossy:
    """Stands between nodes and hub on loopback."""

    hub: Address
    loss: float = 0.0
    """Share lost, each way."""
    draw: Callable[[], float] = field(default_factory=lambda: random.Random(7).random)
    port: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    """Payload bytes offered, before loss; with `packets` the bytes on the wire can be had."""
    up_packets: int = 0
    down_packets: int = 0
    tap: Callable[[bytes, bool], None] = lambda _datagram, _is_up: None
    """Sees each datagram before it is lost or not, and whether it goes up."""
    _front: asyncio.DatagramTransport | None = None
    _backs: dict[Address, asyncio.DatagramTransport] = field(default_factory=dict)
    _waiting: dict[Address, list[bytes]] = field(default_factory=dict)

    async def open(self) -> None:
        """Listen on a free port of loopback."""
        self._front = await _endpoint(self._from_node, local=("127.0.0.1", self.port))
        self.port = self._front.get_extra_info("sockname")[1]

    def close(self) -> None:
        """Stop; what is on its way is lost."""
        for transport in (self._front, *self._backs.values()):
            if transport is not None:
                transport.abort()

    def rebind(self) -> None:
        """Give every client another port towards the hub, as a translator does that forgot."""
        for transport in self._backs.values():
            transport.abort()
        self._backs.clear()

    def _from_node(self, data: bytes, node: Address) -> None:
        self.up_packets += 1
        self.up_bytes += len(data)
        self.tap(data, True)
        if self.draw() < self.loss:
            return
        back = self._backs.get(node)
        if back is not None:
            back.sendto(data)
        elif node in self._waiting:
            self._waiting[node].append(data)
        else:
            self._waiting[node] = [data]
            self._opening = asyncio.ensure_future(self._open_back(node))

    async def _open_back(self, node: Address) -> None:
        back = await _endpoint(lambda data, _hub: self._from_hub(data, node), remote=self.hub)
        self._backs[node] = back
        for data in self._waiting.pop(node):
            back.sendto(data)

    def _from_hub(self, data: bytes, node: Address) -> None:
        self.down_packets += 1
        self.down_bytes += len(data)
        self.tap(data, False)
        if self.draw() >= self.loss and self._front is not None:
            self._front.sendto(data, node)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._take(data, addr)


async def _endpoint(
    take: Callable[[bytes, Address], None], *, local: Address | None = None, remote: Address | None = None
) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Protocol(take), local_addr=local, remote_addr=remote)
    return transport
