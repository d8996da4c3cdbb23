"""EDF files as they are found: whole, cut off, longer than told, or not what they say."""

from pathlib import Path

import numpy as np
import pyedflib
import pytest

from edge_node.devices.recorded.edf_record import EdfRecord
from edge_node.devices.recorded.timeline import Missing
from edge_node.devices.recorded.wfdb_header import RecordRefused

RECORDS, RATE_HZ = 4, 50
DIGITS = np.arange(RECORDS * RATE_HZ, dtype=np.int32) * 7 - 300
HEAD_BYTES = 512


def written(path: Path, kind: int = pyedflib.FILETYPE_EDF) -> Path:
    """Write a signal of four seconds with another's pen."""
    with pyedflib.EdfWriter(str(path), 1, kind) as file:
        file.setSignalHeader(
            0,
            {"label": "EEG Cz", "dimension": "uV", "sample_frequency": RATE_HZ, "physical_min": -100,
             "physical_max": 100, "digital_min": -2048, "digital_max": 2047, "transducer": "", "prefilter": ""},
        )  # fmt: skip
        file.writeSamples([DIGITS], digital=True)
    return path


def digits(record: EdfRecord) -> list[int]:
    return [int(digit) for stretch in record.stretches() for digit in stretch.channels[0].digits]


@pytest.mark.parametrize("kind", [pyedflib.FILETYPE_EDF, pyedflib.FILETYPE_EDFPLUS, pyedflib.FILETYPE_BDF])
def test_digits_and_their_scale_are_those_that_were_written(tmp_path: Path, kind: int) -> None:
    record = EdfRecord(written(tmp_path / "r.edf", kind))
    assert digits(record) == DIGITS.tolist()
    channel = next(iter(record.stretches())).channels[0]
    assert (channel.label, channel.unit, channel.rate_hz) == ("EEG Cz", "uV", RATE_HZ)
    assert (2047 - channel.baseline) / channel.gain == pytest.approx(100)
    assert (record.length_s, record.missing()) == (4, [])


def test_a_file_that_is_cut_off_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    path = written(tmp_path / "r.edf")
    path.write_bytes(path.read_bytes()[:-50])
    record = EdfRecord(path)
    assert digits(record) == DIGITS[: 3 * RATE_HZ].tolist()
    assert record.length_s == 4
    assert record.missing() == [Missing("r.edf", "file ends early", 3, 1)]


def test_a_file_whose_recorder_was_never_closed_is_as_long_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path / "r.edf")
    whole = path.read_bytes()
    path.write_bytes(whole[:236] + b"-1      " + whole[244:])
    record = EdfRecord(path)
    assert (digits(record), record.length_s, record.missing()) == (DIGITS.tolist(), 4, [])
    assert path.read_bytes()[236:244] == b"-1      "


def test_what_lies_behind_the_last_record_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "r.edf")
    path.write_bytes(path.read_bytes() + b"more" * 100)
    assert digits(EdfRecord(path)) == DIGITS.tolist()


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (HEAD_BYTES - 40, b"99999999"),
        (HEAD_BYTES - 40, b"0       "),
        (HEAD_BYTES - 40, b"-1      "),
        (192, b"EDF+D   "),
        (236, b"0       "),
        (184, b"768     "),
        (244, b"0       "),
        (252, b"0   "),
        (252, b"-1  "),
    ],
)
def test_a_header_that_cannot_be_true_is_refused_by_name(tmp_path: Path, at: int, text: bytes) -> None:
    path = written(tmp_path / "r.edf")
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + text + whole[at + len(text) :])
    with pytest.raises(RecordRefused, match=r"^r\.edf cannot be read as EDF: "):
        EdfRecord(path)


def test_a_refused_file_takes_no_samples_from_one_that_is_played(tmp_path: Path) -> None:
    played = EdfRecord(written(tmp_path / "r.edf"))
    for spoilt in (b"", b"nothing", (tmp_path / "r.edf").read_bytes()[:600]):
        (tmp_path / "x.edf").write_bytes(spoilt)
        with pytest.raises(RecordRefused):
            EdfRecord(tmp_path / "x.edf")
    assert digits(played) == DIGITS.tolist()


def test_two_players_may_have_the_same_file_open(tmp_path: Path) -> None:
    path = written(tmp_path / "r.edf")
    first, second = EdfRecord(path), EdfRecord(path)
    first.close()
    assert digits(second) == DIGITS.tolist()
