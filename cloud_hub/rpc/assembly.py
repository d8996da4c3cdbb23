"""Puts the pieces of one file together to whole chunks (pure)."""

from dataclasses import dataclass, field
from typing import NamedTuple

from telemed.transfer import CHUNK_BYTES, chunk_bytes

from cloud_hub.errors import PieceMisplaced


class Arrived(NamedTuple):
    """One chunk, as it came."""

    number: int
    data: bytes
    is_packed: bool


@dataclass(slots=True)
class Assembly:
    """The chunk of one file that is arriving; at most one, so that memory is bounded."""

    size_bytes: int
    """Of the file."""
    _index: int = -1
    _packed_bytes: int = 0
    _data: bytearray = field(default_factory=bytearray)

    def add(self, offset: int, data: bytes, packed_bytes: int = 0) -> Arrived | None:
        """Take in a piece; return the chunk that it completes, None while there is more to come.

        A piece at the start of a chunk begins that chunk; what was there of an unfinished one is let go.

        Args:
            offset: of the piece, as the message says it.
            data: what it brings.
            packed_bytes: how long the chunk is as it is packed; 0: it comes as it is.

        Raises:
            PieceMisplaced: it does not go on where the piece before ended, crosses into the next chunk, or lies
                outside the file.
        """
        index, within = divmod(offset, CHUNK_BYTES)
        plain_bytes = chunk_bytes(index, self.size_bytes)
        if within == 0:
            self._index, self._packed_bytes, self._data = index, packed_bytes, bytearray()
        whole_bytes = packed_bytes or plain_bytes
        is_next = (index, within, packed_bytes) == (self._index, len(self._data), self._packed_bytes)
        is_inside = 0 < whole_bytes <= plain_bytes and within + len(data) <= whole_bytes
        if not is_next or not is_inside:
            raise PieceMisplaced(f"piece of {len(data)} bytes at {offset} of a file of {self.size_bytes}")
        self._data += data
        if len(self._data) < whole_bytes:
            return None
        chunk, self._index, self._data = bytes(self._data), -1, bytearray()
        return Arrived(index, chunk, bool(packed_bytes))
