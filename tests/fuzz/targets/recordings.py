"""Recorded files that a site plays: WFDB headers with their data, and EDF."""

import math
from collections.abc import Iterable
from itertools import islice

from edge_node.buffer import payload
from edge_node.devices.recorded.edf_record import EdfRecord
from edge_node.devices.recorded.timeline import Stretch
from edge_node.devices.recorded.wfdb_header import RecordRefused
from edge_node.devices.recorded.wfdb_record import WfdbRecord
from edge_node.samples.measurement import WaveformSet
from tests.fuzz.target import SHARED_DATA, Target, scratch

_FOLDER = scratch()
STRETCHES = 20
DATA = bytes(range(256)) * 8


def wfdb(data: bytes) -> None:
    """Pass where a record is refused by name, or its first stretches can be stored; input: header, NUL, samples."""
    header, _nul, samples = data.partition(b"\0")
    folder = _FOLDER
    (folder / "r.hea").write_bytes(header)
    (folder / "r.dat").write_bytes(samples)
    try:
        record = WfdbRecord(folder / "r.hea")
        assert math.isfinite(record.length_s)
        record.missing()
        _storable(islice(record.stretches(), STRETCHES))
    except (RecordRefused, OSError):
        # A header may name files that cannot be; its player hears of both alike.
        return


def edf(data: bytes) -> None:
    """Pass where a file is refused by name, or its first stretches can be stored."""
    path = _FOLDER / "r.edf"
    path.write_bytes(data)
    try:
        record = EdfRecord(path)
    except RecordRefused:
        return
    try:
        assert math.isfinite(record.length_s)
        _storable(islice(record.stretches(), STRETCHES))
    finally:
        record.close()


def _storable(stretches: Iterable[Stretch]) -> None:
    for stretch in stretches:
        assert math.isfinite(stretch.start_s)
        assert stretch.length_s >= 0
        if stretch.channels:
            payload.wave_body(WaveformSet("d", 0, 0, stretch.channels))


def records() -> Iterable[bytes]:
    """A header of each sort with a few samples."""
    yield b"r 2 250 1000\nr.dat 16 200(0)/mV 12 0 0 0 0 MLII\nr.dat 16 200 12 0 0 0 0 V5\n\0" + DATA
    yield b"r 1 360/100 500\nr.dat 212 100/mV 11 1024 0 0 0 ECG\n# note\n\0" + DATA
    yield b"r 1 0.0166667 20\nr.dat 80+4 1/bpm 8 0 0 0 0 HR\n\0" + DATA
    yield b"r/3 1 125 300\nr 100\n~ 100\nr 100\n\0" + DATA


def edf_files() -> Iterable[bytes]:
    """The shared recording, if it is here, and one of a single short signal."""
    yield small_edf()
    shared = SHARED_DATA / "eeg" / "test.edf"
    if shared.is_file():
        yield shared.read_bytes()[:16_384]


def small_edf() -> bytes:
    """Return an EDF file of one signal and two records of ten samples."""

    def text(value: object, width: int) -> bytes:
        return str(value).ljust(width).encode()

    head = (
        text("0", 8) + text("X X X X", 80) + text("Startdate X X X X", 80) + text("26.11.26", 8) + text("08.00.00", 8)
        + text(512, 8) + text("", 44) + text(2, 8) + text(1, 8) + text(1, 4)
    )  # fmt: skip
    signal = (
        text("EEG Fp1", 16) + text("", 80) + text("uV", 8) + text(-100, 8) + text(100, 8) + text(-2048, 8)
        + text(2047, 8) + text("", 80) + text(10, 8) + text("", 32)
    )  # fmt: skip
    return head + signal + bytes(2 * 10 * 2)


WFDB = Target("wfdb", "A record is refused by name, or what it holds can be stored.", wfdb, records, 8192)
EDF = Target("edf", "A file is refused by name, or what it holds can be stored.", edf, edf_files, 16_384)
