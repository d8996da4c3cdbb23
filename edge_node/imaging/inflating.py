"""Unpacks a deflated data set, and stops before it becomes a bomb (reliability 4.2).  Pure."""

import zlib

RATIO_LIMIT = 200
"""How many bytes may come out of one."""
SMALL_BYTES = 1024 * 1024
"""Up to so much the ratio is nobody's business: a mask of zeros packs well."""
_STEP_BYTES = 256 * 1024
_SLICE_BYTES = 64 * 1024
"""Of what is packed: what zlib leaves of one is copied, so it must not be the whole."""


class Bomb(ValueError):
    """It unpacks to more than it may."""


def inflated(packed: bytes, limit_bytes: int) -> bytes:
    """Return what a deflated data set says.

    Raises:
        Bomb: over the limit, or over two hundred times its own size.
        ValueError: it is not deflated, or cut.
    """
    most_bytes = min(limit_bytes, max(SMALL_BYTES, RATIO_LIMIT * len(packed)))
    unpacker, parts, size_bytes = zlib.decompressobj(-zlib.MAX_WBITS), list[bytes](), 0
    view, rest = memoryview(packed), b""
    while not unpacker.eof:
        given, view = (rest, view) if rest else (view[:_SLICE_BYTES], view[_SLICE_BYTES:])
        try:
            part = unpacker.decompress(given, _STEP_BYTES)
        except zlib.error as error:
            raise ValueError("not deflated") from error
        rest = unpacker.unconsumed_tail
        if not (part or rest or view or unpacker.eof):
            raise ValueError("the deflated data set is cut")
        size_bytes += len(part)
        if size_bytes > most_bytes:
            raise Bomb(f"{len(packed)} bytes unpack to over {most_bytes}")
        parts.append(part)
    return b"".join(parts)
