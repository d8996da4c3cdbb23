"""Measurements to payload bytes and back, exactly (pure).

A digit series is stored as its first differences, which pack two to three times smaller; both directions
count modulo 2**32, so that every int32 series comes back as it was.
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from telemed.errors import PayloadUnreadable
from telemed.v1 import sample_pb2
from telemed.wire import Record

from edge_node.samples.measurement import Assignment, Channel, NumericSet, Origin, Quality, Value, WaveformSet

K = TypeVar("K")
W = TypeVar("W")

ORIGINS = {
    Origin.LIVE: sample_pb2.ORIGIN_LIVE,
    Origin.TEST: sample_pb2.ORIGIN_TEST,
    Origin.REPLAY: sample_pb2.ORIGIN_REPLAY,
    Origin.MANUAL: sample_pb2.ORIGIN_MANUAL,
}
QUALITIES = {
    Quality.VALID: sample_pb2.QUALITY_VALID,
    Quality.QUESTIONABLE: sample_pb2.QUALITY_QUESTIONABLE,
    Quality.IMPLAUSIBLE: sample_pb2.QUALITY_IMPLAUSIBLE,
    Quality.MISSING: sample_pb2.QUALITY_MISSING,
    Quality.RETRACTED: sample_pb2.QUALITY_RETRACTED,
}
ASSIGNMENTS = {
    Assignment.BED: sample_pb2.ASSIGNMENT_BED,
    Assignment.UNASSIGNED: sample_pb2.ASSIGNMENT_UNASSIGNED,
}
_ORIGIN_OF = {wire: origin for origin, wire in ORIGINS.items()}
_QUALITY_OF = {wire: quality for quality, wire in QUALITIES.items()}
_ASSIGNMENT_OF = {wire: assignment for assignment, wire in ASSIGNMENTS.items()}


def numeric_body(sample: NumericSet) -> bytes:
    """Return the payload of a numeric set; device and arrival time travel in the record's head."""
    message = sample_pb2.NumericSet(
        measured_at_unix_ns=max(0, sample.measured_at_ns),
        time_error_ms=sample.time_error_ms,
        values=[_value_message(value) for value in sample.values],
        origin=ORIGINS[sample.origin],
        assignment=ASSIGNMENTS[sample.assignment],
        late=sample.late,
        clock_suspect=sample.clock_suspect,
        source_ref=sample.source_ref,
        claimed_patient_id=sample.claimed_patient_id,
    )
    return message.SerializeToString()


def numeric_set(record: Record) -> NumericSet:
    """Return the numeric set that a record of this node carries.

    Raises:
        PayloadUnreadable, google.protobuf.message.DecodeError: the payload is damaged.
    """
    message = sample_pb2.NumericSet.FromString(record.body())
    return NumericSet(
        device=device_of(record.stream),
        measured_at_ns=message.measured_at_unix_ns,
        arrived_at_ns=record.stamp.wall_ns,
        values=tuple(_value(value) for value in message.values),
        origin=_known(_ORIGIN_OF, message.origin),
        assignment=_known(_ASSIGNMENT_OF, message.assignment),
        time_error_ms=message.time_error_ms,
        late=message.late,
        clock_suspect=message.clock_suspect,
        source_ref=message.source_ref,
        claimed_patient_id=message.claimed_patient_id,
    )


def wave_body(sample: WaveformSet) -> bytes:
    """Return the payload of a waveform set; device and arrival time travel in the record's head."""
    message = sample_pb2.WaveformSet(
        measured_at_unix_ns=max(0, sample.measured_at_ns),
        time_error_ms=sample.time_error_ms,
        channels=[_channel_message(channel) for channel in sample.channels],
        origin=ORIGINS[sample.origin],
        assignment=ASSIGNMENTS[sample.assignment],
        source_ref=sample.source_ref,
        late=sample.late,
    )
    return message.SerializeToString()


def waveform_set(record: Record) -> WaveformSet:
    """Return the waveform set that a record of this node carries.

    Raises:
        PayloadUnreadable, google.protobuf.message.DecodeError: the payload is damaged.
    """
    message = sample_pb2.WaveformSet.FromString(record.body())
    return WaveformSet(
        device=device_of(record.stream),
        measured_at_ns=message.measured_at_unix_ns,
        arrived_at_ns=record.stamp.wall_ns,
        channels=tuple(_channel(channel) for channel in message.channels),
        origin=_known(_ORIGIN_OF, message.origin),
        assignment=_known(_ASSIGNMENT_OF, message.assignment),
        time_error_ms=message.time_error_ms,
        late=message.late,
        source_ref=message.source_ref,
    )


def device_of(stream: str) -> str:
    """Return the device part of a stream name "<device>/<kind>"."""
    return stream.rpartition("/")[0]


def _known(table: Mapping[W, K], number: W) -> K:
    """Look a number of the wire up.

    Raises:
        PayloadUnreadable: it stands for nothing here; newer software wrote it, or the payload is damaged.
    """
    found = table.get(number)
    if found is None:
        raise PayloadUnreadable(f"{number} stands for nothing here")
    return found


def _value_message(value: Value) -> sample_pb2.NumericValue:
    quality = value.signal_quality
    return sample_pb2.NumericValue(
        measure=value.measure,
        value=value.value,
        unit=value.unit,
        quality=QUALITIES[value.quality],
        raw_value=value.raw_value,
        raw_unit=value.raw_unit,
        mdc=value.mdc,
        measured_at_unix_ns=max(0, value.measured_at_ns),
        # 0 means "not given", so a signal of no quality at all is sent as the smallest step above.
        signal_quality_permille=0 if quality is None else max(1, round(quality * 1000)),
        status=value.status,
    )


def _value(message: sample_pb2.NumericValue) -> Value:
    permille = message.signal_quality_permille
    return Value(
        measure=message.measure,
        value=message.value,
        unit=message.unit,
        quality=_known(_QUALITY_OF, message.quality),
        raw_value=message.raw_value,
        raw_unit=message.raw_unit,
        mdc=message.mdc,
        measured_at_ns=message.measured_at_unix_ns,
        signal_quality=permille / 1000 if permille else None,
        status=message.status,
    )


def _channel_message(channel: Channel) -> sample_pb2.Channel:
    digits = channel.digits.astype(np.int32, copy=False)
    deltas = digits.copy()
    deltas[1:] -= digits[:-1]
    return sample_pb2.Channel(
        measure=channel.measure,
        rate_mhz=round(channel.rate_hz * 1000),
        gain=channel.gain,
        baseline=channel.baseline,
        unit=channel.unit,
        deltas=deltas.tolist(),
        invalid_digits=channel.invalid_digits,
        label=channel.label,
    )


def _channel(message: sample_pb2.Channel) -> Channel:
    return Channel(
        measure=message.measure,
        rate_hz=message.rate_mhz / 1000,
        digits=np.cumsum(np.array(message.deltas, np.int32), dtype=np.int32),
        gain=message.gain,
        baseline=message.baseline,
        unit=message.unit,
        label=message.label,
        invalid_digits=tuple(message.invalid_digits),
    )
