"""Findings as a segmentation: one segment each, a ball on the voxels of the magnitude series; in the writer alone."""

from collections.abc import Sequence

import numpy as np
from highdicom import AlgorithmIdentificationSequence, color, seg
from highdicom.sr.coding import CodedConcept
from numpy.typing import NDArray
from pydicom import Dataset
from telemed.ai_codes import CODES, FINDINGS, SCHEME

from edge_node.findings import equipment
from edge_node.findings.documents import Write
from edge_node.findings.pipe import Found
from edge_node.findings.report import tracking_uid
from edge_node.findings.uids import uid

_CATEGORY = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
_FAMILY = CodedConcept("123109", "DCM", "Artificial Intelligence")
_ORANGE = (230, 159, 0)
"""Told from blue and green by everyone (Okabe and Ito)."""
Labels = NDArray[np.uint16]


def made(write: Write, magnitude: Sequence[Dataset]) -> Dataset:
    """Return the segmentation; there must be findings."""
    segmentation = seg.Segmentation(
        source_images=list(magnitude),
        pixel_array=labels(write.findings, magnitude),
        segmentation_type=seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(write, at, each) for at, each in enumerate(write.findings, 1)],
        manufacturer_model_name=equipment.MODEL_NAME,
        software_versions=write.model.version,
        device_serial_number=write.node,
        content_label="AI_NOT_VERIFIED",
        content_description=equipment.description(write),
        content_creator_name="",
        **equipment.names(write, "segments"),
    )
    # Made at random by the library, and part of what must be the same each time.
    organised = uid(*write.names, "dimensions")
    for each in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        each.DimensionOrganizationUID = organised
    return equipment.finished(segmentation, write, magnitude[0])


def labels(findings: Sequence[Found], images: Sequence[Dataset]) -> Labels:
    """Return the number of the finding in which each voxel lies, 0 outside of all; [slice, row, column].

    Every finding has at least the voxel of its centre, and of two that touch the likelier one has what both claim.
    """
    first = images[0]
    found = np.zeros((len(images), first.Rows, first.Columns), dtype=np.uint16)
    for number in range(len(findings), 0, -1):
        one = findings[number - 1]
        heights_mm = [abs(away(image, one)[2]) for image in images]
        for plane, image, height_mm in zip(found, images, heights_mm, strict=True):
            if height_mm < one.diameter_mm / 2:
                plane[_inside(image, one)] = number
        nearest = int(np.argmin(heights_mm))
        column, row, _ = away(images[nearest], one)
        if 0 <= round(row) < first.Rows and 0 <= round(column) < first.Columns:
            found[nearest, round(row), round(column)] = number
    return found


def _inside(image: Dataset, one: Found) -> NDArray[np.bool_]:
    """Return which pixels of an image lie in the ball of a finding."""
    column, row, height_mm = away(image, one)
    between_rows_mm, between_columns_mm = (float(each) for each in image.PixelSpacing)
    rows, columns = np.ogrid[: image.Rows, : image.Columns]
    away_mm = ((rows - row) * between_rows_mm) ** 2 + ((columns - column) * between_columns_mm) ** 2
    return np.asarray(away_mm + height_mm**2 <= (one.diameter_mm / 2) ** 2)


def away(image: Dataset, one: Found) -> tuple[float, float, float]:
    """Return column and row of a finding's centre in the plane of an image, and its height above it in millimetres."""
    along_row, along_column = np.array(image.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    offset_mm = np.asarray(one.centre_mm) - np.array(image.ImagePositionPatient, dtype=np.float64)
    between_rows_mm, between_columns_mm = (float(each) for each in image.PixelSpacing)
    height_mm = float(offset_mm @ np.cross(along_row, along_column))
    return (
        float(offset_mm @ along_row) / between_columns_mm,
        float(offset_mm @ along_column) / between_rows_mm,
        height_mm,
    )


def _described(write: Write, number: int, found: Found) -> seg.SegmentDescription:
    model, code = write.model, FINDINGS[found.code]
    return seg.SegmentDescription(
        segment_number=number,
        segment_label=f"{model.task}-{number}",
        segmented_property_category=_CATEGORY,
        segmented_property_type=CodedConcept(code, SCHEME, CODES[code][1]),
        algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=model.task,
            version=model.version,
            family=_FAMILY,
            source=equipment.MANUFACTURER,
            parameters={"bundle_sha256": model.bundle_id},
        ),
        tracking_uid=tracking_uid(write, number),
        tracking_id=f"{model.task}-{number}",
        anatomic_regions=[CodedConcept("12738006", "SCT", "Brain")],
        display_color=color.CIELabColor.from_rgb(*_ORANGE),
    )
