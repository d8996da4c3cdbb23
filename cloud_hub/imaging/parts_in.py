"""A multipart body taken apart while it arrives (RFC 2046 5.1); no part is held in memory.  Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from cloud_hub.errors import BadRequest

HEAD_LIMIT_BYTES = 8 * 1024
OUTSIDE_LIMIT_BYTES = 64 * 1024
"""Of what is of no part: so much may come before the first boundary, and so much after the last."""
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins."""

    headers: dict[str, str]
    """By their names in lower case."""


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the part that began."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """The part is over."""


class _State(Enum):
    PREAMBLE = auto()
    HEAD = auto()
    BODY = auto()
    OVER = auto()


class PartsIn:
    """Takes bytes and says what they are; used for one body."""

    def __init__(self, boundary: str) -> None:
        """Begin before the first boundary.

        Raises:
            BadRequest: that is no boundary.
        """
        if not _BOUNDARY.fullmatch(boundary) or boundary.endswith(" "):
            raise BadRequest("the boundary of the body is missing or wrong", ["Content-Type"])
        self._mark = b"\r\n--" + boundary.encode()
        self._state = _State.PREAMBLE
        # As if a line end stood before the body: its first boundary need not have one.
        self._held = b"\r\n"
        self._outside_bytes = 0

    def feed(self, data: bytes) -> Iterator[Begin | Data | End]:
        """Take the next bytes and yield what they brought.

        Raises:
            BadRequest: this is no multipart body.
        """
        self._held += data
        while (found := self._next()) is not None:
            yield from found

    def close(self) -> None:
        """Pass where the body has come to its end.

        Raises:
            BadRequest: it was cut short.
        """
        if self._state is not _State.OVER:
            raise BadRequest("the body ends before its last boundary", ["body"])

    def _next(self) -> list[Begin | Data | End] | None:
        """Return what the held bytes are worth; None where more must come first."""
        match self._state:
            case _State.PREAMBLE:
                return self._to_boundary([])
            case _State.HEAD:
                return self._head()
            case _State.BODY:
                return self._body()
            case _:
                self._pass_over(len(self._held))
                return None

    def _to_boundary(self, ended: list[Begin | Data | End]) -> list[Begin | Data | End] | None:
        """Pass the boundary that is held, if it is whole."""
        at = self._held.find(self._mark)
        self._pass_over(at if at >= 0 else max(0, len(self._held) - len(self._mark)))
        if at < 0:
            return None
        rest = self._held[len(self._mark) :]
        if len(rest) < 2:
            return None
        if rest.startswith(b"--"):
            self._state, self._held, self._outside_bytes = _State.OVER, rest[2:], 0
            return ended
        line, end, after = rest.partition(b"\r\n")
        if not end:
            self._check_head(rest)
            return None
        if line.strip():
            raise BadRequest("a boundary stands within a part", ["body"])
        # The line end belongs to the head too, which may be empty.
        self._state, self._held = _State.HEAD, b"\r\n" + after
        return ended

    def _head(self) -> list[Begin | Data | End] | None:
        lines, end, after = self._held.partition(b"\r\n\r\n")
        if not end:
            self._check_head(self._held)
            return None
        self._check_head(lines)
        self._state, self._held = _State.BODY, after
        named = (line.partition(b":") for line in lines.split(b"\r\n") if line)
        return [Begin({name.strip().lower().decode("latin-1"): _text(value) for name, _, value in named})]

    def _body(self) -> list[Begin | Data | End] | None:
        at = self._held.find(self._mark)
        if at < 0:
            # The last bytes may be the beginning of a boundary.
            sure = len(self._held) - len(self._mark)
            if sure <= 0:
                return None
            data, self._held = self._held[:sure], self._held[sure:]
            return [Data(data)]
        if at:
            data, self._held = self._held[:at], self._held[at:]
            return [Data(data)]
        return self._to_boundary([End()])

    def _pass_over(self, size_bytes: int) -> None:
        """Let go of bytes that are of no part."""
        self._outside_bytes += size_bytes
        if self._outside_bytes > OUTSIDE_LIMIT_BYTES:
            raise BadRequest("there is too much before the first boundary, or after the last", ["body"])
        self._held = self._held[size_bytes:]

    def _check_head(self, lines: bytes) -> None:
        if len(lines) > HEAD_LIMIT_BYTES:
            raise BadRequest("the head of a part is too long", ["body"])


def _text(value: bytes) -> str:
    return value.strip().decode("latin-1")
