"""Records and containers as an edge makes them, for tests of both sides."""

import pytest
from telemed import wire
from telemed.shed import stream_for
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2, sample_pb2, shed_pb2, uplink_pb2
from telemed.wire import Codec, Kind, Record, Stamp, pack, seal

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
HOME = NodeAddress("baoshan", "heming-home", "edge-home")
EPOCH = 0xFEDC_BA98_7654_3210
T0_NS = 1_795_000_000_000_000_000
"""A moment in November 2026."""
S_NS = 1_000_000_000


def _at_ns(seq: int) -> int:
    return T0_NS + seq % 1_000_000 * S_NS


def numeric_set(seq: int, value: str = "96", measure: str = "spo2", unit: str = "%") -> sample_pb2.NumericSet:
    """A set with one valid value, measured `seq` seconds after T0."""
    sample = sample_pb2.NumericSet(measured_at_unix_ns=_at_ns(seq), origin=sample_pb2.ORIGIN_LIVE)
    sample.values.add(measure=measure, value=value, unit=unit, quality=sample_pb2.QUALITY_VALID)
    return sample


def wave_set(seq: int, rate_hz: int = 250, seconds: float = 1.0) -> sample_pb2.WaveformSet:
    """One second of one wave."""
    wave = sample_pb2.WaveformSet(measured_at_unix_ns=_at_ns(seq), origin=sample_pb2.ORIGIN_LIVE)
    wave.channels.add(measure="ecg_II", rate_mhz=rate_hz * 1000, gain=200, deltas=[1] * int(rate_hz * seconds))
    return wave


def sealed(
    kind: Kind, body: bytes, seq: int, stream: str = "mon-b01/numeric", *, epoch: int = EPOCH, packed: bool = True
) -> Record:
    """A record of any payload, with its checksum."""
    codec, payload = pack(body) if packed else (Codec.PLAIN, body)
    stamp = Stamp(_at_ns(seq), _at_ns(seq) - T0_NS, 7, 0, 5)
    return seal(stream=stream, kind=kind, epoch=epoch, seq=seq, stamp=stamp, codec=codec, payload=payload)


def numeric(seq: int, value: str = "96", stream: str = "mon-b01/numeric", measure: str = "spo2") -> Record:
    """A numeric record."""
    return sealed(Kind.NUMERIC_SET, numeric_set(seq, value, measure).SerializeToString(), seq, stream)


def wave(seq: int, stream: str = "mon-b01/wave") -> Record:
    """A wave record."""
    return sealed(Kind.WAVEFORM_SET, wave_set(seq).SerializeToString(), seq, stream)


def alarm(seq: int, alarm_id: str = "0190-alarm", alarm_seq: int | None = None) -> Record:
    """A record with one step of an alarm."""
    step = alarm_pb2.AlarmEvent(alarm_id=alarm_id, alarm_seq=alarm_seq or seq, phase=alarm_pb2.PHASE_START)
    return sealed(Kind.ALARM_EVENT, step.SerializeToString(), seq, "node/alarm")


def care(seq: int, event_id: str = "") -> Record:
    """A record with one proposed event."""
    event = event_pb2.Event(event_id=event_id or f"event-{seq}", aggregate_type="bed", aggregate_id="B01")
    event.bed_vacated.at_unix_ns = T0_NS
    return sealed(Kind.EVENT, event.SerializeToString(), seq, "node/care")


def declared(seq: int, stream: str, *runs: tuple[int, int], reason: str = "disk", epoch: int = EPOCH) -> Record:
    """A record that gives numbers of a stream up."""
    body = shed_pb2.Shed(stream=stream, epoch=epoch, reason=reason, from_unix_ns=T0_NS, to_unix_ns=T0_NS + S_NS)
    body.ranges.extend(uplink_pb2.SeqRange(first=first, last=last) for first, last in runs)
    return sealed(Kind.SHED, body.SerializeToString(), seq, stream_for(stream))


def of_schema(record: Record, version: int) -> Record:
    """The record as software of another schema version would seal it."""
    stamp = record.stamp
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "SCHEMA", version)
        return seal(
            stream=record.stream,
            kind=Kind(record.kind),
            epoch=record.epoch,
            seq=record.seq,
            stamp=stamp,
            codec=Codec(record.codec),
            payload=record.payload,
        )
