"""What is left of measurements for which there is no room: envelopes of waves, minutes of numerics (pure)."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError
from telemed.errors import PayloadUnreadable
from telemed.v1 import sample_pb2
from telemed.wire import Kind, Record, Stamp

from edge_node.buffer.payload import device_of

ENVELOPE_OF = 10
"""Samples behind each pair of an envelope."""
BODY_BYTES = 48 * 1024
"""A body is ended above this; a second of any wave adds far less than what is left to the wire's limit."""
MINUTE_NS = 60 * 10**9
Digits = npt.NDArray[np.int32]
T = TypeVar("T")


class Reduced(NamedTuple):
    """A record that takes the place of others."""

    stream: str
    kind: Kind
    stamp: Stamp
    """That of the first of them."""
    body: bytes


def envelopes(records: Sequence[Record]) -> list[Reduced]:
    """Return the envelopes of wave records of one stream; what cannot be read leaves nothing."""
    made: list[tuple[Stamp, sample_pb2.WaveEnvelope]] = []
    for record in records:
        part = _read(record, sample_pb2.WaveformSet.FromString)
        if part is None:
            continue
        if not made or made[-1][1].ByteSize() > BODY_BYTES:
            made.append((record.stamp, sample_pb2.WaveEnvelope()))
        kept = made[-1][1].sets.add()
        kept.CopyFrom(part)
        for channel in kept.channels:
            _thin(channel)
    if not made:
        return []
    stream = f"{device_of(records[0].stream)}/envelope"
    return [Reduced(stream, Kind.WAVE_ENVELOPE, stamp, body.SerializeToString()) for stamp, body in made]


def envelope(digits: Digits, invalid: Sequence[int]) -> tuple[Digits, Digits]:
    """Return the lowest and the highest of every ENVELOPE_OF digits; invalid ones count where there is no other."""
    count = -(-len(digits) // ENVELOPE_OF)
    padded = np.empty(count * ENVELOPE_OF, np.int64)
    padded[: len(digits)] = digits
    padded[len(digits) :] = digits[-1]
    windows = padded.reshape(count, ENVELOPE_OF)
    bad = np.isin(windows, invalid) if invalid else np.zeros(windows.shape, bool)
    low = np.where(bad, np.iinfo(np.int64).max, windows).min(axis=1)
    high = np.where(bad, np.iinfo(np.int64).min, windows).max(axis=1)
    nothing = bad.all(axis=1)
    low[nothing] = high[nothing] = windows[nothing, 0]
    return low.astype(np.int32), high.astype(np.int32)


def minutes(records: Sequence[Record]) -> tuple[list[Reduced], list[int]]:
    """Return the minutes of numeric records of one stream, and the numbers that are in them.

    What a person typed in stays as it is.
    """
    groups: dict[_MinuteKey, _Minute] = {}
    taken = []
    for record in records:
        sample = _read(record, sample_pb2.NumericSet.FromString)
        if sample is not None and sample.origin == sample_pb2.ORIGIN_MANUAL:
            continue
        taken.append(record.seq)
        if sample is not None:
            _sort(groups, record, sample)
    stream = f"{device_of(records[0].stream)}/minute" if records else ""
    made = [Reduced(stream, Kind.MINUTE_SET, minute.stamp, minute.body(key)) for key, minute in groups.items()]
    return made, taken


class _MinuteKey(NamedTuple):
    minute: int
    origin: sample_pb2.Origin.ValueType
    assignment: sample_pb2.Assignment.ValueType
    claimed: str


@dataclass(slots=True)
class _Values:
    texts: dict[int, str] = field(default_factory=dict)
    """Valid values by the time of measurement: one that is sent again and again counts once."""
    n_other: int = 0


@dataclass(slots=True)
class _Minute:
    stamp: Stamp
    values: defaultdict[tuple[str, str], _Values] = field(default_factory=lambda: defaultdict(_Values))

    def take(self, value: sample_pb2.NumericValue, at_ns: int) -> None:
        found = self.values[value.measure, value.unit]
        if value.quality == sample_pb2.QUALITY_VALID:
            found.texts[at_ns] = value.value
        else:
            found.n_other += 1

    def body(self, key: _MinuteKey) -> bytes:
        message = sample_pb2.MinuteSet(
            minute_unix_ns=key.minute * MINUTE_NS,
            origin=key.origin,
            assignment=key.assignment,
            claimed_patient_id=key.claimed,
        )
        for (measure, unit), found in self.values.items():
            low, median, high = _spread(found.texts)
            message.values.add(
                measure=measure,
                unit=unit,
                low=low,
                median=median,
                high=high,
                n=len(found.texts),
                n_other=found.n_other,
                last_unix_ns=max(found.texts, default=0),
            )
        return message.SerializeToString()


def _sort(groups: dict[_MinuteKey, _Minute], record: Record, sample: sample_pb2.NumericSet) -> None:
    for value in sample.values:
        at_ns = _at_ns(record, sample, value)
        key = _MinuteKey(at_ns // MINUTE_NS, sample.origin, sample.assignment, sample.claimed_patient_id)
        groups.setdefault(key, _Minute(record.stamp)).take(value, at_ns)


def _spread(texts: dict[int, str]) -> tuple[str, str, str]:
    """Return lowest, median and highest; of codes the last one alone."""
    if not texts:
        return "", "", ""
    try:
        ordered = sorted(texts.values(), key=Decimal)
    except InvalidOperation:
        return "", texts[max(texts)], ""
    return ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1]


def _at_ns(record: Record, sample: sample_pb2.NumericSet, value: sample_pb2.NumericValue) -> int:
    own_ns = value.measured_at_unix_ns or sample.measured_at_unix_ns
    return record.stamp.wall_ns if sample.clock_suspect or not own_ns else own_ns


def _thin(channel: sample_pb2.Channel) -> None:
    digits = np.cumsum(np.array(channel.deltas, np.int32), dtype=np.int32)
    if not len(digits):
        return
    low, high = envelope(digits, list(channel.invalid_digits))
    channel.envelope_of = ENVELOPE_OF
    channel.deltas[:] = _deltas(low)
    channel.high_deltas[:] = _deltas(high)


def _deltas(digits: Digits) -> list[int]:
    deltas = digits.copy()
    deltas[1:] -= digits[:-1]
    found: list[int] = deltas.tolist()
    return found


def _read(record: Record, read: Callable[[bytes], T]) -> T | None:
    try:
        return read(record.body())
    except (PayloadUnreadable, DecodeError):
        return None
