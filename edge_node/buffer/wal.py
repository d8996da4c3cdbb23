"""Whether a write-ahead log holds commits that SQLite will not read, because bytes before them were changed (pure).

SQLite reads such a log up to the first frame whose checksum fails and takes the rest for never committed.  A crash
leaves logs of that kind only with no commit behind the failing frame; where one stands there, what it held was
acknowledged, and its numbers would be given out a second time.  Format: https://sqlite.org/walformat.html.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

HEADER = struct.Struct(">8I")
FRAME = struct.Struct(">6I")
MAGIC, BIG_ENDIAN = 0x377F0682, 1
SALTS = slice(4, 6)
_MASK = 0xFFFFFFFF
Sums = tuple[int, int]


class _Frame(NamedTuple):
    salts: Sums
    is_commit: bool
    sums: Sums
    body: bytes
    """What its checksum is made of."""


def is_broken(log: bytes) -> bool:
    """Return whether commits stand behind damage in a log, or in one whose head is damaged."""
    if len(log) < HEADER.size + FRAME.size:
        return False
    magic, _, page_bytes, _, salt_1, salt_2, *sums = HEADER.unpack_from(log)
    if not any(log[: HEADER.size]):
        return False
    order = ">" if magic & BIG_ENDIAN else "<"
    reached = _sums(order, (0, 0), log[: HEADER.size - 8])
    if magic & ~BIG_ENDIAN != MAGIC or reached != tuple(sums):
        return True
    is_sound = True
    for frame in _frames(log, page_bytes):
        if frame.salts != (salt_1, salt_2):
            is_sound = False
            continue
        if is_sound:
            reached = _sums(order, reached, frame.body)
            is_sound = reached == frame.sums
        elif frame.is_commit:
            return True
    return False


def _frames(log: bytes, page_bytes: int) -> Iterator[_Frame]:
    for at in range(HEADER.size, len(log) - FRAME.size - page_bytes + 1, FRAME.size + page_bytes):
        _, pages, salt_1, salt_2, sum_1, sum_2 = FRAME.unpack_from(log, at)
        page = at + FRAME.size
        yield _Frame((salt_1, salt_2), pages > 0, (sum_1, sum_2), log[at : at + 8] + log[page : page + page_bytes])


def _sums(order: str, sums: Sums, body: bytes) -> Sums:
    first, second = sums
    for one, other in struct.iter_unpack(f"{order}2I", body):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
