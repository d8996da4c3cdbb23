"""What an arriving container is worth: bad inputs 19, 22, 24 and their neighbours."""

import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from telemed import history
from telemed.errors import Code
from telemed.history import PACKER
from telemed.topics import Up
from telemed.v1 import sample_pb2
from telemed.wire import Codec, Kind, Record, encode, seal

from cloud_hub.ingest.admit import Admission, _lengths_agree, admit
from tests.fakes.containers import CLINIC, T0_NS, alarm, care, numeric, numeric_set, of_schema, sealed, wave, wave_set


def admitted(what: Up, *records: Record) -> Admission:
    return admit(CLINIC, what, encode(records))


def refusal(what: Up, record: Record) -> str:
    admission = admitted(what, record)
    assert not admission.unusable
    assert [item.record for item in admission.records] == [record]
    return admission.records[0].refusal


def test_good_records_pass_with_their_measurement_time() -> None:
    for what, record in ((Up.VITALS, numeric(3)), (Up.WAVES, wave(3)), (Up.ALARM, alarm(3)), (Up.CARE, care(3))):
        item = admitted(what, record).records[0]
        assert (item.refusal, item.measured_ns) == ("", T0_NS + 3_000_000_000)
        assert item.message is not None


def test_random_bytes_as_payload_are_refused_and_counted() -> None:
    assert refusal(Up.VITALS, sealed(Kind.NUMERIC_SET, b"\xff\xfe garbage", 1)) == Code.PAYLOAD_UNREADABLE


def test_lengths_that_no_monitor_sends_are_judged_and_not_remembered() -> None:
    sample = wave_set(1)
    del sample.channels[1:]
    sample.channels.extend([sample.channels[0]] * 40)
    before = _lengths_agree.cache_info().currsize
    assert refusal(Up.WAVES, sealed(Kind.WAVEFORM_SET, sample.SerializeToString(), 1)) == ""
    sample.channels[40].rate_mhz *= 3
    assert refusal(Up.WAVES, sealed(Kind.WAVEFORM_SET, sample.SerializeToString(), 2)) == Code.WAVE_LENGTH
    assert _lengths_agree.cache_info().currsize == before


def test_a_set_without_values_is_refused() -> None:
    assert refusal(Up.VITALS, sealed(Kind.NUMERIC_SET, b"", 1)) == Code.NO_VALUES
    assert refusal(Up.WAVES, sealed(Kind.WAVEFORM_SET, b"", 1)) == Code.NO_VALUES


@pytest.mark.parametrize(
    ("n", "median", "code"),
    [
        (1, "70", ""),
        (1_000_000, "70", ""),
        (0, "", ""),
        (0, "70", Code.PAYLOAD_UNREADABLE),
        (1_000_001, "70", Code.PAYLOAD_UNREADABLE),
        (2**32 - 1, "", Code.PAYLOAD_UNREADABLE),
    ],
)
def test_a_minute_counts_what_a_device_can_measure_in_it(n: int, median: str, code: str) -> None:
    left = sample_pb2.MinuteSet(minute_unix_ns=T0_NS)
    left.values.add(measure="spo2", low="97", median="97", high="97", n=1)
    left.values.add(measure="hr", median=median, n=n, n_other=60)
    assert refusal(Up.VITALS, sealed(Kind.MINUTE_SET, left.SerializeToString(), 1, "mon-b01/minute")) == code


def test_schema_99_is_kept_unread_and_reported() -> None:
    admission = admitted(Up.VITALS, of_schema(sealed(Kind.NUMERIC_SET, b"from the future", 1), 99))
    assert (admission.newer, admission.records[0].refusal, admission.records[0].message) == (1, "", None)


def test_a_kind_that_the_topic_does_not_carry_is_refused() -> None:
    assert refusal(Up.VITALS, alarm(1)) == Code.KIND_UNKNOWN
    assert refusal(Up.VITALS, of_schema(numeric(1), 0)) == Code.KIND_UNKNOWN


def test_waves_whose_length_is_not_rate_times_duration_are_refused() -> None:
    sample = wave_set(1)
    sample.channels.add(measure="pleth", rate_mhz=125_000, gain=1, deltas=[1] * 125)
    assert refusal(Up.WAVES, sealed(Kind.WAVEFORM_SET, sample.SerializeToString(), 1)) == ""
    sample.channels[1].deltas.extend([1] * 40)
    assert refusal(Up.WAVES, sealed(Kind.WAVEFORM_SET, sample.SerializeToString(), 1)) == Code.WAVE_LENGTH
    for rate_mhz, count in ((0, 5), (250_000, 0), (1000, 100)):
        odd = sample_pb2.WaveformSet(measured_at_unix_ns=T0_NS)
        odd.channels.add(measure="ecg_II", rate_mhz=rate_mhz, deltas=[1] * count)
        assert refusal(Up.WAVES, sealed(Kind.WAVEFORM_SET, odd.SerializeToString(), 1)) == Code.WAVE_LENGTH


def test_a_rate_that_does_not_divide_a_second_passes_with_one_sample_more_or_less() -> None:
    for count in (62, 63):
        sample = wave_set(1)
        sample.channels.add(measure="resp", rate_mhz=62_500, gain=1, deltas=[1] * count)
        assert refusal(Up.WAVES, sealed(Kind.WAVEFORM_SET, sample.SerializeToString(), 1)) == ""


def bomb(declared: bool) -> bytes:
    packer = zstandard.ZstdCompressor(write_content_size=declared)
    return packer.compress(bytes(50_000_000))


@pytest.mark.parametrize("declared", [True, False])
def test_a_compression_bomb_is_refused_before_it_is_unpacked(declared: bool) -> None:
    stamp = numeric(1).stamp
    record = seal(
        stream="mon-b01/numeric", kind=Kind.NUMERIC_SET, epoch=1, seq=1, stamp=stamp, codec=Codec.ZSTD,
        payload=bomb(declared),
    )  # fmt: skip
    assert refusal(Up.VITALS, record) == Code.PAYLOAD_UNREADABLE


def test_a_plain_payload_over_the_limit_is_refused() -> None:
    assert refusal(Up.VITALS, sealed(Kind.NUMERIC_SET, bytes(70_000), 1, packed=False)) == Code.TOO_LARGE


def test_alarms_and_events_without_identity_are_refused() -> None:
    assert refusal(Up.ALARM, sealed(Kind.ALARM_EVENT, b"", 1, "node/alarm")) == Code.PAYLOAD_UNREADABLE
    assert refusal(Up.CARE, sealed(Kind.EVENT, b"", 1, "node/care")) == Code.PAYLOAD_UNREADABLE


def test_a_suspect_clock_is_filed_under_the_time_of_arrival() -> None:
    sample = numeric_set(1)
    sample.measured_at_unix_ns, sample.clock_suspect = 1, True
    item = admitted(Up.VITALS, sealed(Kind.NUMERIC_SET, sample.SerializeToString(), 5)).records[0]
    assert item.measured_ns == item.record.stamp.wall_ns


@pytest.mark.parametrize(
    "record",
    [
        numeric(0),
        numeric(2**63),
        numeric(1, stream="no-kind"),
        numeric(1, stream="../etc/passwd"),
        numeric(1, stream="a" * 60 + "/numeric"),
    ],
)
def test_an_identity_that_cannot_be_stored_is_kept_by_its_hash_and_not_counted(record: Record) -> None:
    admission = admitted(Up.VITALS, record, numeric(7))
    assert [item.record.seq for item in admission.records] == [7]
    assert [(letter.reason, letter.stream, letter.seq) for letter in admission.unusable] == [
        (Code.CONTAINER_UNREADABLE, "", 0)
    ]


def test_a_changed_head_or_payload_is_noticed() -> None:
    good = encode([numeric(1)])
    for at in (5, len(good) - 1, len(good) // 2):
        damaged = good[:at] + struct.pack("B", good[at] ^ 0x10) + good[at + 1 :]
        admission = admit(CLINIC, Up.VITALS, damaged)
        assert (admission.records, len(admission.unusable)) == ([], 1)


def test_a_container_over_the_limit_is_refused_unread() -> None:
    admission = admit(CLINIC, Up.VITALS, bytes(300_000))
    assert [letter.reason for letter in admission.unusable] == [Code.TOO_LARGE]


@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise(payload: bytes) -> None:
    assert admit(CLINIC, Up.VITALS, payload).records == []
    record = sealed(Kind.NUMERIC_SET, payload, 1)
    assert len(admitted(Up.VITALS, record).records) == 1


def test_records_of_a_history_container_are_judged_as_if_each_had_come_by_itself() -> None:
    records = [numeric(seq) for seq in range(1, 30)] + [sealed(Kind.NUMERIC_SET, b"\xff\xfe garbage", 30)]
    admission = admit(CLINIC, Up.VITALS, history.encode(records, PACKER).container)
    assert admission.records == admitted(Up.VITALS, *records).records
    assert admission.records[-1].refusal == Code.PAYLOAD_UNREADABLE


def test_a_history_container_counts_as_what_it_takes_up_here() -> None:
    records = [numeric(seq) for seq in range(1, 201)]
    container = history.encode(records, PACKER).container
    assert admit(CLINIC, Up.VITALS, container).size_bytes > 3 * len(container)
    assert admitted(Up.VITALS, *records).size_bytes == len(encode(records))


def test_a_bomb_is_kept_as_a_dead_letter_and_never_unpacked() -> None:
    bomb = history.MAGIC + zstandard.ZstdCompressor(level=19).compress(bytes(1 << 28))
    admission = admit(CLINIC, Up.WAVES, bomb)
    assert not admission.records
    assert [(letter.reason, letter.raw) for letter in admission.unusable] == [(Code.TOO_LARGE, bomb)]


def test_alarms_and_care_have_no_history_containers() -> None:
    for what, record in ((Up.ALARM, alarm(1)), (Up.CARE, care(1))):
        admission = admit(CLINIC, what, history.encode([record], PACKER).container)
        assert [letter.reason for letter in admission.unusable] == [Code.CONTAINER_UNREADABLE]
