"""The container that carries records over MQTT: a fixed binary head, then payloads (decision 1).

Layout, little endian::

    container   magic "YZC1" | stream count u8 | record count u16 | streams | heads | payloads
    stream      length u8 | UTF-8 name "<device>/<kind of stream>"
    head        stream index u8 | kind u8 | schema u8 | codec u8 | payload length u32 | epoch u64 | seq u64
                | wall_ns i64 | mono_ns u64 | boot u32 | offset_ms i32 | offset_error_ms u32 | crc32c u32

The head stands outside the protobuf so that a record whose payload is garbage still counts for the
watermark.  `crc32c` covers the head before it and the payload; it is computed once, when the record is
stored, and never changes when the record is sent again.
"""

import struct
import threading
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Literal, NamedTuple

import google_crc32c
import zstandard

from telemed.errors import ContainerTooLarge, ContainerUnreadable, PayloadUnreadable

MAGIC = b"YZC1"
WIRE_VERSION = 1
SCHEMA = 1
"""Version of the payload messages that this code writes."""
CONTAINER_LIMIT_BYTES = 256 * 1024
"""Largest container; also the largest MQTT packet a broker of ours accepts."""
PAYLOAD_LIMIT_BYTES = 64 * 1024
"""Largest payload after decompression (reliability 4.4 row 24)."""
STREAM_NAME_LIMIT_BYTES = 120

_PREFIX = struct.Struct("<4sBH")
_HEAD = struct.Struct("<BBBBIQQqQIiI")
PREFIX_BYTES = _PREFIX.size
_CRC = struct.Struct("<I")
_SEALED = struct.Struct(_HEAD.format + "I")
HEAD_BYTES = _SEALED.size
_INDEX_CRC = google_crc32c.value(b"\0")
_local = threading.local()
# Makes a named tuple in half the time that calling its class takes, which goes by a function written in Python.
_tuple = tuple.__new__


class Kind(IntEnum):
    """What a payload is; decides the protobuf message."""

    NUMERIC_SET = 1
    WAVEFORM_SET = 2
    ALARM_EVENT = 3
    EVENT = 4
    WAVE_ENVELOPE = 5
    MINUTE_SET = 6
    SHED = 7
    AUDIT = 8


class Codec(IntEnum):
    """How a payload is packed."""

    PLAIN = 0
    ZSTD = 1


# Asked for with each record: to name the member of an enumeration takes many times as long.
_PLAIN, _ZSTD = int(Codec.PLAIN), int(Codec.ZSTD)
OFFSET_UNKNOWN_MS = 0xFFFFFFFF
SYNCED_MS, HOLDOVER_MS = 50, 1000


class Stamp(NamedTuple):
    """When the edge took a record in, on clocks that can be compared later (reliability 2.6)."""

    wall_ns: int
    """Nanoseconds since the Unix epoch on the node's clock."""
    mono_ns: int
    """CLOCK_BOOTTIME of the node, in nanoseconds."""
    boot: int
    """32 bits that name this boot of the node."""
    offset_ms: int = 0
    """Hub clock minus node clock as the edge knew it, in milliseconds."""
    offset_error_ms: int = OFFSET_UNKNOWN_MS
    """One-sided bound of that offset in milliseconds; all ones = unknown."""

    @property
    def quality(self) -> Literal["synced", "holdover", "unsynced"]:
        """How well the time is known: wall clock plus offset, within 50 ms, within a second, or not."""
        if self.offset_error_ms < SYNCED_MS:
            return "synced"
        return "holdover" if self.offset_error_ms < HOLDOVER_MS else "unsynced"

    def not_after_ns(self, received_ns: int) -> int:
        """Return when it came in by the hub's clock, as far as that is known: not after it was received there."""
        if self.offset_error_ms >= HOLDOVER_MS:
            return received_ns
        return min(received_ns, self.wall_ns + self.offset_ms * 1_000_000)


class Record(NamedTuple):
    """One record as it is stored on the edge, travels, and is stored at the hub."""

    # A tuple, as Stamp is: thousands are made a second, and a frozen dataclass takes five times as long to make.

    stream: str
    kind: int
    schema: int
    codec: int
    epoch: int
    seq: int
    stamp: Stamp
    payload: bytes
    """Packed as `codec` says; kept as received."""
    crc: int

    def body(self) -> bytes:
        """Return the payload unpacked.

        Raises:
            PayloadUnreadable: codec unknown, damaged, or larger than PAYLOAD_LIMIT_BYTES unpacked.
        """
        if self.codec == _PLAIN:
            return self.payload
        if self.codec != _ZSTD:
            raise PayloadUnreadable(f"codec {self.codec} is unknown")
        try:
            size = zstandard.frame_content_size(self.payload)
            if not 0 <= size <= PAYLOAD_LIMIT_BYTES:
                raise PayloadUnreadable(f"unpacked size {size} is over the limit or not declared")
            return _decompressor().decompress(self.payload, max_output_size=size)
        except zstandard.ZstdError as error:
            raise PayloadUnreadable(str(error)) from error


def _decompressor() -> zstandard.ZstdDecompressor:
    """One for each thread: making one costs more than unpacking a record, and it is not safe to share."""
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = _local.decompressor = zstandard.ZstdDecompressor()
    return found


def _compressor() -> zstandard.ZstdCompressor:
    found: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if found is None:
        found = _local.compressor = zstandard.ZstdCompressor(level=3)
    return found


def pack(body: bytes) -> tuple[Codec, bytes]:
    """Return the codec and bytes to store for a payload: zstd where that is smaller, else as it is."""
    packed = _compressor().compress(body)
    return (Codec.ZSTD, packed) if len(packed) < len(body) else (Codec.PLAIN, body)


def seal(*, stream: str, kind: Kind, epoch: int, seq: int, stamp: Stamp, codec: Codec, payload: bytes) -> Record:
    """Return a record with its checksum; called once, in the transaction that gives out `seq`."""
    record = Record(stream, kind, SCHEMA, codec, epoch, seq, stamp, payload, 0)
    return record._replace(crc=_crc(_head(0, record)[1:], payload))


def checksum(record: Record) -> int:
    """Return the checksum of a record made anew from its fields; a sound record has the same in `crc`."""
    return _crc(_head(0, record)[1:], record.payload)


def is_sound(record: Record) -> bool:
    """Return whether head and payload are those that were sealed."""
    try:
        return record.crc == checksum(record)
    except (struct.error, TypeError):  # a damaged field that no head can hold, or no payload
        return False


def encode(records: Sequence[Record]) -> bytes:
    """Return one container with these records, in their order.

    Raises:
        ContainerTooLarge: more than CONTAINER_LIMIT_BYTES, 255 streams or 65535 records; send fewer.
    """
    names = list(dict.fromkeys(record.stream for record in records))
    if len(names) > 255 or len(records) > 0xFFFF:
        raise ContainerTooLarge(f"{len(names)} streams, {len(records)} records")
    index = {name: number for number, name in enumerate(names)}
    parts = [_PREFIX.pack(MAGIC, len(names), len(records))]
    for name in names:
        raw = name.encode()
        parts.append(bytes([len(raw)]) + raw)
    for record in records:
        head = _head(index[record.stream], record)
        parts.append(head + _CRC.pack(record.crc))
    parts.extend(record.payload for record in records)
    container = b"".join(parts)
    if len(container) > CONTAINER_LIMIT_BYTES:
        raise ContainerTooLarge(f"{len(container)} bytes")
    return container


def split(records: Iterable[Record], limit_bytes: int = CONTAINER_LIMIT_BYTES) -> list[list[Record]]:
    """Return the records in runs that each fit one container of `limit_bytes`.

    Raises:
        ContainerTooLarge: a single record does not fit.
    """
    runs: list[list[Record]] = []
    room = 0
    for record in records:
        need = need_bytes(record)
        if need + _PREFIX.size > limit_bytes:
            raise ContainerTooLarge(f"record {record.stream} {record.seq}: {len(record.payload)} bytes")
        if not runs or need > room or len(runs[-1]) >= 200:
            runs.append([])
            room = limit_bytes - _PREFIX.size
        runs[-1].append(record)
        room -= need
    return runs


def need_bytes(record: Record) -> int:
    """Return how much of a container a record takes at most."""
    return HEAD_BYTES + len(record.payload) + 1 + STREAM_NAME_LIMIT_BYTES


def decode(container: bytes) -> list[Record]:
    """Return the records of a container; payloads are not looked into.

    Raises:
        ContainerTooLarge: over CONTAINER_LIMIT_BYTES.
        ContainerUnreadable: damaged head, bytes missing or left over, or a checksum that does not fit.
    """
    return _read(container, is_checked=True)


def decode_unchecked(container: bytes) -> list[Record]:
    """Return the records of a container whose checksums the caller makes anew.

    Raises:
        ContainerTooLarge, ContainerUnreadable: as `decode` does, but for the checksums.
    """
    return _read(container, is_checked=False)


def _read(container: bytes, *, is_checked: bool) -> list[Record]:
    if len(container) > CONTAINER_LIMIT_BYTES:
        raise ContainerTooLarge(f"{len(container)} bytes")
    try:
        return _decode(container, is_checked)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ContainerUnreadable(f"container of {len(container)} bytes: {error}") from error


def _decode(container: bytes, is_checked: bool) -> list[Record]:
    magic, stream_count, record_count = _PREFIX.unpack_from(container)
    if magic != MAGIC:
        raise ContainerUnreadable(f"starts with {magic!r}, not {MAGIC!r}")
    at = _PREFIX.size
    names = []
    for _ in range(stream_count):
        end = at + 1 + container[at]
        names.append(container[at + 1 : end].decode())
        at = end
    payload_at = at + record_count * HEAD_BYTES
    records = []
    for _ in range(record_count):
        (
            index, kind, schema, codec, length, epoch, seq, wall_ns, mono_ns, boot, offset_ms, error_ms, crc,
        ) = _SEALED.unpack_from(container, at)  # fmt: skip
        payload = container[payload_at : payload_at + length]
        # The head is not made anew from the fields: the bytes are at hand.
        if is_checked and crc != _crc(container[at + 1 : at + _HEAD.size], payload):
            raise ContainerUnreadable(f"record {names[index]} {seq}: checksum wrong")
        stamp = _tuple(Stamp, (wall_ns, mono_ns, boot, offset_ms, error_ms))
        fields = (names[index], kind, schema, codec, epoch, seq, stamp, payload, crc)
        records.append(_tuple(Record, fields))
        at += HEAD_BYTES
        payload_at += length
    if payload_at != len(container):
        raise ContainerUnreadable(f"{len(container)} bytes where {payload_at} are announced")
    return records


def _head(index: int, record: Record) -> bytes:
    stamp = record.stamp
    return _HEAD.pack(
        index,
        record.kind,
        record.schema,
        record.codec,
        len(record.payload),
        record.epoch,
        record.seq,
        stamp.wall_ns,
        stamp.mono_ns,
        stamp.boot,
        stamp.offset_ms,
        stamp.offset_error_ms,
    )


def _crc(head: bytes, payload: bytes) -> int:
    """Checksum of a head without its stream index, which counts as 0 (it is the container's own), and payload."""
    return int(google_crc32c.extend(google_crc32c.extend(_INDEX_CRC, head), payload))
