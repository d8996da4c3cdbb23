"""MLLP framing, pure and non-blocking: bytes in, frames and faults out (clinical 3.2).

A frame is `0x0B ... 0x1C 0x0D`.  Nothing is kept beyond the frame in work, so memory is bounded by its limit.
"""

from dataclasses import dataclass
from enum import StrEnum

START, END, CARRIAGE_RETURN = b"\x0b", b"\x1c", b"\x0d"
_TAIL = END + CARRIAGE_RETURN


class FaultKind(StrEnum):
    """What can be wrong with the framing."""

    STRAY_BYTES = "stray-bytes"  # before 0x0B: dropped
    RESTARTED = "restarted"  # 0x0B inside a frame: the partial frame is dropped
    TOO_LONG = "too-long"  # over the limit: the peer is to be told and cut off
    STALLED = "stalled"  # a begun frame that did not go on


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole message without its framing."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """Bytes that were dropped, and why."""

    kind: FaultKind
    dropped_bytes: int


class FrameReader:
    """Collects the bytes of one connection into frames.

    After a `TOO_LONG` fault the reader takes nothing more: the connection is to be closed.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._partial = bytearray()
        self._is_begun = False
        self._is_closed = False

    @property
    def is_begun(self) -> bool:
        """True while a frame has begun and its end has not come."""
        return self._is_begun

    def feed(self, chunk: bytes) -> list[Frame | Fault]:
        """Return the frames and faults that `chunk` completes, in their order on the wire."""
        found: list[Frame | Fault] = []
        rest = chunk
        while rest and not self._is_closed:
            rest = self._inside(rest, found) if self._is_begun else self._outside(rest, found)
        return found

    def drop_partial(self) -> Fault | None:
        """Drop a begun frame that stalls; returns what was dropped, None where no frame had begun."""
        if not self._is_begun:
            return None
        fault = Fault(FaultKind.STALLED, len(self._partial))
        self._reset()
        return fault

    def _outside(self, rest: bytes, found: list[Frame | Fault]) -> bytes:
        start = rest.find(START)
        stray = len(rest) if start < 0 else start
        if stray:
            found.append(Fault(FaultKind.STRAY_BYTES, stray))
        if start < 0:
            return b""
        self._is_begun = True
        return rest[start + 1 :]

    def _inside(self, rest: bytes, found: list[Frame | Fault]) -> bytes:
        # The end mark may be split over two chunks, so the search starts one byte back.
        searched_to = max(0, len(self._partial) - 1)
        self._partial += rest
        end = self._partial.find(_TAIL, searched_to)
        scanned = self._partial if end < 0 else self._partial[:end]
        restart = scanned.rfind(START)
        if restart >= 0:
            found.append(Fault(FaultKind.RESTARTED, restart))
            again = bytes(self._partial[restart + 1 :])
            self._partial.clear()
            return again
        if len(scanned) > self._limit_bytes:
            found.append(Fault(FaultKind.TOO_LONG, len(self._partial)))
            self._reset()
            self._is_closed = True
            return b""
        if end < 0:
            return b""
        found.append(Frame(bytes(scanned)))
        after = bytes(self._partial[end + len(_TAIL) :])
        self._reset()
        return after

    def _reset(self) -> None:
        self._partial.clear()
        self._is_begun = False


def wrap(payload: bytes) -> bytes:
    """Return `payload` framed for the wire."""
    return START + payload + _TAIL
