"""Packet relay between two network namespaces: what one end's kernel sends is shaped and given to the other's."""

import asyncio
import os
from contextlib import suppress

from tests.faults.relay import namespaces
from tests.faults.relay.carrier import Carrier
from tests.faults.relay.pace import Lateness, Pace
from tests.faults.relay.settings import Settings
from tests.faults.relay.shape import Flip, Line

EDGE_ADDRESS, HUB_ADDRESS = "10.77.0.1", "10.77.0.2"
"""The same in every tunnel: no other network ever sees them."""
AT_ONCE = 64
"""Packets read before what is due is looked at again."""
LARGEST_BYTES = 65_535
IPV4 = 4


class PacketRelay(Carrier):
    """A running packet relay with its two namespaces; `open` it inside a running event loop."""

    def __init__(self, up: Settings, down: Settings, seed: int) -> None:
        loop = asyncio.get_running_loop()
        lateness = Lateness()
        self._loop = loop
        self.names: dict[str, str] = {}
        """Name of the namespace of each end, "edge" and "hub"."""
        self._tuns: dict[str, int] = {}
        up_line: Line[bytes] = Line(up, f"{seed}/up", loop.time())
        down_line: Line[bytes] = Line(down, f"{seed}/down", loop.time())
        self._up = Pace(up_line, lambda packet, flip: self._write("hub", packet, flip), lateness, loop.time)
        self._down = Pace(down_line, lambda packet, flip: self._write("edge", packet, flip), lateness, loop.time)
        super().__init__(self._up, self._down, lateness)

    @classmethod
    def open(cls, up: Settings, down: Settings, seed: int) -> "PacketRelay":
        """Make the namespaces and begin to relay; first removes what killed runs left.  Raises Unavailable."""
        namespaces.remove_left_behind()
        relay = cls(up, down, seed)
        try:
            relay._lay("edge", EDGE_ADDRESS, HUB_ADDRESS, relay._up)
            relay._lay("hub", HUB_ADDRESS, EDGE_ADDRESS, relay._down)
        except BaseException:
            relay._remove()
            raise
        return relay

    async def close(self) -> None:
        """Kill whoever lives in the namespaces, and remove them."""
        self._remove()

    def _lay(self, end: str, address: str, peer: str, pace: Pace[bytes]) -> None:
        self.names[end] = namespaces.make(end)
        tun = self._tuns[end] = namespaces.open_tun(self.names[end], address, peer)
        self._loop.add_reader(tun, self._read, tun, pace)

    def _read(self, tun: int, pace: Pace[bytes]) -> None:
        with suppress(BlockingIOError):
            for _ in range(AT_ONCE):
                packet = os.read(tun, LARGEST_BYTES)
                if packet[0] >> 4 == IPV4:
                    pace.offer(packet, len(packet))
        pace.run_due()

    def _write(self, end: str, packet: bytes, flip: Flip | None) -> None:
        # The kernel refuses a packet whose head was changed beyond recognition: to it, that one never came.
        with suppress(OSError):
            os.write(self._tuns[end], flip.applied(packet) if flip else packet)

    def _remove(self) -> None:
        self._up.close()
        self._down.close()
        for tun in self._tuns.values():
            self._loop.remove_reader(tun)
            os.close(tun)
        self._tuns.clear()
        for name in self.names.values():
            namespaces.remove(name)
