"""Volumes of VTK ImageData in XML (.vti), read by VTK's own reader; in the converting process alone."""

import re
from pathlib import Path
from typing import Any

import numpy as np

from edge_node.importing import volume
from edge_node.importing.kinds import HEAD_BYTES
from edge_node.importing.reasons import NotImported, Reason
from edge_node.importing.volume import Told, Volume

MISSING = "pip install 'yuanzhen[vti]'"
_IMAGE_DATA = re.compile(rb"<ImageData\b([^>]*)>")
_ATTRIBUTE = re.compile(rb"(\w+)\s*=\s*[\"']([^\"']*)[\"']")
_COUNTS = {b"WholeExtent": 6, b"Origin": 3, b"Spacing": 3, b"Direction": 9}
"""How many numbers each attribute has."""


def read(path: Path, axes: str) -> tuple[list[Volume], str]:
    """Return the one volume of a file, and what read it.

    Raises:
        NotImported: it cannot be read, or may not be imported.
        OSError: likewise.
    """
    try:
        from vtkmodules.util.numpy_support import vtk_to_numpy  # noqa: PLC0415 - of an extra that may be missing
        from vtkmodules.vtkCommonCore import vtkVersion  # noqa: PLC0415
        from vtkmodules.vtkIOXML import vtkXMLImageDataReader  # noqa: PLC0415
    except ImportError as error:
        raise NotImported(Reason.READER_MISSING, MISSING) from error
    _check_head(path)
    reader = vtkXMLImageDataReader()
    faults: list[object] = []
    reader.AddObserver("ErrorEvent", lambda *told: faults.append(told))
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    if faults or reader.GetErrorCode():
        raise NotImported(Reason.HEADER_BROKEN)
    # Before room is made for whatever it says.
    volume.check(_told(reader.GetOutputInformation(0)), axes)
    reader.Update()
    image = reader.GetOutput()
    array = image.GetPointData().GetScalars() or image.GetPointData().GetArray(0)
    if faults or reader.GetErrorCode():
        raise NotImported(Reason.LENGTH_DIFFERS)
    if array is None:
        raise NotImported(Reason.NOT_A_VOLUME)
    size = tuple(image.GetDimensions())
    voxels = np.array(vtk_to_numpy(array))
    told = Told(size, voxels.itemsize, array.GetNumberOfComponents(), tuple(image.GetSpacing()), False)
    volume.check(told, axes)
    if voxels.size != np.prod(size):
        raise NotImported(Reason.LENGTH_DIFFERS)
    geometry = volume.geometry(_first_mm(image), told.spacing_mm, _directions(image), axes)
    return [Volume(voxels.reshape(size[::-1]), geometry)], f"VTK {vtkVersion.GetVTKVersion()}"


def _directions(image: Any) -> volume.Numbers:
    matrix = image.GetDirectionMatrix()
    return np.array([[matrix.GetElement(row, column) for column in range(3)] for row in range(3)])


def _first_mm(image: Any) -> tuple[float, ...]:
    """Return the place of the first voxel, which need not be that of the index 0."""
    begin = np.array(image.GetExtent()[::2]) * np.array(image.GetSpacing())
    found = np.array(image.GetOrigin()) + _directions(image) @ begin
    return tuple(float(each) for each in found)


def _told(information: Any) -> Told:
    """Return what the library read of a head.

    Raises:
        NotImported: nothing of a volume.
    """
    from vtkmodules.vtkCommonDataModel import vtkDataObject  # noqa: PLC0415 - as above
    from vtkmodules.vtkCommonExecutionModel import vtkStreamingDemandDrivenPipeline  # noqa: PLC0415

    whole, spacing = vtkStreamingDemandDrivenPipeline.WHOLE_EXTENT(), vtkDataObject.SPACING()
    if not (information.Has(whole) and information.Has(spacing)):
        raise NotImported(Reason.HEADER_BROKEN)
    extent = information.Get(whole)
    size = tuple(last - first + 1 for first, last in zip(extent[::2], extent[1::2], strict=True))
    return Told(size, 1, 1, tuple(information.Get(spacing)), False)


def _check_head(path: Path) -> None:
    """Pass where a file declares nothing that unfolds into something else, and says in numbers how its volume lies.

    Raises:
        NotImported: it does.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES).partition(b"<AppendedData")[0]
    if b"<!" in head:
        raise NotImported(Reason.HEADER_BROKEN)
    told = _IMAGE_DATA.search(head)
    if told is None:
        raise NotImported(Reason.NOT_A_VOLUME)
    for name, value in _ATTRIBUTE.findall(told[1]):
        # The library takes its own numbers in the place of what it cannot read.
        if name in _COUNTS and not _are_numbers(value, _COUNTS[name]):
            raise NotImported(Reason.SPACING_WRONG, name.decode())


def _are_numbers(text: bytes, count: int) -> bool:
    try:
        found = [float(each) for each in text.split()]
    except ValueError:
        return False
    return len(found) == count and bool(np.isfinite(found).all())
