"""What is left of measurements for which there is no room."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from telemed.v1 import sample_pb2
from telemed.wire import Codec, Kind, Record, Stamp, pack, seal

from edge_node.buffer import thinning
from edge_node.buffer.thinning import ENVELOPE_OF, MINUTE_NS

T0_NS = 1_790_000_040 * 10**9 // MINUTE_NS * MINUTE_NS
S_NS = 10**9
DIGITS = st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=60)


def record(kind: Kind, body: bytes, seq: int, stream: str) -> Record:
    codec, payload = pack(body)
    stamp = Stamp(T0_NS + seq * S_NS, seq, 7)
    return seal(stream=stream, kind=kind, epoch=1, seq=seq, stamp=stamp, codec=codec, payload=payload)


def wave(seq: int, deltas: Sequence[int]) -> Record:
    body = sample_pb2.WaveformSet(measured_at_unix_ns=T0_NS + seq * S_NS)
    body.channels.add(measure="ecg_II", rate_mhz=250_000, unit="mV", deltas=deltas)
    return record(Kind.WAVEFORM_SET, body.SerializeToString(), seq, "mon-b01/wave")


def numeric(seq: int, quality: sample_pb2.Quality.ValueType = sample_pb2.QUALITY_VALID, **values: str) -> Record:
    body = sample_pb2.NumericSet(measured_at_unix_ns=T0_NS + seq * S_NS, origin=sample_pb2.ORIGIN_LIVE)
    for measure, text in values.items():
        body.values.add(measure=measure, value=text, unit="1", quality=quality)
    return record(Kind.NUMERIC_SET, body.SerializeToString(), seq, "mon-b01/numeric")


def minute(reduced: thinning.Reduced) -> list[tuple[str, str, str, str, int, int]]:
    message = sample_pb2.MinuteSet.FromString(reduced.body)
    return [(row.measure, row.low, row.median, row.high, row.n, row.n_other) for row in message.values]


@given(DIGITS)
def test_the_envelope_holds_the_lowest_and_the_highest_of_every_ten(digits: list[int]) -> None:
    low, high = thinning.envelope(np.array(digits, np.int32), [])
    tens = [digits[at : at + ENVELOPE_OF] for at in range(0, len(digits), ENVELOPE_OF)]
    assert low.tolist() == [min(ten) for ten in tens]
    assert high.tolist() == [max(ten) for ten in tens]


def test_digits_that_mean_nothing_are_not_taken_for_the_lowest() -> None:
    low, high = thinning.envelope(np.array([5, -32768, 7] + [-32768] * 10, np.int32), [-32768])
    assert (low.tolist(), high.tolist()) == ([5, -32768], [7, -32768])


def test_waves_become_sets_of_pairs_that_still_say_what_and_when() -> None:
    (kept,) = thinning.envelopes([wave(1, [1] * 25), wave(2, [3] * 10)])
    body = sample_pb2.WaveEnvelope.FromString(kept.body)

    assert (kept.stream, kept.kind, kept.stamp.wall_ns) == ("mon-b01/envelope", Kind.WAVE_ENVELOPE, T0_NS + S_NS)
    assert [each.measured_at_unix_ns for each in body.sets] == [T0_NS + S_NS, T0_NS + 2 * S_NS]
    (channel,) = body.sets[0].channels
    assert (channel.measure, channel.rate_mhz, channel.unit, channel.envelope_of) == ("ecg_II", 250_000, "mV", 10)
    assert np.cumsum(channel.deltas).tolist() == [1, 11, 21]
    assert np.cumsum(channel.high_deltas).tolist() == [10, 20, 25]


def test_a_body_of_envelopes_stays_far_below_what_the_wire_takes() -> None:
    noise = np.random.default_rng(1).integers(-30_000, 30_000, 2500).tolist()
    made = thinning.envelopes([wave(seq, noise) for seq in range(1, 120)])
    assert len(made) > 1
    assert max(len(each.body) for each in made) < thinning.BODY_BYTES + 4096


def test_a_wave_that_cannot_be_read_leaves_nothing() -> None:
    broken = wave(1, [1] * 10)._replace(codec=Codec.PLAIN, payload=b"\xff\x00\xff")
    assert thinning.envelopes([broken]) == []


def test_a_minute_of_numbers_becomes_low_median_and_high_in_the_senders_own_digits() -> None:
    made, taken = thinning.minutes([numeric(seq, spo2=text) for seq, text in ((1, "98.06"), (2, "9"), (3, "97.0"))])
    assert taken == [1, 2, 3]
    assert [minute(each) for each in made] == [[("spo2", "9", "97.0", "98.06", 3, 0)]]
    assert (made[0].stream, made[0].kind) == ("mon-b01/minute", Kind.MINUTE_SET)


def test_minutes_are_those_of_the_measurement_and_stay_apart() -> None:
    made, _ = thinning.minutes([numeric(1, hr="70"), numeric(61, hr="90"), numeric(62, hr="80")])
    starts = [sample_pb2.MinuteSet.FromString(each.body).minute_unix_ns for each in made]
    assert starts == [T0_NS, T0_NS + MINUTE_NS]
    assert [minute(each)[0][1:4] for each in made] == [("70", "70", "70"), ("80", "80", "90")]


def test_doubtful_values_are_counted_and_never_among_the_valid() -> None:
    doubtful = numeric(2, sample_pb2.QUALITY_QUESTIONABLE, hr="300")
    made, _ = thinning.minutes([numeric(1, hr="70"), doubtful])
    assert minute(made[0]) == [("hr", "70", "70", "70", 1, 1)]


def test_of_codes_the_last_stays() -> None:
    made, _ = thinning.minutes([numeric(1, acvpu="A"), numeric(2, acvpu="V")])
    assert minute(made[0]) == [("acvpu", "", "V", "", 2, 0)]


def test_what_a_person_typed_in_is_left_as_it_is() -> None:
    body = sample_pb2.NumericSet(measured_at_unix_ns=T0_NS, origin=sample_pb2.ORIGIN_MANUAL)
    body.values.add(measure="temp", value="36.6")
    typed = record(Kind.NUMERIC_SET, body.SerializeToString(), 1, "manual-b01/numeric")
    assert thinning.minutes([typed]) == ([], [])
