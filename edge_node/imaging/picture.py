"""Makes a small grey or colour picture of one frame, as a person would first look at it."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

LONGEST_SIDE_PX = 512
LIMIT_BYTES = 32 * 1024
"""What a link of which nothing is known yet carries within a second or two."""
QUALITIES = (85, 70, 50, 30, 15)
"""Of JPEG, the best first: the first that keeps within the limit, else the last."""
_DARKEST_PCT, _BRIGHTEST_PCT = 1.0, 99.0
_AROUND_SHARE = 0.05
"""So many pixels of the very least value are what lies around the patient, or is filled in, and say nothing of them."""


def key_picture(file: bytes) -> bytes:
    """Return the middle frame of an object as JPEG, at most 512 pixels wide and high; about LIMIT_BYTES at most.

    Raises:
        Exception: of whatever kind the decoders raise; it is called where that ends nothing but its own process.
    """
    dataset = dcmread(io.BytesIO(file))
    frames = int(dataset.get("NumberOfFrames") or 1)
    frame = pixel_array(dataset, index=frames // 2)
    shown = frame if frame.ndim == 3 else _grey(frame, dataset)
    image = Image.fromarray(shown.astype(np.uint8))
    image = image if image.mode == "L" else image.convert("RGB")
    image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    made = b""
    for quality in QUALITIES:
        made = _jpeg(image, quality)
        if len(made) <= LIMIT_BYTES:
            break
    return made


def _jpeg(image: Image.Image, quality: int) -> bytes:
    told = io.BytesIO()
    image.save(told, "JPEG", quality=quality, optimize=True)
    return told.getvalue()


def _shown(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values by which a window is chosen: without what stands for nothing, as outside of a CT's circle.

    Of two values alone, as in a mask, neither stands for nothing.
    """
    inside = values[values > values.min()]
    is_around = inside.size <= (1 - _AROUND_SHARE) * values.size
    return inside if is_around and inside.size and np.ptp(inside) else values


def _grey(frame: NDArray[np.generic], dataset: Dataset) -> NDArray[np.float64]:
    """Return grey values 0 to 255 by the object's own window, or by what is in the picture."""
    has_window = "WindowCenter" in dataset or "VOILUTSequence" in dataset
    values = np.asarray(apply_modality_lut(frame, dataset), dtype=np.float64)
    if has_window:
        values = np.asarray(apply_voi_lut(values, dataset, index=0), dtype=np.float64)
        low, high = float(values.min()), float(values.max())
    else:
        low, high = np.percentile(_shown(values), (_DARKEST_PCT, _BRIGHTEST_PCT))
    scaled = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255
    is_inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    return 255 - scaled if is_inverted else scaled
