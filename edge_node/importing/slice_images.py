"""Volumes as series of CT or MR images, one slice each; in the converting process alone."""

from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage
from pydicom.valuerep import DSfloat

from edge_node.importing import heading, names, stored_values, volume
from edge_node.importing.order import CT, MR, Order
from edge_node.importing.reasons import NotImported, Reason
from edge_node.importing.stored_values import Scale
from edge_node.importing.volume import Geometry, Numbers, Volume, Voxels

_SHARES = (1, 99)
"""Percentiles of the values between which a viewer's first window lies."""
_SURELY_HOUNSFIELD = -100
_LOOKED_AT = 65536
"""Values of a volume of which these are taken."""


def made(order: Order, volumes: Sequence[Volume], by: str) -> Iterator[Dataset]:
    """Yield the images of each volume, which is a series of its own, along the normal of their planes.

    Raises:
        NotImported: nobody said whether it is CT or MR, or its values are none.
    """
    if order.modality not in (CT, MR):
        raise NotImported(Reason.MODALITY_UNFIT if order.modality else Reason.MODALITY_NEEDED)
    for number, each in enumerate(volumes, 1):
        scale = stored_values.scale_of(each.voxels)
        window = _window(each.voxels, scale, order.modality)
        for at, (place_mm, voxels) in enumerate(volume.slices(each), 1):
            image = _image(order, f"{number} {at}", by)
            heading.in_series(image, order, number, _described(order, number, len(volumes)))
            image.InstanceNumber = at
            image.FrameOfReferenceUID, image.PositionReferenceIndicator = names.uid(order, "frame of reference"), ""
            _place(image, each.geometry, place_mm)
            _values(image, scale)
            image.WindowCenter, image.WindowWidth = (_number(edge) for edge in window)
            _pixels(image, scale, voxels)
            yield image


def _described(order: Order, number: int, count: int) -> str:
    text = f"{order.description or order.modality} (from {order.kind})"
    return f"{text} {number}/{count}" if count > 1 else text


def _image(order: Order, name: str, by: str) -> Dataset:
    """Return an image with what its class demands and no file of another format tells."""
    image = heading.headed(order, CTImageStorage if order.modality == CT else MRImageStorage, name, by)
    image.AcquisitionNumber = image.PatientPosition = image.Laterality = ""
    image.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if order.modality == CT else "OTHER"]
    if order.modality == CT:
        image.KVP = None
        return image
    image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "RM", "NONE", ""
    image.MRAcquisitionType = image.EchoTime = image.EchoTrainLength = image.RepetitionTime = ""
    return image


def _place(image: Dataset, geometry: Geometry, place_mm: Numbers) -> None:
    columns_mm, rows_mm, slices_mm = geometry.spacing_mm
    image.PixelSpacing = [_number(rows_mm), _number(columns_mm)]
    image.SliceThickness = image.SpacingBetweenSlices = _number(slices_mm)
    if image.Modality == CT:
        del image.SpacingBetweenSlices
    image.ImagePositionPatient = [_number(each) for each in place_mm]
    image.ImageOrientationPatient = [_number(each) for each in geometry.directions[:, :2].T.ravel()]


def _values(image: Dataset, scale: Scale) -> None:
    """Say what the stored numbers mean, and how a viewer is to show them at first."""
    if not scale.is_exact:
        image.DerivationDescription = f"Values rounded to 16 bits: by {scale.greatest_error:.3g} at most"
    if image.Modality == CT:
        image.RescaleIntercept, image.RescaleSlope = _number(scale.intercept), _number(scale.slope)
        # Air is -1000: what has nothing below water is not known to be in Hounsfield units.
        image.RescaleType = "HU" if scale.lowest <= _SURELY_HOUNSFIELD else "US"
    elif not scale.is_exact:
        # Programs differ in whether they rescale MR images; here none has to.
        image.RealWorldValueMappingSequence = [_mapped(scale)]


def _mapped(scale: Scale) -> Dataset:
    mapped, unit = Dataset(), Dataset()
    mapped.RealWorldValueIntercept, mapped.RealWorldValueSlope = scale.intercept, scale.slope
    mapped.add_new("RealWorldValueFirstValueMapped", "US", 0)
    mapped.add_new("RealWorldValueLastValueMapped", "US", stored_values.STEPS)
    mapped.LUTExplanation, mapped.LUTLabel = "Values of the file that was converted", "FILE"
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "1", "UCUM", "no units"
    mapped.MeasurementUnitsCodeSequence = [unit]
    return mapped


def _window(voxels: Voxels, scale: Scale, modality: str) -> tuple[float, float]:
    """Return centre and width that show most of a volume: of CT by its values, of MR by what is stored."""
    some = voxels.reshape(-1)[:: max(1, voxels.size // _LOOKED_AT)]
    numbers = some.astype(np.float64) if modality == CT else scale.stored(some).astype(np.float64)
    low, high = np.percentile(numbers, _SHARES)
    return float(low + high) / 2, max(1.0, float(high - low))


def _pixels(image: Dataset, scale: Scale, voxels: Voxels) -> None:
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.Rows, image.Columns = voxels.shape
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation = int(scale.is_signed)
    stored = scale.stored(voxels)
    image.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def _number(value: float) -> DSfloat:
    """Return a number as DICOM writes it, in at most 16 characters; never minus zero."""
    return DSfloat(value + 0.0, auto_format=True)
