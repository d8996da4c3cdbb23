"""What nodes send to the hub: containers, and payloads up to the screens and resources made of them."""

import math
from collections.abc import Iterable
from datetime import timedelta

from google.protobuf.message import DecodeError
from telemed.errors import PayloadUnreadable, WireError
from telemed.topics import STORED, Up
from telemed.v1 import alarm_pb2, event_pb2, sample_pb2
from telemed.wire import PAYLOAD_LIMIT_BYTES, Kind, Record, Stamp, checksum, decode, encode, is_sound

from cloud_hub.care import alarms
from cloud_hub.fhir import json_text
from cloud_hub.fhir.observation import Setting, Source, compose, drafts, locate
from cloud_hub.ingest.admit import Admission, admit
from cloud_hub.store.streams import Incoming
from cloud_hub.store.trends import Trends
from cloud_hub.web import views
from cloud_hub.web.live_beds import BedState, wave_channel
from edge_node.buffer import payload
from tests.fakes import containers
from tests.fakes.containers import CLINIC, T0_NS
from tests.fuzz.target import Target

SOURCE = Source(1, "baoshan-clinic", "edge-clinic", "mon-b01")
SETTING = Setting("person-1", "device-1", timedelta(hours=8))
STREAMS = {Up.ALARM: "node/alarm", Up.CARE: "node/care", Up.VITALS: "mon-b01/numeric", Up.WAVES: "mon-b01/wave"}


def container(data: bytes) -> None:
    """Pass where a container is read as it was made, or refused by a failure of the wire."""
    try:
        records = decode(data)
    except WireError:
        return
    assert all(map(is_sound, records))
    assert decode(encode(records)) == records


def admission(data: bytes) -> None:
    """Pass where every record whose identity is readable is counted, and usable ones can be shown and filed.

    The first four bytes are class, kind, schema and codec; what follows is the payload.
    """
    if len(data) < 4:
        return
    what = STORED[data[0] % len(STORED)]
    stamp = Stamp(T0_NS, 1, 7, 0, 5)
    record = Record(STREAMS[what], data[1] % 9, data[2] % 3, data[3] % 3, 1, 1, stamp, data[4:], 0)
    record = record._replace(crc=checksum(record))
    found: Admission = admit(CLINIC, what, encode([record]))
    assert len(found.records) == 1
    assert not found.unusable
    taken = found.records[0]
    if taken.message is not None:
        assert len(record.body()) <= PAYLOAD_LIMIT_BYTES
        _is_usable(taken)
    _is_read_by_its_own_node(record)


def _is_usable(taken: Incoming) -> None:
    message = taken.message
    if isinstance(message, sample_pb2.NumericSet):
        bed = BedState("baoshan-clinic", "B01", "1")
        for reading in bed.readings_of(bed.take("mon-b01", message, T0_NS)):
            reading.model_dump_json()
        bed.view(T0_NS).model_dump_json()
        for draft in drafts(SOURCE, message, T0_NS):
            assert json_text.dumps(compose(draft, SETTING))
            assert locate(draft.fhir_id)[0] == SOURCE.stream_id
    if isinstance(message, sample_pb2.NumericSet | sample_pb2.MinuteSet):
        trends = Trends()
        trends.stage([(1, message)])
        trends.kept()
        folds = [fold for some in trends._folded.values() for fold in some.values()]
        drawn = [text for fold in folds for text in (fold.low, fold.high, fold.last)]
        assert all(math.isfinite(float(text)) for text in drawn)
    if isinstance(message, sample_pb2.WaveformSet):
        for channel in message.channels:
            wave_channel(channel, taken.measured_ns).model_dump_json()
    if isinstance(message, alarm_pb2.AlarmEvent):
        alarm = alarms.fold(("baoshan", "baoshan-clinic", "edge-clinic"), [(message, T0_NS)])
        views.alarm_view(alarm, T0_NS).model_dump_json()


def _is_read_by_its_own_node(record: Record) -> None:
    try:
        if record.kind == Kind.NUMERIC_SET:
            payload.numeric_set(record)
        elif record.kind == Kind.WAVEFORM_SET:
            payload.waveform_set(record)
    except (PayloadUnreadable, DecodeError):
        return


def made() -> Iterable[bytes]:
    """Containers as a node makes them."""
    yield encode([containers.numeric(1), containers.numeric(2, "97"), containers.wave(1)])
    yield encode([containers.alarm(1), containers.care(1)])
    yield encode([])


def payloads() -> Iterable[bytes]:
    """One payload of each kind, behind its class, kind, schema and codec."""
    for sample in (containers.numeric_set(1), containers.numeric_set(2, "118", "nibp_sys", "mm[Hg]")):
        yield bytes((STORED.index(Up.VITALS), Kind.NUMERIC_SET, 1, 0)) + sample.SerializeToString()
    minute = sample_pb2.MinuteSet(minute_unix_ns=T0_NS)
    minute.values.add(measure="hr", low="60", high="80", median="70", n=60, last_unix_ns=T0_NS)
    yield bytes((STORED.index(Up.VITALS), Kind.MINUTE_SET, 1, 0)) + minute.SerializeToString()
    yield bytes((STORED.index(Up.WAVES), Kind.WAVEFORM_SET, 1, 0)) + containers.wave_set(1, 20).SerializeToString()
    yield bytes((STORED.index(Up.WAVES), Kind.WAVEFORM_SET, 1, 1)) + containers.wave(1).payload
    step = alarm_pb2.AlarmEvent(alarm_id="a", alarm_seq=1, phase=alarm_pb2.PHASE_START, condition="spo2-low", bed="B01")
    yield bytes((STORED.index(Up.ALARM), Kind.ALARM_EVENT, 1, 0)) + step.SerializeToString()
    event = event_pb2.Event(event_id="e", aggregate_type="bed", aggregate_id="B01")
    event.bed_vacated.at_unix_ns = T0_NS
    yield bytes((STORED.index(Up.CARE), Kind.EVENT, 1, 0)) + event.SerializeToString()
    shed = containers.declared(1, "mon-b01/numeric", (1, 5))
    yield bytes((STORED.index(Up.VITALS), Kind.SHED, 1, shed.codec)) + shed.payload


CONTAINER = Target("container", "A container is read as it was made, or refused by a WireError.", container, made)
PAYLOAD = Target(
    "payload",
    "A record is counted whatever its payload; what is admitted can be shown, filed and folded.",
    admission,
    payloads,
)
