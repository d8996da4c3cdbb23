"""The key image that goes ahead of a study."""

import io
from typing import Any

import numpy as np
from PIL import Image

from edge_node.imaging.picture import LIMIT_BYTES, LONGEST_SIDE_PX, key_picture
from tests.fakes import dicom_files


def test_a_picture_that_nothing_makes_smaller_keeps_within_what_a_thin_link_carries_at_once() -> None:
    noise = np.random.default_rng(7).integers(0, 4096, (1024, 1024), np.uint16)
    made = key_picture(dicom_files.image(Rows=1024, Columns=1024, PixelData=noise.tobytes()))
    image = Image.open(io.BytesIO(made))
    assert (image.format, image.size) == ("JPEG", (LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    assert len(made) <= LIMIT_BYTES


def test_what_is_filled_in_around_a_patient_takes_no_contrast_from_the_picture() -> None:
    values = np.full((64, 64), -2000, np.int16)
    values[16:48, 16:32], values[16:48, 32:48] = 20, 40
    said: dict[str, Any] = {"Rows": 64, "Columns": 64, "PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}
    made = key_picture(dicom_files.image(PixelData=values.tobytes(), BitsAllocated=16, **said))
    shown = np.asarray(Image.open(io.BytesIO(made))).astype(int)
    assert shown[32, 40] - shown[32, 24] > 200
    assert shown[4, 4] < 20


def test_of_a_mask_both_values_are_seen() -> None:
    mask = np.zeros((64, 64), np.uint16)
    mask[16:48, 16:48] = 1
    made = key_picture(dicom_files.image(Rows=64, Columns=64, PixelData=mask.tobytes()))
    shown = np.asarray(Image.open(io.BytesIO(made))).astype(int)
    assert shown[32, 32] - shown[4, 4] > 200


def test_a_picture_in_colours_keeps_them() -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[:, 32:, 0] = 255
    colours: dict[str, Any] = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    colours |= {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelRepresentation": 0}
    made = key_picture(dicom_files.image(Rows=64, Columns=64, PixelData=red.tobytes(), **colours))
    image = Image.open(io.BytesIO(made))
    assert image.mode == "RGB"
    shown = np.asarray(image)[32, 50].astype(int)
    assert shown[0] > 200
    assert max(shown[1:]) < 60
