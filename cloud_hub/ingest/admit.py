"""What an arriving container is worth: pure (reliability 2.7, bad inputs 19-24).

Every record whose identity can be read is counted, whatever its payload; what cannot be used is refused with a
code and kept.  A container without a readable identity is kept by its hash and counted nowhere.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from google.protobuf.message import DecodeError, Message
from telemed.errors import Code, PayloadUnreadable, WireError
from telemed.topics import NodeAddress, Up
from telemed.v1 import alarm_pb2, event_pb2, sample_pb2
from telemed.wire import PAYLOAD_LIMIT_BYTES, SCHEMA, Kind, Record, decode

from cloud_hub.store.dead_letters import DeadLetter
from cloud_hub.store.streams import Incoming

MESSAGES: dict[int, type[Message]] = {
    Kind.NUMERIC_SET: sample_pb2.NumericSet,
    Kind.WAVEFORM_SET: sample_pb2.WaveformSet,
    Kind.ALARM_EVENT: alarm_pb2.AlarmEvent,
    Kind.EVENT: event_pb2.Event,
}
KINDS = {Up.ALARM: Kind.ALARM_EVENT, Up.CARE: Kind.EVENT, Up.VITALS: Kind.NUMERIC_SET, Up.WAVES: Kind.WAVEFORM_SET}
"""The one kind that each stream class carries."""
LONGEST_STRETCH_S = 60
_LARGEST = 2**63 - 1
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,39}/[a-z]{1,20}")
_ID_CHARS = 36


@dataclass(slots=True)
class Admission:
    """A container, taken apart."""

    records: list[Incoming] = field(default_factory=list)
    unusable: list[DeadLetter] = field(default_factory=list)
    """What has no identity that could be counted."""
    newer: int = 0
    """Records of a newer schema: kept as they are; the hub must be upgraded to read them."""


def admit(address: NodeAddress, what: Up, container: bytes) -> Admission:
    """Return the records of a container that arrived from a node on one of the stored classes."""
    out = Admission()
    try:
        records = decode(container)
    except WireError as error:
        out.unusable.append(DeadLetter(address, error.code, container))
        return out
    known = [record for record in records if _has_identity(record)]
    if len(known) < len(records):
        out.unusable.append(DeadLetter(address, Code.CONTAINER_UNREADABLE, container))
    for record in known:
        out.records.append(_judged(address, what, record))
        out.newer += record.schema > SCHEMA
    return out


def _has_identity(record: Record) -> bool:
    in_range = 1 <= record.seq <= _LARGEST and record.stamp.mono_ns <= _LARGEST
    return in_range and _is_stream(record.stream)


@lru_cache(16384)
def _is_stream(name: str) -> bool:
    return _STREAM.fullmatch(name) is not None


def _judged(address: NodeAddress, what: Up, record: Record) -> Incoming:
    taken_ns = record.stamp.wall_ns
    if record.schema > SCHEMA:
        return Incoming(address, record, taken_ns)
    if record.kind != KINDS.get(what) or record.schema != SCHEMA:
        return Incoming(address, record, taken_ns, Code.KIND_UNKNOWN)
    try:
        body = record.body()
        if len(body) > PAYLOAD_LIMIT_BYTES:
            return Incoming(address, record, taken_ns, Code.TOO_LARGE)
        message = MESSAGES[record.kind].FromString(body)
    except (PayloadUnreadable, DecodeError):
        return Incoming(address, record, taken_ns, Code.PAYLOAD_UNREADABLE)
    refusal = refusal_of(message)
    if refusal:
        return Incoming(address, record, taken_ns, refusal)
    return Incoming(address, record, measured_ns(record, message), "", message)


def refusal_of(message: Message) -> str:
    """Return why a decoded payload cannot be used, empty if it can."""
    if isinstance(message, sample_pb2.NumericSet):
        return "" if message.values else Code.NO_VALUES
    if isinstance(message, sample_pb2.WaveformSet):
        if not message.channels:
            return Code.NO_VALUES
        return "" if _lengths_agree(message.channels) else Code.WAVE_LENGTH
    if isinstance(message, alarm_pb2.AlarmEvent):
        known = 0 < len(message.alarm_id) <= _ID_CHARS and message.alarm_seq > 0
        return "" if known else Code.PAYLOAD_UNREADABLE
    if isinstance(message, event_pb2.Event):
        known = 0 < len(message.event_id) <= _ID_CHARS and bool(message.aggregate_type)
        return "" if known else Code.PAYLOAD_UNREADABLE
    return Code.KIND_UNKNOWN


def measured_ns(record: Record, message: Message) -> int:
    """Return the measurement time of a payload; the edge's own stamp where the device's cannot be believed."""
    stamp = record.stamp
    if isinstance(message, sample_pb2.NumericSet) and message.clock_suspect:
        return stamp.wall_ns + stamp.offset_ms * 1_000_000
    at_ns: int = getattr(message, "measured_at_unix_ns", 0)
    return at_ns if 0 < at_ns <= _LARGEST else stamp.wall_ns


def _lengths_agree(channels: Sequence[sample_pb2.Channel]) -> bool:
    """Whether all channels are of one stretch of time: number of samples = rate x duration, to one sample."""
    counts, rates = [len(channel.deltas) for channel in channels], [channel.rate_mhz for channel in channels]
    if not all(counts) or not all(rates):
        return False
    steps_s = [1000 / rate for rate in rates]
    spans_s = [count * step_s for count, step_s in zip(counts, steps_s, strict=True)]
    longest_s, coarsest_s = max(spans_s), max(steps_s)
    differ_at_most_s = coarsest_s * 1.001 + min(steps_s)
    return longest_s <= LONGEST_STRETCH_S + coarsest_s and longest_s - min(spans_s) <= differ_at_most_s
