"""TCP relay in user space, for people without root: connections go through it, and their bytes are shaped.

It ends each connection and makes another one to the target, so no byte is ever lost, repeated, reordered or changed:
settings that ask for that are refused.  It shapes rate, delay, jitter, cuts and slow drips.
"""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from enum import Enum
from typing import NamedTuple, cast

from tests.faults.relay.carrier import DIRECTIONS, Carrier, Direction
from tests.faults.relay.namespaces import inside
from tests.faults.relay.pace import Lateness, Pace
from tests.faults.relay.settings import Loss, Settings
from tests.faults.relay.shape import Counts, Flip, Line
from tests.faults.relay.traces import constant

Address = tuple[str, int]
KERNEL_BYTES = 32 * 1024
"""Asked of the kernel for each socket, so that what waits there stays small beside the line's own queue."""
SEGMENT_BYTES = 1400
"""Loopback's own segments of 64 KiB would not fit into such a buffer."""
NOTHING_PASSES = constant(0)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ending(Enum):
    """How a connection ends, told in order behind its bytes."""

    FINISHED = "finished"
    BROKEN = "broken"


class _Piece(NamedTuple):
    to: "_End"
    content: bytes | Ending


class StreamPath:
    """One direction: the line that all connections share, never dropping because it stops reading in time."""

    def __init__(self, settings: Settings, seed: str, lateness: Lateness) -> None:
        loop = asyncio.get_running_loop()
        _check(settings)
        self.ends: set[_End] = set()
        """Those that read into this direction."""
        self._loop = loop
        self._settings = settings
        self._line: Line[_Piece] = Line(_without_end(settings), seed, loop.time())
        self._pace = Pace(self._line, self._arrive, lateness, loop.time)
        self._held: deque[_Piece] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.is_full = False

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self._settings

    def change(self, settings: Settings) -> None:
        """Put other settings in force; a cut holds everything where it is, healing sends it on."""
        _check(settings)
        self._settings = settings
        # What was held arrived before anything that the change may make due.
        while self._held and not settings.cut:
            self._arrive(self._held.popleft(), None)
        self._pace.change(_without_end(settings))
        self._look_for_room()

    def counts(self) -> Counts:
        """Return what happened so far, in pieces."""
        return self._pace.counts()

    def offer(self, to: "_End", content: bytes | Ending) -> None:
        """Put what was read on its way, and read no more while the queue is full."""
        self._pace.offer(_Piece(to, content), len(content) if isinstance(content, bytes) else 0)
        self._pace.run_due()
        self._look_for_room()

    def close(self) -> None:
        """Hand nothing on any more."""
        self._pace.close()
        if self._timer is not None:
            self._timer.cancel()

    def _arrive(self, piece: _Piece, flip: Flip | None) -> None:
        if self._settings.cut:
            self._held.append(piece)
        else:
            piece.to.write(piece.content)

    def _look_for_room(self) -> None:
        was_full = self.is_full
        self.is_full = self.counts().waiting_bytes >= self._settings.queue_bytes
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.is_full and self._line.next_departure_s != float("inf"):
            self._timer = self._loop.call_at(self._line.next_departure_s, self._look_for_room)
        if self.is_full != was_full:
            for end in self.ends:
                end.look_whether_to_read()


class _End(asyncio.BufferedProtocol):
    """One of the two sockets of a client's connection: reads into a path, and writes what arrives for it."""

    def __init__(self, path: StreamPath, on_made: "Callable[[_End], None] | None" = None) -> None:
        self.other: _End | None = None
        self._path = path
        self._on_made = on_made
        self._transport: asyncio.Transport | None = None
        self._piece = bytearray()
        self._is_choked = self._is_reading = self._has_finished = self._was_finished = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, but read nothing before there is somewhere to send it."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()
        self._transport.set_write_buffer_limits(high=KERNEL_BYTES)
        _tune(transport.get_extra_info("socket"))
        self._path.ends.add(self)
        asyncio.get_running_loop().call_soon(self._pause_again)
        if self._on_made:
            self._on_made(self)

    def _pause_again(self) -> None:
        # Early releases of Python 3.11, as Debian 12 has one, begin to read after `connection_made`, paused or not.
        if self.other is None and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._transport.pause_reading()

    def join(self, other: "_End") -> None:
        """Send what is read here to another end from now on."""
        self.other = other
        self.look_whether_to_read()

    def get_buffer(self, sizehint: int) -> bytearray:
        """Offer room for one piece."""
        self._piece = bytearray(self._path.settings.piece_bytes)
        return self._piece

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece that was read."""
        self._tell_other(bytes(self._piece[:nbytes]))

    def eof_received(self) -> bool:
        """Pass on that nothing more comes; the other direction stays open."""
        self._has_finished = True
        self._is_reading = False
        self._tell_other(Ending.FINISHED)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection broke."""
        self._path.ends.discard(self)
        self._transport = None
        if exc is not None:
            self._tell_other(Ending.BROKEN)

    def pause_writing(self) -> None:
        """Read no more for a receiver that does not take it."""
        self._choke_other(is_choked=True)

    def resume_writing(self) -> None:
        """Read again."""
        self._choke_other(is_choked=False)

    def write(self, content: bytes | Ending) -> None:
        """Send what arrived for this end; nothing happens when its connection is gone."""
        if self._transport is None or self._transport.is_closing():
            return
        if isinstance(content, bytes):
            self._transport.write(content)
        elif content is Ending.BROKEN:
            self.reset()
        else:
            self._was_finished = True
            with suppress(OSError):
                self._transport.write_eof()
            if self._has_finished:
                self._transport.close()

    def reset(self) -> None:
        """Break the connection at once, so that the peer sees a reset."""
        if self._transport is not None:
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            self._transport.abort()

    def look_whether_to_read(self) -> None:
        """Read while there is somewhere to send it and room for it."""
        if self._transport is None or self._has_finished or self._transport.is_closing():
            return
        reads = self.other is not None and not self._is_choked and not self._path.is_full
        if reads and not self._is_reading:
            self._transport.resume_reading()
        elif self._is_reading and not reads:
            self._transport.pause_reading()
        self._is_reading = reads

    def _tell_other(self, content: bytes | Ending) -> None:
        if self.other is not None:
            self._path.offer(self.other, content)

    def _choke_other(self, *, is_choked: bool) -> None:
        if self.other is not None:
            self.other._is_choked = is_choked
            self.other.look_whether_to_read()


class StreamRelay(Carrier):
    """A running TCP relay; `open` it inside a running event loop."""

    def __init__(self, target: Address, up: Settings, down: Settings, seed: int, within: str | None) -> None:
        lateness = Lateness()
        self._target = target
        self._within = within
        self._up = StreamPath(up, f"{seed}/up", lateness)
        self._down = StreamPath(down, f"{seed}/down", lateness)
        super().__init__(self._up, self._down, lateness)
        self._connecting: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._look_whether_it_passes()

    @classmethod
    async def open(
        cls, listen: Address, target: Address, up: Settings, down: Settings, seed: int, within: str | None = None
    ) -> "StreamRelay":
        """Begin to relay from an address (port 0: any) to a target, which may live within another network namespace.

        Raises OSError if the address cannot be had, and ValueError for settings that a byte stream cannot follow.
        """
        relay = cls(target, up, down, seed, within)
        front = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            front.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _tune(front)
            front.bind(listen)
            relay._server = await asyncio.get_running_loop().create_server(
                lambda: _End(relay._up, relay._accept), sock=front
            )
        except BaseException:
            front.close()
            raise
        return relay

    @property
    def address(self) -> Address:
        """Where clients connect to."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()
        return str(host), int(port)

    def change(self, direction: Direction, settings: Settings) -> None:
        """Put other settings in force in one direction."""
        super().change(direction, settings)
        self._look_whether_it_passes()

    def cut(self, direction: Direction, *, is_cut: bool) -> None:
        """Hold everything in one direction, or let it go on: connections stall, and no byte is lost."""
        super().cut(direction, is_cut=is_cut)
        self._look_whether_it_passes()

    def reset(self) -> None:
        """Break all connections that exist; new ones are accepted."""
        for end in (*self._up.ends, *self._down.ends):
            end.reset()

    async def close(self) -> None:
        """Break what there is and listen no more."""
        if self._server is not None:
            self._server.close()
        for task in self._connecting:
            task.cancel()
        self.reset()
        self._up.close()
        self._down.close()
        # Transports close in the next step of the loop.
        await asyncio.sleep(0)

    def _look_whether_it_passes(self) -> None:
        if any(self._paths[direction].settings.cut for direction in DIRECTIONS):
            self._passes.clear()
        else:
            self._passes.set()

    def _accept(self, front: _End) -> None:
        task = asyncio.get_running_loop().create_task(self._connect(front))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, front: _End) -> None:
        # The kernel has accepted already; while the link is cut the target must at least hear nothing of it.
        await self._passes.wait()
        loop = asyncio.get_running_loop()
        with inside(self._within) if self._within else nullcontext():
            line = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            line.setblocking(False)
            _tune(line)
            await loop.sock_connect(line, self._target)
            _, back = await loop.create_connection(lambda: _End(self._down), sock=line)
        except OSError:
            line.close()
            front.reset()
            return
        except asyncio.CancelledError:
            line.close()
            raise
        if front not in self._up.ends:
            back.reset()
            return
        front.join(back)
        back.join(front)


def _check(settings: Settings) -> None:
    """Refuse what a byte stream cannot do; raises ValueError."""
    if settings.loss != Loss() or settings.reorder or settings.duplicate or settings.corrupt:
        raise ValueError("a TCP relay cannot lose, reorder, repeat or change bytes; use the tunnel")


def _without_end(settings: Settings) -> Settings:
    """Return settings under which a line drops nothing: a cut stops the transmitter, and the queue has no end."""
    rate = NOTHING_PASSES if settings.cut else settings.rate
    return replace(settings, cut=False, rate=rate, queue_bytes=1 << 62)


def _tune(connection: socket.socket) -> None:
    """Keep what the kernel holds back small, and let pieces leave one by one."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BYTES)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
