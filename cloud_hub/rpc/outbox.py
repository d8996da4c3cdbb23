"""What is to be told on one call: gathered while the call is busy, so that it never grows without bound."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from telemed.transfer import runs
from telemed.v1 import transfer_pb2

from cloud_hub.errors import ReaderStalled

BEAT_S = 10.0
"""Something is told at least this often, so that the node knows that the hub still works on it."""

Write = Callable[[transfer_pb2.Progress], Awaitable[None]]


@dataclass(slots=True)
class Outbox:
    """Progress that was not told yet; counts add up, so that one message says all."""

    received_bytes: int = 0
    _durable: dict[str, set[int]] = field(default_factory=dict)
    _rest: transfer_pb2.Progress = field(default_factory=transfer_pb2.Progress)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _is_closed: bool = False

    def received(self, size_bytes: int) -> None:
        """Tell that so many more bytes were taken in."""
        self.received_bytes += size_bytes
        self._changed.set()

    def durable(self, transfer_id: str, chunks: set[int]) -> None:
        """Tell that chunks are synced and committed."""
        self._durable.setdefault(transfer_id, set()).update(chunks)
        self._changed.set()

    def complete(self, transfer_id: str, sha256: str) -> None:
        """Tell that a file is whole."""
        self._rest.complete.add(transfer_id=transfer_id, sha256=bytes.fromhex(sha256))
        self._changed.set()

    def corrupt(self, transfer_id: str, chunk: int) -> None:
        """Ask for a chunk again."""
        self._rest.corrupt.add(transfer_id=transfer_id, chunk=chunk)
        self._changed.set()

    def refused(self, transfer_id: str, refusal: transfer_pb2.Refusal) -> None:
        """Tell that a file is not taken."""
        self._rest.refused.add(transfer_id=transfer_id, refusal=refusal)
        self._changed.set()

    def close(self) -> None:
        """Let `run` end once all is told."""
        self._is_closed = True
        self._changed.set()

    def take(self) -> transfer_pb2.Progress:
        """Return all that is to be told, and forget it."""
        message, self._rest = self._rest, transfer_pb2.Progress()
        message.received_bytes = self.received_bytes
        for transfer_id, chunks in self._durable.items():
            message.durable.add(transfer_id=transfer_id, chunks=runs(chunks))
        self._durable = {}
        self._changed.clear()
        return message

    async def run(self, write: Write, write_limit_s: float) -> None:
        """Tell what is to be told until closed.

        Raises:
            ReaderStalled: a message could not be handed over within the limit.
        """
        while not (self._is_closed and not self._changed.is_set()):
            await self._wait()
            message = self.take()
            try:
                async with asyncio.timeout(write_limit_s):
                    await write(message)
            except TimeoutError:
                raise ReaderStalled(f"not read for {write_limit_s:g} s") from None

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(BEAT_S):
                await self._changed.wait()
        except TimeoutError:
            return
