"""The WFDB reader against wfdb as oracle, bit-exact, for every record of the shared data."""

from pathlib import Path

import numpy as np
import pytest
import wfdb

from edge_node.devices.recorded import naming, wfdb_header, wfdb_samples
from edge_node.devices.recorded.timeline import played, replay_length_s
from edge_node.devices.recorded.wfdb_header import RecordRefused, SignalSpec
from edge_node.devices.recorded.wfdb_record import WfdbRecord

SINGLE = ["100", "03700181", "a103l", "s0010_re", "test01_00s", "041s/041s01", "041s/041s02"]
SINGLE += ["p000878/3269321_0001", "p000878/3269321_0002", "s25047/s25047-2704-05-04-10-44n"]
SINGLE += [f"s25047/3234460_{number:04d}" for number in range(1, 19)]


@pytest.mark.parametrize("name", SINGLE)
def test_every_digit_gain_and_name_is_that_of_the_oracle(shared_data: Path, name: str) -> None:
    path = shared_data / "vitals" / name
    told = wfdb.rdrecord(str(path), physical=False, smooth_frames=False, ignore_skew=True)
    (segment,) = WfdbRecord(path).segments
    digits = segment.digits(0, segment.frames)
    assert segment.frames == told.sig_len
    for index, signal in enumerate(segment.signals):
        assert np.array_equal(digits[index], told.e_d_signal[index]), signal.name
        assert signal.gain == told.adc_gain[index]
        assert signal.baseline == told.baseline[index]
        assert signal.unit == told.units[index]
        assert signal.name == told.sig_name[index].strip()


@pytest.mark.parametrize("name", [name for name in SINGLE if not name.endswith("n")])
def test_the_stretches_hold_every_digit_once_and_in_order(shared_data: Path, name: str) -> None:
    record = WfdbRecord(shared_data / "vitals" / name)
    (segment,) = record.segments
    whole = segment.digits(0, segment.frames)
    stretches = list(record.stretches())
    for index, expected in enumerate(whole):
        joined = np.concatenate([stretch.channels[index].digits for stretch in stretches])
        assert np.array_equal(joined, expected)
    assert all(stretch.length_s <= 1.0 + 1 / record.rate_hz for stretch in stretches)


def test_the_header_checksums_agree_with_the_digits(shared_data: Path) -> None:
    (segment,) = WfdbRecord(shared_data / "vitals" / "100").segments
    for signal, digits in zip(segment.signals, segment.digits(0, segment.frames), strict=True):
        assert (int(digits.sum()) - (signal.checksum or 0)) % 65536 == 0


def test_a_record_of_two_segments_plays_both(shared_data: Path) -> None:
    record = WfdbRecord(shared_data / "vitals" / "041s" / "041s.hea")
    assert [segment.name for segment in record.segments] == ["041s01", "041s02"]
    assert record.missing() == []
    assert sum(stretch.channels[0].digits.size for stretch in record.stretches()) == 8000


def test_absent_segments_gaps_and_leads_are_named(shared_data: Path) -> None:
    record = WfdbRecord(shared_data / "vitals" / "p000878" / "p000878-2137-10-26-16-57")
    told = [(part.where, part.why) for part in record.missing()]
    assert [segment.name for segment in record.segments] == ["3269321_0001", "3269321_0002"]
    assert ("~", "gap") in told
    assert ("3269321_0003", "file absent") in told
    assert ("3269321_0032", "file absent") in told
    assert ("3269321_0001/II", "not recorded") in told
    assert ("3269321_0002/ABP", "not recorded") in told
    assert record.missing()[1].length_s == 2000 / 125


def test_a_variable_layout_keeps_the_gain_of_each_segment(shared_data: Path) -> None:
    record = WfdbRecord(shared_data / "vitals" / "s25047" / "s25047-2704-05-04-10-44")
    assert len(record.segments) == 18
    assert {part.where for part in record.missing()} >= {"~", "3234460_0001/ABP"}
    gains = {channel.gain for stretch in record.stretches() for channel in stretch.channels if channel.label == "II"}
    assert {86.0, 67.0, 53.0, 11.0, 81.0} <= gains


def test_numerics_are_exact_decimals_and_an_invalid_digit_is_missing(shared_data: Path) -> None:
    path = shared_data / "vitals" / "s25047" / "s25047-2704-05-04-10-44n"
    told = wfdb.rdrecord(str(path), physical=True)
    stretches = list(WfdbRecord(path).stretches())
    assert len(stretches) == 72
    for stretch, physical in zip(stretches, told.p_signal, strict=True):
        for reading, expected in zip(stretch.readings, physical, strict=True):
            assert (reading.value == "") == bool(np.isnan(expected))
            assert reading.value == "" or float(reading.value) == expected
    assert stretches[0].readings[0].value == "101.3"


def test_long_gaps_are_shortened_in_the_replay(shared_data: Path) -> None:
    record = WfdbRecord(shared_data / "vitals" / "p000878" / "p000878-2137-10-26-16-57")
    at_s = [timed.at_s for timed in played(record)]
    assert at_s[0] == 5.0
    assert at_s == sorted(at_s)
    assert replay_length_s(record) < 400


@pytest.mark.parametrize("form", [16, 80, 212])
@pytest.mark.parametrize("first", [0, 1, 2, 7])
def test_reading_may_begin_at_any_sample(tmp_path: Path, form: int, first: int) -> None:
    generator = np.random.default_rng(form)
    low = {16: -32768, 80: -128, 212: -2048}[form]
    digits = generator.integers(low, -low - 1, size=(31, 1), endpoint=True)
    wfdb.wrsamp(
        "x", 100, ["mV"], ["I"], d_signal=digits, fmt=[str(form)], adc_gain=[1], baseline=[0], write_dir=str(tmp_path)
    )
    spec = [SignalSpec("x.dat", form, 1, 0, 1, 0, "mV", None, "I")]
    (read,) = wfdb_samples.read(tmp_path / "x.dat", spec, first, 20)
    assert np.array_equal(read, digits[first : first + 20, 0])
    assert wfdb_samples.frames_in(tmp_path / "x.dat", spec) in (31, 32)


@pytest.mark.parametrize("text", ["", "x", "x 1 a", "x 1 100 9\n../y.dat 16", "x 1 100 9\ny.dat q", "# only\n"])
def test_a_header_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RecordRefused):
        wfdb_header.read(text)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.hea").write_text("x 1 100 2\nx.dat 310\n")
    (tmp_path / "x.dat").write_bytes(b"1234")
    with pytest.raises(RecordRefused, match="310"):
        WfdbRecord(tmp_path / "x")


def test_leads_beyond_the_first_of_a_kind_keep_only_their_label() -> None:
    assert naming.wave_measures(["MLII", "V1", "V5", "PLETH", "PAP"]) == ["ecg_II", "ecg_V", "mdc:0", "ppg", "mdc:0"]
