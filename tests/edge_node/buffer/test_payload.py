"""What a driver delivers comes back exactly as it was."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from telemed.wire import Kind, Stamp, pack, seal

from edge_node.buffer.payload import numeric_body, numeric_set, wave_body, waveform_set
from edge_node.samples.measurement import (
    Assignment,
    Channel,
    NumericSet,
    Origin,
    Quality,
    Value,
    WaveformSet,
)

INT32 = st.integers(-(2**31), 2**31 - 1)
TIME_NS = st.integers(0, 2**62)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.builds(
    Value,
    measure=TEXT,
    value=TEXT,
    unit=TEXT,
    quality=st.sampled_from(Quality),
    raw_value=TEXT,
    raw_unit=TEXT,
    mdc=st.integers(0, 2**32 - 1),
    measured_at_ns=TIME_NS,
    signal_quality=st.none() | st.integers(1, 1000).map(lambda permille: permille / 1000),
    status=TEXT,
)
sets = st.builds(
    NumericSet,
    device=st.just("monitor-1"),
    measured_at_ns=TIME_NS,
    arrived_at_ns=TIME_NS,
    values=st.lists(values, max_size=4).map(tuple),
    origin=st.sampled_from(Origin),
    assignment=st.sampled_from(Assignment),
    time_error_ms=st.integers(0, 2**32 - 1),
    late=st.booleans(),
    clock_suspect=st.booleans(),
    source_ref=TEXT,
    claimed_patient_id=TEXT,
)
channels = st.builds(
    Channel,
    measure=TEXT,
    rate_hz=st.integers(1, 10**7).map(lambda rate: rate / 1000),
    digits=hnp.arrays(np.int32, st.integers(0, 50), elements=INT32),
    gain=st.floats(allow_nan=False),
    baseline=st.floats(allow_nan=False),
    unit=TEXT,
    label=TEXT,
    invalid_digits=st.lists(INT32, max_size=3).map(tuple),
)
wave_sets = st.builds(
    WaveformSet,
    device=st.just("monitor-1"),
    measured_at_ns=TIME_NS,
    arrived_at_ns=TIME_NS,
    channels=st.lists(channels, max_size=3).map(tuple),
    origin=st.sampled_from(Origin),
    assignment=st.sampled_from(Assignment),
    time_error_ms=st.integers(0, 2**32 - 1),
    late=st.booleans(),
    source_ref=TEXT,
)


@settings(max_examples=150)
@given(sets)
def test_numeric_sets_come_back_exactly(sample: NumericSet) -> None:
    codec, payload = pack(numeric_body(sample))
    stamp = Stamp(sample.arrived_at_ns, 1, 2)
    record = seal(
        stream="monitor-1/numeric", kind=Kind.NUMERIC_SET, epoch=1, seq=1, stamp=stamp, codec=codec, payload=payload
    )
    assert numeric_set(record) == sample


def plain(channel: Channel) -> tuple[object, ...]:
    return (*(getattr(channel, name) for name in Channel.__slots__ if name != "digits"), channel.digits.tolist())


@settings(max_examples=150)
@given(wave_sets)
def test_waveform_sets_come_back_exactly(sample: WaveformSet) -> None:
    codec, payload = pack(wave_body(sample))
    stamp = Stamp(sample.arrived_at_ns, 1, 2)
    record = seal(
        stream="monitor-1/wave", kind=Kind.WAVEFORM_SET, epoch=1, seq=1, stamp=stamp, codec=codec, payload=payload
    )
    back = waveform_set(record)
    assert [plain(channel) for channel in back.channels] == [plain(channel) for channel in sample.channels]
    for name in set(WaveformSet.__slots__) - {"channels"}:
        assert getattr(back, name) == getattr(sample, name)


def test_a_signal_of_no_quality_is_not_taken_for_one_not_given() -> None:
    sample = NumericSet("m", 1, 1, (Value("spo2", "98", "%", signal_quality=0.0),))
    codec, payload = pack(numeric_body(sample))
    record = seal(
        stream="m/numeric", kind=Kind.NUMERIC_SET, epoch=1, seq=1, stamp=Stamp(1, 1, 1), codec=codec, payload=payload
    )
    assert numeric_set(record).values[0].signal_quality == 0.001
