"""What the library does not say of a NIfTI file, or passes over: blocking; in the converting process alone."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from edge_node.importing.reasons import NotImported, Reason

HEAD_BYTES = 352
"""The header, and whether something stands between it and the data."""
_PIECE_BYTES = 1024 * 1024
_TYPE_AT, _BITS_AT, _BEGIN_AT, _QFORM_AT, _SFORM_AT = 70, 72, 108, 252, 254
_SIDE_AT, _QUATERNION_AT, _MAGIC_AT = 76, 256, 344
_DISTANCES_AT, _MATRIX_AT, _ALIKE = 80, 280, 0.01
_VOXELS = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
"""Kinds of grey voxels by their number (NIfTI-1, datatype)."""


@dataclass(frozen=True, slots=True)
class Head:
    """Part of a header (NIfTI-1)."""

    voxel: np.dtype[np.generic]
    """What a voxel is in the file."""
    begin: int
    """Where the data begin."""
    has_axes: bool
    """Whether it says how the volume lies in the patient, by one of the two ways there are."""
    distances: tuple[float, ...]
    """Between columns, rows and slices, in the file's own unit."""
    matrix_distances: tuple[float, ...]
    """What its matrix says of the same; empty where no matrix is in force."""
    is_contradictory: bool
    """Its matrix and its quaternion, both in force, point an axis to opposite sides."""


def head(path: Path) -> Head:
    """Return the header of a file, which may be packed.

    Raises:
        NotImported: it is cut short, or none.
        OSError: the file cannot be read.
    """
    with _unpacked(path, Reason.HEADER_BROKEN) as file:
        raw = file.read(HEAD_BYTES)
    if len(raw) < HEAD_BYTES or raw[_MAGIC_AT : _MAGIC_AT + 4] != b"n+1\0":
        raise NotImported(Reason.HEADER_BROKEN)
    order = "<" if raw[:4] == struct.pack("<i", 348) else ">"

    def word(at: int) -> int:
        return int(struct.unpack_from(f"{order}h", raw, at)[0])

    (begin,) = struct.unpack_from(f"{order}f", raw, _BEGIN_AT)
    kind = _VOXELS.get(word(_TYPE_AT))
    if not HEAD_BYTES <= begin <= 2**30 or kind is None or np.dtype(kind).itemsize * 8 != word(_BITS_AT):
        raise NotImported(Reason.HEADER_BROKEN)
    matrix = np.frombuffer(raw, f"{order}f4", 12, _MATRIX_AT).reshape(3, 4)[:, :3].astype(np.float64)
    by_matrix = tuple(float(each) for each in np.linalg.norm(matrix, axis=0)) if word(_SFORM_AT) else ()
    has_both = word(_QFORM_AT) != 0 and bool(by_matrix)
    quaternion = struct.unpack_from(f"{order}3f", raw, _QUATERNION_AT)
    (side,) = struct.unpack_from(f"{order}f", raw, _SIDE_AT)
    return Head(
        np.dtype(f"{order}{kind}"),
        int(begin),
        bool(by_matrix) or word(_QFORM_AT) != 0,
        struct.unpack_from(f"{order}3f", raw, _DISTANCES_AT),
        by_matrix,
        has_both and _contradict(_turned(quaternion, side), matrix),
    )


def _turned(quaternion: tuple[float, ...], side: float) -> NDArray[np.float64]:
    """Return the directions of the axes that a quaternion says; the third is turned round where `side` is negative."""
    b, c, d = quaternion
    a = max(0.0, 1 - b * b - c * c - d * d) ** 0.5
    found = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return np.asarray(found * np.array([1, 1, -1 if side < 0 else 1]))


def _contradict(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether an axis points one way in the one and the other way in the other; a turn between them may be."""
    return not bool((np.sum(one * other, axis=0) > 0).all())


def check_axes(told: Head) -> None:
    """Pass where distances are told, and where two ways to say how the volume lies agree.

    The library takes 1 in the place of what is missing, and passes over a matrix that says otherwise.

    Raises:
        NotImported: they are not.
    """
    if not all(np.isfinite(each) and each > 0 for each in told.distances):
        raise NotImported(Reason.SPACING_WRONG, ", ".join(f"{each:g}" for each in told.distances))
    if told.is_contradictory:
        raise NotImported(Reason.AXES_DIFFER)
    if told.matrix_distances and not np.allclose(told.distances, told.matrix_distances, rtol=_ALIKE):
        both = (*told.distances, *told.matrix_distances)
        raise NotImported(Reason.SPACING_WRONG, ", ".join(f"{each:g}" for each in both))


def check(path: Path, told: Head, voxels: int) -> None:
    """Pass where the data are as long as so many voxels, and all are numbers.

    The library passes over what is too long, and makes a zero of what is no number.

    Raises:
        NotImported: they are not.
        OSError: the file cannot be read.
    """
    expected_bytes = told.begin + voxels * told.voxel.itemsize
    with _unpacked(path, Reason.LENGTH_DIFFERS) as file:
        file.seek(told.begin)
        size_bytes = told.begin
        # No further than one byte more than there must be: a bomb is not unpacked to its end.
        while piece := file.read(min(_PIECE_BYTES, expected_bytes + 1 - size_bytes)):
            size_bytes += len(piece)
            _check_numbers(piece, told)
            if size_bytes > expected_bytes:
                break
    if size_bytes != expected_bytes:
        raise NotImported(Reason.LENGTH_DIFFERS, f"{size_bytes} / {expected_bytes}")


def _check_numbers(piece: bytes, told: Head) -> None:
    if told.voxel.kind != "f":
        return
    whole = len(piece) // told.voxel.itemsize * told.voxel.itemsize
    if not np.isfinite(np.frombuffer(piece[:whole], told.voxel)).all():
        raise NotImported(Reason.VALUES_WRONG)


@contextmanager
def _unpacked(path: Path, reason: Reason) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if is_packed else path.open("rb") as opened:
            yield cast("BinaryIO", opened)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotImported(reason) from error
