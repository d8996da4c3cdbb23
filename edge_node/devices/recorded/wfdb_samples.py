"""Samples of WFDB data files of formats 16, 80 and 212, as the digits that stand in the file."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_node.devices.recorded.wfdb_header import RecordRefused, SignalSpec

INVALID_DIGIT = {16: -32768, 80: -128, 212: -2048}
"""By format: the digit that stands for "no sample"."""
_BYTES_PER_TWO = {16: 4, 80: 2, 212: 3}

Digits = npt.NDArray[np.int32]


def frames_in(path: Path, signals: list[SignalSpec]) -> int:
    """Whole frames in a data file that holds these signals, by its size.

    Raises:
        RecordRefused: a format that is not read here, or more than one in the same file.
    """
    first = signals[0]
    if any(signal.format != first.format for signal in signals):
        raise RecordRefused(f"{path.name} is said to be of several WFDB formats")
    samples = max(0, path.stat().st_size - first.offset_bytes) * 2 // _two(first.format)
    return samples // sum(signal.per_frame for signal in signals)


def read(path: Path, signals: list[SignalSpec], first_frame: int, frames: int) -> list[Digits]:
    """Digits of every signal of one file, `frames` x `per_frame` each; fewer where the file ends early.

    Raises:
        RecordRefused: a format that is not read here.
    """
    width = sum(signal.per_frame for signal in signals)
    flat = _samples(path, signals[0], first_frame * width, frames * width)
    table = flat[: flat.size // width * width].reshape(-1, width)
    found: list[Digits] = []
    column = 0
    for signal in signals:
        found.append(np.ascontiguousarray(table[:, column : column + signal.per_frame]).reshape(-1))
        column += signal.per_frame
    return found


def _samples(path: Path, signal: SignalSpec, first: int, count: int) -> Digits:
    # Format 212 packs two samples into three bytes, so reading begins at an even sample.
    odd = first % 2
    offset_bytes = signal.offset_bytes + (first - odd) * _two(signal.format) // 2
    wanted_bytes = -(-(count + odd) * _two(signal.format) // 2)
    with path.open("rb") as file:
        file.seek(offset_bytes)
        raw = np.frombuffer(file.read(wanted_bytes + 1 if signal.format == 212 else wanted_bytes), np.uint8)
    return _unpacked(raw, signal.format)[odd : odd + count]


def _unpacked(raw: npt.NDArray[np.uint8], form: int) -> Digits:
    if form == 16:
        return raw[: raw.size // 2 * 2].view("<i2").astype(np.int32)
    if form == 80:
        return raw.astype(np.int32) - 128
    whole = np.zeros(-(-raw.size // 3) * 3, np.int32)
    whole[: raw.size] = raw
    low, mixed, high = whole.reshape(-1, 3).T
    pairs = np.empty(low.size * 2, np.int32)
    pairs[0::2] = low | ((mixed & 0x0F) << 8)
    pairs[1::2] = high | ((mixed & 0xF0) << 4)
    return np.where(pairs > 2047, pairs - 4096, pairs)[: raw.size * 2 // 3].astype(np.int32)


def _two(form: int) -> int:
    if form not in _BYTES_PER_TWO:
        raise RecordRefused(f"WFDB format {form} is not read here (16, 80 and 212 are)")
    return _BYTES_PER_TWO[form]
