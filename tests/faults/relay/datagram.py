"""UDP relay in user space: clients send to it, it sends to the target, and both ways are shaped; needs no rights.

Each client has a socket of its own towards the target, so the target can tell clients apart and answers find back.
"""

import asyncio
import socket
from collections import OrderedDict
from contextlib import suppress
from typing import NamedTuple

from tests.faults.relay.carrier import Carrier
from tests.faults.relay.pace import Lateness, Pace
from tests.faults.relay.settings import Settings
from tests.faults.relay.shape import Flip, Line

Address = tuple[str, int]
HEAD_BYTES = 28
"""What IP and UDP add to a datagram on the wire."""
LARGEST_BYTES = 65_535
AT_ONCE = 64
"""Datagrams read before what is due is looked at again."""
MOST_CLIENTS = 256
"""With more, the one that was silent longest is forgotten: its next datagram comes from another port."""
SOCKET_BYTES = 1 << 20


class _Datagram(NamedTuple):
    client: Address
    content: bytes


class DatagramRelay(Carrier):
    """A running UDP relay; `open` it inside a running event loop."""

    def __init__(self, front: socket.socket, target: Address, up: Settings, down: Settings, seed: int) -> None:
        loop = asyncio.get_running_loop()
        lateness = Lateness()
        self._loop = loop
        self._front = front
        self._target = target
        self._clients: OrderedDict[Address, socket.socket] = OrderedDict()
        self._up: Pace[_Datagram] = Pace(Line(up, f"{seed}/up", loop.time()), self._send_up, lateness, loop.time)
        self._down: Pace[_Datagram] = Pace(
            Line(down, f"{seed}/down", loop.time()), self._send_down, lateness, loop.time
        )
        super().__init__(self._up, self._down, lateness)
        loop.add_reader(front, self._read_front)

    @classmethod
    def open(cls, listen: Address, target: Address, up: Settings, down: Settings, seed: int) -> "DatagramRelay":
        """Begin to relay from an address (port 0: any) to a target; raises OSError if the address cannot be had."""
        front = _socket()
        try:
            front.bind(listen)
            return cls(front, target, up, down, seed)
        except BaseException:
            front.close()
            raise

    @property
    def address(self) -> Address:
        """Where clients send to."""
        host, port = self._front.getsockname()
        return str(host), int(port)

    async def close(self) -> None:
        """Close every socket; what was under way is lost."""
        self._up.close()
        self._down.close()
        for open_socket in (self._front, *self._clients.values()):
            self._loop.remove_reader(open_socket)
            open_socket.close()
        self._clients.clear()

    def _read_front(self) -> None:
        for _ in range(AT_ONCE):
            try:
                content, client = self._front.recvfrom(LARGEST_BYTES)
            except BlockingIOError:
                break
            self._up.offer(_Datagram(client, content), len(content) + HEAD_BYTES)
        self._up.run_due()

    def _read_back(self, client: Address, back: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                content = back.recv(LARGEST_BYTES)
            except BlockingIOError:
                break
            except ConnectionRefusedError:
                # Nobody listens at the target at the moment: on a network that is silence.
                continue
            self._down.offer(_Datagram(client, content), len(content) + HEAD_BYTES)
        self._down.run_due()

    def _send_up(self, item: _Datagram, flip: Flip | None) -> None:
        back = self._clients.get(item.client) or self._admit(item.client)
        self._clients.move_to_end(item.client)
        with suppress(BlockingIOError, ConnectionRefusedError):
            back.send(_content(item, flip))

    def _send_down(self, item: _Datagram, flip: Flip | None) -> None:
        with suppress(BlockingIOError, ConnectionRefusedError):
            self._front.sendto(_content(item, flip), item.client)

    def _admit(self, client: Address) -> socket.socket:
        if len(self._clients) >= MOST_CLIENTS:
            _, oldest = self._clients.popitem(last=False)
            self._loop.remove_reader(oldest)
            oldest.close()
        back = self._clients[client] = _socket()
        back.connect(self._target)
        self._loop.add_reader(back, self._read_back, client, back)
        return back


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    # What the kernel holds back here is beside the line's own queue, so it only has to bridge our reading.
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    return made


def _content(item: _Datagram, flip: Flip | None) -> bytes:
    return flip.applied(item.content) if flip else item.content
