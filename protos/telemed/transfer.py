"""What edge and hub must agree upon to move a file in pieces: chunks, their hashes, names of kinds, limits.

Pure.  A file is named by the SHA-256 of its content; its chunks are 64 KiB, the last may be shorter.
"""

import hashlib
from collections.abc import Iterable, Iterator
from enum import StrEnum

import zstandard

from telemed import numbers
from telemed.errors import Code
from telemed.v1 import transfer_pb2

CHUNK_BYTES = 64 * 1024
HASH_BYTES = 32
LARGEST_FILE_BYTES = 2 * 1024**3
MESSAGE_LIMIT_BYTES = 4 * 1024**2
"""Of one gRPC message, both ways."""
LIST_LIMIT = 256
"""Hashes that one List names at most, of each sort."""
NAME_LIMIT = 200
GROUP_LIMIT = 64
PACKED_SHARE = 0.9
"""A chunk is packed where that leaves less of it than so much."""
_PACKING = 3
"""Level of zstd: as quick as a disk, and half of what CT and MR take uncompressed is left."""
CORRUPT_LIMIT = 3
"""How often a chunk that does not match its hash is asked for again."""
NODE_KEY, SECRET_KEY = "yz-node", "yz-secret"
"""Call metadata that says who calls, until certificates do (decision 34)."""


class FileKind(StrEnum):
    """What a file is; decides its budget and its class on the uplink."""

    STUDY = "study"
    EXAM = "exam"
    BUNDLE = "bundle"
    OTHER = "other"


_ON_THE_WIRE = {
    FileKind.STUDY: transfer_pb2.FILE_KIND_STUDY,
    FileKind.EXAM: transfer_pb2.FILE_KIND_EXAM,
    FileKind.BUNDLE: transfer_pb2.FILE_KIND_BUNDLE,
    FileKind.OTHER: transfer_pb2.FILE_KIND_OTHER,
}
_OFF_THE_WIRE = {number: kind for kind, number in _ON_THE_WIRE.items()}

REFUSALS: dict[str, tuple[str, str]] = {
    Code.TOO_LARGE: (
        "文件超过大小限制，不能传送：请分成较小的文件",
        "The file is over the size limit and cannot be sent: split it",
    ),
    Code.STORE_NEARLY_FULL: (
        "中心的存储快满了，稍后自动再传：请通知运维",
        "The hub's disk is nearly full, sent later by itself: tell the operator",
    ),
    Code.TOO_MANY_OPEN: (
        "同时传送的文件过多，稍后自动再传",
        "Too many files are being sent at once, sent later by itself",
    ),
    Code.CHUNK_CORRUPT: (
        "文件有一段多次传送后仍与校验值不符：请检查本站的磁盘后重新发送",
        "A part of the file kept arriving damaged: check this site's disk, then send it again",
    ),
    Code.FILE_MISMATCH: (
        "收到的整个文件与其校验值不符：请重新发送",
        "The file as a whole does not match its hash: send it again",
    ),
    Code.OFFER_REFUSED: (
        "中心看不懂所提供的文件说明：请联系技术支持",
        "The hub cannot make sense of what was offered: call support",
    ),
    Code.TRANSFER_UNKNOWN: (
        "中心没有这次传送的记录，将重新开始",
        "The hub does not know this transfer, it begins anew",
    ),
}
"""Why a file is not taken, in plain words: Chinese, English."""


def kind_number(kind: FileKind) -> "transfer_pb2.FileKind.ValueType":
    """Return the number of a kind in messages."""
    return _ON_THE_WIRE[kind]


def kind_of(number: int) -> FileKind:
    """Return the kind that a message names.

    Raises:
        ValueError: unspecified, or of a newer version.
    """
    if number not in _OFF_THE_WIRE:
        raise ValueError(f"{number} is no kind of file")
    return _OFF_THE_WIRE[transfer_pb2.FileKind.ValueType(number)]


def refusal(code: str, retry_after_s: int = 0) -> transfer_pb2.Refusal:
    """Return a refusal with its words; `retry_after_s` 0 = asking again will not help."""
    zh, en = REFUSALS.get(code, (code, code))
    return transfer_pb2.Refusal(code=code, zh=zh, en=en, retry_after_s=retry_after_s)


def chunk_count(size_bytes: int) -> int:
    """Return how many chunks a file of this size has."""
    return -(-size_bytes // CHUNK_BYTES)


def chunk_bytes(index: int, size_bytes: int) -> int:
    """Return how long a chunk of a file of this size is; 0 beyond its end."""
    return max(0, min(CHUNK_BYTES, size_bytes - index * CHUNK_BYTES))


def chunk_hash(hashes: bytes, index: int) -> bytes:
    """Return the hash of one chunk out of the hashes of all."""
    return hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES]


def packed(chunk: bytes) -> bytes | None:
    """Return a chunk as one zstd frame; None where that is hardly shorter, as of images that are compressed already."""
    found = zstandard.ZstdCompressor(level=_PACKING).compress(chunk)
    return found if len(found) < PACKED_SHARE * len(chunk) else None


def unpacked(found: bytes, size_bytes: int) -> bytes | None:
    """Return the chunk of so many bytes that was packed; None where it is none, or of another length."""
    try:
        if zstandard.frame_content_size(found) != size_bytes:
            return None
        return zstandard.ZstdDecompressor().decompress(found, max_output_size=size_bytes, allow_extra_data=False)
    except zstandard.ZstdError:
        return None


def manifest_hash(hashes: bytes) -> bytes:
    """Return the hash that names the chunk hashes of a file."""
    return hashlib.sha256(hashes).digest()


def runs(indexes: Iterable[int]) -> list[transfer_pb2.ChunkRun]:
    """Return chunk numbers as runs, in order; numbers that come twice count once."""
    return [transfer_pb2.ChunkRun(first=first, count=last - first + 1) for first, last in numbers.runs(set(indexes))]


def indexes(found: Iterable[transfer_pb2.ChunkRun], count: int) -> Iterator[int]:
    """Yield the chunk numbers of runs in order, without those that a file of `count` chunks does not have."""
    for run in found:
        yield from range(run.first, min(run.first + run.count, count))


class ChunkSet:
    """A set of chunk numbers of one file, kept as a bitmap: chunk 0 is the lowest bit of the first byte."""

    def __init__(self, count: int, bits: bytes = b"") -> None:
        """Take in a stored bitmap; one that is too short is filled up with chunks that are not there."""
        self.count = count
        self._bits = bytearray(bits[: -(-count // 8)].ljust(-(-count // 8), b"\0"))

    def __contains__(self, index: int) -> bool:
        return 0 <= index < self.count and bool(self._bits[index // 8] >> index % 8 & 1)

    def __len__(self) -> int:
        return self._as_number().bit_count()

    def add(self, index: int) -> None:
        """Put a chunk into the set; one that the file does not have is passed over."""
        if 0 <= index < self.count:
            self._bits[index // 8] |= 1 << index % 8

    def discard(self, index: int) -> None:
        """Take a chunk out of the set."""
        if index in self:
            self._bits[index // 8] &= ~(1 << index % 8) & 0xFF

    def missing(self) -> Iterator[int]:
        """Yield the chunks of the file that are not in the set, in order."""
        return (index for index in range(self.count) if index not in self)

    @property
    def is_whole(self) -> bool:
        """Whether no chunk is missing."""
        return len(self) == self.count

    def pack(self) -> bytes:
        """Return the bitmap as it is stored."""
        return bytes(self._bits)

    def size_bytes(self, file_bytes: int) -> int:
        """Return how many bytes of a file of this size are in the set."""
        last = self.count - 1
        short_bytes = CHUNK_BYTES - chunk_bytes(last, file_bytes) if last in self else 0
        return len(self) * CHUNK_BYTES - short_bytes

    def _as_number(self) -> int:
        return int.from_bytes(self._bits, "little") & (1 << self.count) - 1
