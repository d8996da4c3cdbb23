"""Puts the pieces of one file together to whole chunks (pure)."""

from dataclasses import dataclass, field

from telemed.transfer import CHUNK_BYTES, chunk_bytes

from cloud_hub.errors import PieceMisplaced


@dataclass(slots=True)
class Assembly:
    """The chunk of one file that is arriving; at most one, so that memory is bounded."""

    size_bytes: int
    """Of the file."""
    _index: int = -1
    _data: bytearray = field(default_factory=bytearray)

    def add(self, offset: int, data: bytes) -> tuple[int, bytes] | None:
        """Take in a piece; return number and bytes of the chunk that it completes, None while there is more to come.

        A piece at the start of a chunk begins that chunk; what was there of an unfinished one is let go.

        Raises:
            PieceMisplaced: it does not go on where the piece before ended, crosses into the next chunk, or lies
                outside the file.
        """
        index, within = divmod(offset, CHUNK_BYTES)
        whole_bytes = chunk_bytes(index, self.size_bytes)
        if within == 0:
            self._index, self._data = index, bytearray()
        if index != self._index or within != len(self._data) or within + len(data) > whole_bytes:
            raise PieceMisplaced(f"piece of {len(data)} bytes at {offset} of a file of {self.size_bytes}")
        self._data += data
        if len(self._data) < whole_bytes:
            return None
        chunk, self._index, self._data = bytes(self._data), -1, bytearray()
        return index, chunk
