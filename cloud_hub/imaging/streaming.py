"""Bodies of answers: files and parts, piece by piece, so that no study is ever held in memory."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart answer: a file, or bytes."""

    headers: tuple[tuple[str, str], ...]
    size_bytes: int
    path: Path | None = None
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Multipart:
    """A multipart body whose length is known before it begins."""

    inner_type: str
    parts: tuple[Part, ...]
    boundary: str

    @property
    def media_type(self) -> str:
        """Of the whole answer."""
        return f'multipart/related; type="{self.inner_type}"; boundary={self.boundary}'

    @property
    def size_bytes(self) -> int:
        """Length of the whole body, so that a reader notices one that was cut short."""
        whole = sum(len(self._head(part)) + part.size_bytes + 2 for part in self.parts)
        return whole + len(self.end())

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as fast as it is taken.

        Raises:
            OSError: a file is gone or shorter than it was; the answer breaks off.
        """
        for part in self.parts:
            yield self._head(part)
            if part.path is None:
                yield part.data
            else:
                async for piece in file_pieces(part.path, part.size_bytes):
                    yield piece
            yield b"\r\n"
        yield self.end()

    def of(self, part: Part) -> bytes:
        """Return a part that is made while the body goes out."""
        return self._head(part) + part.data + b"\r\n"

    def end(self) -> bytes:
        """Return what closes the body."""
        return f"--{self.boundary}--\r\n".encode()

    def _head(self, part: Part) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in (*part.headers, ("Content-Length", part.size_bytes)))
        return f"--{self.boundary}\r\n{lines}\r\n".encode()


def multipart(inner_type: str, parts: Iterable[Part]) -> Multipart:
    """Return a body of these parts, with a boundary that nobody could put into a file."""
    return Multipart(inner_type, tuple(parts), secrets.token_hex(16))


async def file_pieces(path: Path, size_bytes: int) -> AsyncIterator[bytes]:
    """Yield a file of a known length.

    Raises:
        OSError: it is gone or has another length.
    """
    left = size_bytes
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while left:
            piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, left))
            if not piece:
                raise OSError("a file is shorter than it was")
            left -= len(piece)
            yield piece
    finally:
        file.close()


def tag_of(hashes: Iterable[str], *more: object) -> str:
    """Return the ETag of what is made of files with these hashes, and of how it is asked for; weak: its bytes vary."""
    text = "\n".join([*hashes, *map(str, more)])
    return f'W/"{hashlib.sha256(text.encode()).hexdigest()}"'


def is_known(if_none_match: str, tag: str) -> bool:
    """True where who asks has what the tag stands for."""
    known = {part.strip().removeprefix("W/") for part in if_none_match.split(",")}
    return tag.removeprefix("W/") in known or "*" in known
