"""Volumes read by SimpleITK: MetaImage, NRRD, NIfTI, GIPL; in the converting process alone."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from edge_node.importing import kinds, lengths, nifti, told_numbers, volume
from edge_node.importing.kinds import HEAD_BYTES, Kind
from edge_node.importing.reasons import NotImported, Reason
from edge_node.importing.volume import Told, Volume

READERS = {
    Kind.META: "MetaImageIO", Kind.NRRD: "NrrdImageIO", Kind.NIFTI: "NiftiImageIO", Kind.GIPL: "GiplImageIO",
}  # fmt: skip
MISSING = "pip install 'yuanzhen[volumes]'"
_VOXEL_BYTES = {
    "Int8": 1, "UInt8": 1, "Int16": 2, "UInt16": 2, "Int32": 4, "UInt32": 4, "Int64": 8, "UInt64": 8, "Float32": 4,
    "Float64": 8,
}  # fmt: skip
_PATIENT_SPACE = re.compile(r"(left|right)-(anterior|posterior)-(superior|inferior)|[LR][AP][SI]", re.IGNORECASE)


def read(path: Path, kind: Kind, axes: str) -> tuple[list[Volume], str]:
    """Return the volumes of a file, and what read them.

    Raises:
        NotImported: it cannot be read, or may not be imported.
        OSError: likewise.
    """
    try:
        import SimpleITK as sitk  # noqa: N813, PLC0415 - of an extra that may be missing
    except ImportError as error:
        raise NotImported(Reason.READER_MISSING, MISSING) from error
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    reader = sitk.ImageFileReader()
    # By name: no other of the library's many readers gets to see what a stranger made.
    reader.SetImageIO(READERS[kind])
    reader.SetFileName(str(path))
    told, begin_mm = _header(sitk, reader, path, kind)
    volume.check(told, axes)
    origin_mm, directions = begin_mm
    geometry = volume.geometry(origin_mm, told.spacing_mm, directions, axes)
    if kind is Kind.NIFTI:
        nifti.check(path, nifti.head(path), math.prod(told.size))
    else:
        lengths.check(path, kind, math.prod(told.size) * told.voxel_bytes)
    try:
        voxels = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise NotImported(Reason.LENGTH_DIFFERS) from error
    several = voxels if voxels.ndim > 3 else voxels[np.newaxis]
    return [Volume(each, geometry) for each in several], f"SimpleITK {sitk.Version.VersionString()}"


def _header(sitk: Any, reader: Any, path: Path, kind: Kind) -> tuple[Told, tuple[tuple[float, ...], volume.Numbers]]:
    """Return what a header says, and where its first voxel and its axes lie.

    Raises:
        NotImported: it cannot be read.
    """
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise NotImported(Reason.HEADER_BROKEN) from error
    pixel = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
    names = {sitk.GetPixelIDValueAsString(getattr(sitk, f"sitk{name}")): size for name, size in _VOXEL_BYTES.items()}
    size, components = tuple(reader.GetSize()), int(reader.GetNumberOfComponents())
    if pixel not in names or components != 1:
        raise NotImported(Reason.NOT_GREY, pixel)
    if kind is Kind.NIFTI:
        nifti.check_axes(nifti.head(path))
    elif kind is not Kind.GIPL:
        told_numbers.check(path, kind, len(size))
    told = Told(size, names[pixel], components, tuple(reader.GetSpacing()), _has_axes(path, kind))
    if len(size) < 3:
        return told, ((0.0, 0.0, 0.0), np.eye(3))
    if kind is Kind.NIFTI and not told.has_axes:
        # The library puts in what older software meant, which this file does not say.
        return told, ((0.0, 0.0, 0.0), np.eye(3))
    directions = np.asarray(reader.GetDirection(), dtype=np.float64).reshape(len(size), len(size))
    return told, (tuple(reader.GetOrigin()), directions[:3, :3])


def _has_axes(path: Path, kind: Kind) -> bool:
    """Return whether a file says which side is the patient's left."""
    if kind is Kind.NIFTI:
        return nifti.head(path).has_axes
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if kind is Kind.META:
        # Where a matrix is told, the format's own software means left, back and head.
        return bool(kinds.entries(kind, head).keys() & {"transformmatrix", "orientation", "rotation"})
    if kind is Kind.NRRD:
        return bool(_PATIENT_SPACE.fullmatch(kinds.entries(kind, head).get("space", "")))
    return False
