"""The sending half of MLLP, by the rules of clinical 3.2: one message outstanding, kept until it is answered."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from edge_node.devices.hl7_monitor import mllp
from edge_node.devices.simulated.ledger import Ledger

ACK_LIMIT_S = 10.0
_CHUNK_BYTES = 64 * 1024
_ANSWER_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send, and how patiently."""

    host: str
    port: int
    first_retry_s: float = 0.5
    longest_retry_s: float = 5
    longest_refused_s: float = 60
    """AR: the wait doubles from one second up to this."""


@dataclass(frozen=True, slots=True)
class _Item:
    control_id: str
    payload: bytes


class _AckMissing(Exception):
    """No answer in time, or the peer went away: the message is sent again with the same control id."""


class MonitorLine:
    """One connection of one monitor.  Order is kept; what does not fit in the backlog is lost, as in a monitor."""

    def __init__(self, target: Target, ledger: Ledger, *, backlog: int = 900) -> None:
        self._target = target
        self._ledger = ledger
        self._backlog = backlog
        self._waiting: deque[_Item] = deque()
        self._has_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._is_drained = asyncio.Event()
        self._is_drained.set()
        self.answered = 0
        self.lost = 0

    def offer(self, control_id: str, payload: bytes) -> None:
        """Queue a message; the oldest is lost where the backlog is full."""
        if len(self._waiting) >= self._backlog:
            # The head may be in flight, so the second oldest goes.
            lost = self._waiting[1]
            del self._waiting[1]
            self.lost += 1
            self._ledger.note("lost", lost.control_id)
        self._waiting.append(_Item(control_id, payload))
        self._is_drained.clear()
        self._has_work.set()
        if len(self._waiting) >= self._backlog:
            self._has_room.clear()

    async def put(self, control_id: str, payload: bytes) -> None:
        """Queue a message, waiting for room."""
        await self._has_room.wait()
        self.offer(control_id, payload)

    async def drained(self) -> None:
        """Return when every queued message was answered."""
        await self._is_drained.wait()

    async def run(self) -> None:
        """Send until cancelled; reconnects with a wait that doubles."""
        wait_s = self._target.first_retry_s
        while True:
            before = self.answered
            with contextlib.suppress(OSError, _AckMissing):
                async with self._connected() as (reader, writer):
                    await self._converse(reader, writer)
            wait_s = self._target.first_retry_s if self.answered > before else wait_s
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, self._target.longest_retry_s)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(ACK_LIMIT_S):
            reader, writer = await asyncio.open_connection(self._target.host, self._target.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = mllp.FrameReader(_ANSWER_LIMIT_BYTES)
        refused_s = 1.0
        while True:
            await self._has_work.wait()
            item = self._waiting[0]
            writer.write(mllp.wrap(item.payload))
            self._ledger.note("sent", item.control_id, bytes=len(item.payload))
            try:
                async with asyncio.timeout(ACK_LIMIT_S):
                    await writer.drain()
                    code = await self._answer_to(item.control_id, reader, answers)
            except TimeoutError as error:
                raise _AckMissing from error
            self._ledger.note("ack", item.control_id, code=code)
            if code.endswith("R"):
                await asyncio.sleep(refused_s)
                refused_s = min(refused_s * 2, self._target.longest_refused_s)
                continue
            refused_s = 1.0
            self._done()

    def _done(self) -> None:
        self._waiting.popleft()
        self.answered += 1
        self._has_room.set()
        if not self._waiting:
            self._has_work.clear()
            self._is_drained.set()

    @staticmethod
    async def _answer_to(control_id: str, reader: asyncio.StreamReader, answers: mllp.FrameReader) -> str:
        """Code of the answer to this message; answers to others are passed over."""
        while True:
            chunk = await reader.read(_CHUNK_BYTES)
            if not chunk:
                raise _AckMissing
            for found in answers.feed(chunk):
                if isinstance(found, mllp.Frame):
                    code, about = _msa(found.payload)
                    if about == control_id or (code.endswith("R") and not about):
                        return code


def _msa(payload: bytes) -> tuple[str, str]:
    for line in payload.decode("utf-8", errors="replace").split("\r"):
        if line.startswith("MSA|"):
            fields = [*line.split("|"), "", ""]
            return fields[1], fields[2]
    return "", ""
