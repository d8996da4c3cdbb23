"""What edge and hub must agree upon to compare their records: blocks, marks of records, and the hash over them.

Pure.  A record is known by its number, its checksum made anew from every field that is stored (not the checksum that
stands beside it), and the checksum of its payload alone, for a store that does not keep all fields of the head.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import google_crc32c

from telemed.wire import Record, checksum

BLOCK_RECORDS = 1024
"""Numbers 1 to 1024 are the first block of a stream, and so on."""
BLOCKS_LIMIT = 32
"""Blocks that one call compares at most."""
CONFLICTS_LIMIT = 100
"""Differing records that a node brings in one run at most; beyond it they are counted only."""
_MARK = struct.Struct("<QII")


class Mark(NamedTuple):
    """What one record is known by."""

    seq: int
    crc: int
    payload_crc: int


def mark_of(record: Record) -> Mark:
    """Return the mark of a record as it is stored."""
    return Mark(record.seq, checksum(record), payload_crc(record.payload))


def payload_crc(payload: bytes) -> int:
    """Return the checksum of a packed payload alone."""
    return int(google_crc32c.value(payload))


def pack(marks: Iterable[Mark]) -> bytes:
    """Return marks as they travel, 16 bytes each."""
    return b"".join(_MARK.pack(*mark) for mark in marks)


def unpack(packed: bytes) -> list[Mark]:
    """Return the marks of `pack`.

    Raises:
        ValueError: the length is no multiple of 16, or there are more than a block's.
    """
    if len(packed) % _MARK.size or len(packed) > BLOCK_RECORDS * _MARK.size:
        raise ValueError(f"{len(packed)} bytes of marks")
    return [Mark(*each) for each in _MARK.iter_unpack(packed)]


def digest(marks: Sequence[Mark]) -> bytes:
    """Return the SHA-256 over marks in the order of their numbers."""
    return hashlib.sha256(pack(marks)).digest()


def blocks(first: int, last: int) -> list[tuple[int, int]]:
    """Return the numbers first to last cut at the borders of blocks; none where last is below first."""
    found = []
    while first <= last:
        end = min(last, (first - 1) // BLOCK_RECORDS * BLOCK_RECORDS + BLOCK_RECORDS)
        found.append((first, end))
        first = end + 1
    return found
