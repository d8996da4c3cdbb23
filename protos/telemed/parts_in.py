"""A multipart body taken apart while it arrives (RFC 2046 5.1); no part is held in memory.  Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal

HEAD_LIMIT_BYTES = 8 * 1024
OUTSIDE_LIMIT_BYTES = 64 * 1024
"""Of what is of no part: so much may come before the first boundary, and so much after the last."""
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_LINE = b"\r\n"


class NoParts(ValueError):
    """This is no multipart body; the text says why, in plain words."""

    def __init__(self, reason: str, where: Literal["Content-Type", "body"] = "body") -> None:
        """Say why, and what of the request is wrong."""
        super().__init__(reason)
        self.where = where


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins."""

    content_type: str
    """In lower case, without parameters; empty where it says none."""


@dataclass(frozen=True, slots=True)
class End:
    """The part that began is over."""


class _Where(Enum):
    BEFORE = auto()
    HEAD = auto()
    BODY = auto()
    BEHIND = auto()


class PartsIn:
    """Takes the bytes of one body and says what they are; bytes that it yields are of the part that began."""

    def __init__(self, boundary: str) -> None:
        """Begin before the first boundary.

        Raises:
            NoParts: that is no boundary.
        """
        if not _BOUNDARY.fullmatch(boundary):
            raise NoParts("the boundary of the body is missing or wrong", "Content-Type")
        self._mark = _LINE + b"--" + boundary.encode()
        self._where = _Where.BEFORE
        # As if a line ended in front of the body: its first boundary need not follow one.
        self._held = _LINE
        self._outside_bytes = 0

    def feed(self, data: bytes) -> Iterator[Begin | bytes | End]:
        """Take the next bytes and yield what they brought.

        Raises:
            NoParts: this is no multipart body.
        """
        self._held += data
        while (found := self._step()) is not None:
            yield from found

    def close(self) -> None:
        """Pass where the body has come to its end.

        Raises:
            NoParts: it was cut short.
        """
        if self._where is not _Where.BEHIND:
            raise NoParts("the body ends before its last boundary")

    def _step(self) -> tuple[Begin | bytes | End, ...] | None:
        """Return what the next held bytes are worth, which may be nothing; None where more must come first."""
        if self._where is _Where.BEHIND:
            self._pass_over(self._held)
            self._held = b""
            return None
        if self._where is _Where.HEAD:
            return self._head()
        at = self._held.find(self._mark)
        # The last bytes may be the beginning of a boundary.
        before = at if at >= 0 else max(0, len(self._held) - len(self._mark) + 1)
        if before:
            data, self._held = self._held[:before], self._held[before:]
            if self._where is _Where.BODY:
                return (data,)
            self._pass_over(data)
            return ()
        return self._boundary() if at == 0 else None

    def _boundary(self) -> tuple[End, ...] | None:
        """Pass the boundary with which the held bytes begin, once its line is whole."""
        rest = self._held[len(self._mark) :]
        ended = (End(),) if self._where is _Where.BODY else ()
        if rest.startswith(b"--"):
            self._where, self._held, self._outside_bytes = _Where.BEHIND, rest[2:], 0
            return ended
        line, end, after = rest.partition(_LINE)
        if not end:
            _check_head(rest)
            return None
        if line.strip(b" \t"):
            raise NoParts("a boundary stands within a part")
        # The line's end belongs to the head too, which may be empty.
        self._where, self._held = _Where.HEAD, _LINE + after
        return ended

    def _head(self) -> tuple[Begin] | None:
        lines, end, after = self._held.partition(_LINE + _LINE)
        _check_head(lines)
        if not end:
            return None
        self._where, self._held = _Where.BODY, after
        named = (line.partition(b":") for line in lines.split(_LINE))
        types = [value for name, _, value in named if name.strip().lower() == b"content-type"]
        told = types[0].decode("latin-1") if types else ""
        return (Begin(told.partition(";")[0].strip().lower()),)

    def _pass_over(self, data: bytes) -> None:
        """Let go of bytes that are of no part."""
        self._outside_bytes += len(data)
        if self._outside_bytes > OUTSIDE_LIMIT_BYTES:
            raise NoParts("there is too much before the first boundary, or after the last")


def _check_head(lines: bytes) -> None:
    if len(lines) > HEAD_LIMIT_BYTES:
        raise NoParts("the head of a part is too long")
