"""What an arriving container is worth: pure (reliability 2.7, bad inputs 19-24).

Every record whose identity can be read is counted, whatever its payload; what cannot be used is refused with a
code and kept.  A container without a readable identity is kept by its hash and counted nowhere.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from telemed import audit_wire, history, shed
from telemed.errors import Code, PayloadUnreadable, WireError
from telemed.topics import NodeAddress, Up
from telemed.v1 import alarm_pb2, audit_pb2, event_pb2, sample_pb2, shed_pb2
from telemed.wire import HEAD_BYTES, PAYLOAD_LIMIT_BYTES, SCHEMA, Kind, Record, decode

from cloud_hub.store.dead_letters import DeadLetter
from cloud_hub.store.streams import Incoming

LONGEST_STRETCH_S = 60
_WITH_HISTORY = frozenset({Up.VITALS, Up.WAVES})
"""Of these alone many older records may come packed together (`history`)."""
_LARGEST = 2**63 - 1
_STREAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,39}/[a-z]{1,20}")
_ID_CHARS = 36
_MOST_CHANNELS = 32
_MOST_IN_A_MINUTE = 1_000_000


@dataclass(slots=True)
class Admission:
    """A container, taken apart."""

    records: list[Incoming]
    unusable: list[DeadLetter]
    """What has no identity that could be counted."""
    newer: int
    """Records of a newer schema: kept as they are; the hub must be upgraded to read them."""
    size_bytes: int
    """How much it takes up until it is stored: a history container is larger than it was on the way."""


def admit(address: NodeAddress, what: Up, container: bytes) -> Admission:
    """Return the records of a container that arrived from a node on one of the stored classes."""
    out = Admission([], [], 0, len(container))
    is_history = what in _WITH_HISTORY and container.startswith(history.MAGIC)
    try:
        read = history.decode(container) if is_history else [(record, None) for record in decode(container)]
    except WireError as error:
        out.unusable.append(DeadLetter(address, error.code, container))
        return out
    if is_history:
        out.size_bytes = max(out.size_bytes, sum(len(record.payload) + HEAD_BYTES for record, _ in read))
    kinds = _EXPECTED[what]
    for record, body in read:
        if not (1 <= record.seq <= _LARGEST and record.stamp.mono_ns <= _LARGEST and _is_stream(record.stream)):
            out.unusable = [DeadLetter(address, Code.CONTAINER_UNREADABLE, container)]
            continue
        out.records.append(_judged(address, kinds.get(record.kind), record, body))
        out.newer += record.schema > SCHEMA
    return out


@lru_cache(16384)
def _is_stream(name: str) -> bool:
    return _STREAM.fullmatch(name) is not None


def _judged(address: NodeAddress, expected: "_Expected | None", record: Record, unpacked: bytes | None) -> Incoming:
    taken_ns = record.stamp.wall_ns
    if record.schema > SCHEMA:
        return Incoming(address, record, taken_ns)
    if expected is None or record.schema != SCHEMA:
        return Incoming(address, record, taken_ns, Code.KIND_UNKNOWN)
    try:
        body = record.body() if unpacked is None else unpacked
        if len(body) > PAYLOAD_LIMIT_BYTES:
            return Incoming(address, record, taken_ns, Code.TOO_LARGE)
        message = expected.read(body)
    except (PayloadUnreadable, DecodeError):
        return Incoming(address, record, taken_ns, Code.PAYLOAD_UNREADABLE)
    refusal = expected.refusal(message) or _misplaced(record, message)
    if refusal:
        return Incoming(address, record, taken_ns, refusal)
    return Incoming(address, record, expected.measured_ns(record, message), "", message)


def _numerics_refusal(message: sample_pb2.NumericSet) -> str:
    return "" if message.values else Code.NO_VALUES


def _waves_refusal(message: sample_pb2.WaveformSet) -> str:
    if not message.channels:
        return Code.NO_VALUES
    spans = tuple([(len(channel.deltas), channel.rate_mhz) for channel in message.channels])
    # A monitor sends the same lengths every second; only what a real one may send is remembered.
    agree = _lengths_agree(spans) if len(spans) <= _MOST_CHANNELS else _lengths_agree.__wrapped__(spans)
    return "" if agree else Code.WAVE_LENGTH


def _alarm_refusal(message: alarm_pb2.AlarmEvent) -> str:
    known = 0 < len(message.alarm_id) <= _ID_CHARS and message.alarm_seq > 0
    return "" if known else Code.PAYLOAD_UNREADABLE


def _event_refusal(message: event_pb2.Event) -> str:
    known = 0 < len(message.event_id) <= _ID_CHARS and bool(message.aggregate_type)
    return "" if known else Code.PAYLOAD_UNREADABLE


def _audit_refusal(message: audit_pb2.Audit) -> str:
    return "" if audit_wire.is_fit(message) else Code.PAYLOAD_UNREADABLE


def _envelope_refusal(message: sample_pb2.WaveEnvelope) -> str:
    channels = [channel for part in message.sets for channel in part.channels]
    if not channels:
        return Code.NO_VALUES
    agree = all(len(one.deltas) == len(one.high_deltas) > 0 and one.envelope_of for one in channels)
    return "" if agree else Code.WAVE_LENGTH


def _minute_refusal(message: sample_pb2.MinuteSet) -> str:
    """Refuse counts that no device comes to; a measure of which nothing was valid counts none and says no value."""
    if not message.values:
        return Code.NO_VALUES
    is_sound = all(0 < one.n <= _MOST_IN_A_MINUTE or not (one.n or one.median) for one in message.values)
    return "" if is_sound else Code.PAYLOAD_UNREADABLE


def _shed_refusal(message: shed_pb2.Shed) -> str:
    """Refuse what would count numbers that it does not say."""
    if not 1 <= len(message.ranges) <= shed.RANGES_LIMIT or not _is_stream(message.stream):
        return Code.PAYLOAD_UNREADABLE
    before = 0
    for run in message.ranges:
        if not before < run.first <= run.last <= _LARGEST:
            return Code.PAYLOAD_UNREADABLE
        before = run.last
    is_known = max(message.from_unix_ns, message.to_unix_ns) <= _LARGEST
    return "" if is_known else Code.PAYLOAD_UNREADABLE


def _misplaced(record: Record, message: Message) -> str:
    """Refuse a declaration about a stream that it may not be about: alarms are never given up for room."""
    # Not `isinstance`, here and wherever each record comes by: of a message it takes many times as long to say no.
    if type(message) is not shed_pb2.Shed:
        return ""
    is_allowed = shed.may_declare(record.stream, message.stream, message.reason)
    return "" if is_allowed else Code.PAYLOAD_UNREADABLE


def _stamped_ns(record: Record, _message: Message) -> int:
    return record.stamp.wall_ns


def _at(record: Record, at_ns: int) -> int:
    return at_ns if 0 < at_ns <= _LARGEST else record.stamp.wall_ns


def _numerics_ns(record: Record, message: sample_pb2.NumericSet) -> int:
    """The edge's own stamp, as the hub's clock counts, where the device's cannot be believed."""
    if message.clock_suspect:
        return record.stamp.wall_ns + record.stamp.offset_ms * 1_000_000
    return _at(record, message.measured_at_unix_ns)


def _waves_ns(record: Record, message: sample_pb2.WaveformSet) -> int:
    return _at(record, message.measured_at_unix_ns)


def _envelope_ns(record: Record, message: sample_pb2.WaveEnvelope) -> int:
    return _at(record, message.sets[0].measured_at_unix_ns if message.sets else 0)


def _minute_ns(record: Record, message: sample_pb2.MinuteSet) -> int:
    return _at(record, message.minute_unix_ns)


@lru_cache(1024)
def _lengths_agree(spans: Sequence[tuple[int, int]]) -> bool:
    """Whether channels are of one stretch of time: number of samples = rate x duration, to one sample.

    Args:
        spans: number of samples and rate in millihertz of each channel.
    """
    longest_s, shortest_s, coarsest_s, finest_s = 0.0, inf, 0.0, inf
    for count, rate_mhz in spans:
        if not count or not rate_mhz:
            return False
        step_s = 1000 / rate_mhz
        span_s = count * step_s
        longest_s, shortest_s = max(longest_s, span_s), min(shortest_s, span_s)
        coarsest_s, finest_s = max(coarsest_s, step_s), min(finest_s, step_s)
    differ_at_most_s = coarsest_s * 1.001 + finest_s
    return longest_s <= LONGEST_STRETCH_S + coarsest_s and longest_s - shortest_s <= differ_at_most_s


class _Expected(NamedTuple):
    """How a kind that a stream class carries is read."""

    read: Callable[[bytes], Message]
    refusal: Callable[[Any], str]
    """Says why a decoded payload cannot be used, empty if it can."""
    measured_ns: Callable[[Record, Any], int] = _stamped_ns
    """When it was measured; the edge's own stamp where nothing says so, or what is said is no time."""


_SHED = _Expected(shed_pb2.Shed.FromString, _shed_refusal)
_EXPECTED: dict[Up, dict[int, _Expected]] = {
    Up.VITALS: {
        Kind.NUMERIC_SET: _Expected(sample_pb2.NumericSet.FromString, _numerics_refusal, _numerics_ns),
        Kind.MINUTE_SET: _Expected(sample_pb2.MinuteSet.FromString, _minute_refusal, _minute_ns),
        Kind.SHED: _SHED,
    },
    Up.WAVES: {
        Kind.WAVEFORM_SET: _Expected(sample_pb2.WaveformSet.FromString, _waves_refusal, _waves_ns),
        Kind.WAVE_ENVELOPE: _Expected(sample_pb2.WaveEnvelope.FromString, _envelope_refusal, _envelope_ns),
    },
    Up.ALARM: {Kind.ALARM_EVENT: _Expected(alarm_pb2.AlarmEvent.FromString, _alarm_refusal), Kind.SHED: _SHED},
    Up.CARE: {
        Kind.EVENT: _Expected(event_pb2.Event.FromString, _event_refusal),
        Kind.AUDIT: _Expected(audit_pb2.Audit.FromString, _audit_refusal),
        Kind.SHED: _SHED,
    },
}
