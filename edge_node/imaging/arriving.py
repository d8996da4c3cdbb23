"""A file that comes to the node piece by piece, over HTTPS: written half-way, then taken in by a receiver."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from edge_node.imaging.judged import NOT_UNDERSTOOD, OUT_OF_RESOURCES
from edge_node.imaging.pipe import Taken


@dataclass(slots=True)
class Arriving:
    """One file; it is dropped by whoever opened it, whatever became of it."""

    path: Path
    """Where it lies until it is taken in, on the disk of the images."""
    limit_bytes: int
    look: Callable[[Path], Awaitable[Taken]]
    """Has a receiver take it in."""
    _file: BinaryIO | None = None
    _size_bytes: int = 0
    _has_failed: bool = field(default=False)

    async def write(self, data: bytes) -> None:
        """Write the next piece; what is more than an object may have is passed over, and `keep` says so."""
        self._size_bytes += len(data)
        if self._size_bytes <= self.limit_bytes and not self._has_failed:
            await asyncio.to_thread(self._write, data)

    async def keep(self) -> Taken:
        """Have it taken in, and return what became of it; success only after file and row are synced."""
        await asyncio.to_thread(self._close)
        if not 0 < self._size_bytes <= self.limit_bytes:
            return Taken(0, NOT_UNDERSTOOD)
        return Taken(0, OUT_OF_RESOURCES) if self._has_failed else await self.look(self.path)

    async def drop(self) -> None:
        """Delete what was written; idempotent."""
        await asyncio.to_thread(self._drop)

    def _write(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = self.path.open("xb")
            self._file.write(data)
        except OSError:
            self._has_failed = True

    def _close(self) -> None:
        """Close it; a receiver reads what is in it, and the disk is asked for a sync of what is kept alone."""
        try:
            if self._file is not None:
                self._file.close()
        except OSError:
            self._has_failed = True

    def _drop(self) -> None:
        self._close()
        self.path.unlink(missing_ok=True)
