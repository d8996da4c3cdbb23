"""Single frames of a DICOM file: as stored, decoded, or as a picture; runs in a reader process alone."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from cloud_hub.imaging import files
from cloud_hub.imaging.files import Unreadable

JPEG_QUALITY = 90
MOST_VIEWPORT = 4096
Grey = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Look:
    """How a picture is asked for (PS3.18 8.3.5)."""

    picture: str
    """jpeg or png."""
    window: tuple[float, float, str] | None = None
    """Centre, width, and LINEAR, LINEAR_EXACT or SIGMOID; None: as the file says, else all its values."""
    viewport: tuple[int, int] | None = None
    """Columns and rows at most; the picture keeps its proportions."""


def stored_frame(path: Path, index: int) -> bytes:
    """Return one frame as it is stored, native ones in little endian; `index` counts from 0.

    Raises:
        Unreadable: there are no pixels, or not of this frame.
    """
    with _opened(path) as file:
        found, at = files.pixels_at(file)
        frames = max(1, int(found.get("NumberOfFrames") or 1))
        if not 0 <= index < frames:
            raise Unreadable("no-such-frame")
        if files.syntax_of(found).is_encapsulated:
            return get_frame(file, index, number_of_frames=frames, extended_offsets=_extended(found))
        return _native(file, found, at, index)


def decoded_frame(path: Path, index: int) -> bytes:
    """Return one frame uncompressed: samples in little endian, colour by pixel, in the file's own colour space.

    Raises:
        Unreadable: there is no such frame, or nothing here decodes it.
    """
    if not _syntax(path).is_encapsulated:
        return stored_frame(path, index)
    return np.ascontiguousarray(_decoded(path, index, raw=True)).tobytes()


def picture(path: Path, index: int, look: Look) -> bytes:
    """Return one frame as JPEG or PNG, greys through modality and window as PS3.3 C.11 has it.

    Raises:
        Unreadable: there is no such frame, or nothing here decodes it.
    """
    found = dcmread(path, stop_before_pixels=True)
    values = _decoded(path, index, raw=False)
    photometric = str(found.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        image = Image.fromarray(_to_bytes(apply_color_lut(values, found)))
    elif values.ndim == 3:
        image = Image.fromarray(_to_bytes(values))
    else:
        image = Image.fromarray(_grey(values, _described(found, index), look, is_inverse=photometric == "MONOCHROME1"))
    if look.viewport is not None:
        image.thumbnail(look.viewport)
    made = io.BytesIO()
    if look.picture == "png":
        image.save(made, "PNG")
    else:
        image.save(made, "JPEG", quality=JPEG_QUALITY)
    return made.getvalue()


def _opened(path: Path) -> BinaryIO:
    return files.whole(path) if _syntax(path).is_deflated else path.open("rb")


def _syntax(path: Path) -> files.Syntax:
    return files.syntax_of(dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]))


def _decoded(path: Path, index: int, *, raw: bool) -> NDArray[Any]:
    try:
        with _opened(path) as file:
            return pixel_array(file, index=index, raw=raw)
    except (RuntimeError, NotImplementedError) as error:
        raise Unreadable("no-decoder") from error
    except (AttributeError, ValueError, IndexError) as error:
        raise Unreadable("pixels-broken") from error


def _extended(found: Dataset) -> tuple[bytes, bytes] | None:
    offsets, lengths = found.get("ExtendedOffsetTable"), found.get("ExtendedOffsetTableLengths")
    return (offsets, lengths) if offsets and lengths else None


def _native(file: BinaryIO, found: Dataset, at: int, index: int) -> bytes:
    bits = int(found.Rows) * int(found.Columns) * int(found.get("SamplesPerPixel", 1)) * int(found.BitsAllocated)
    if found.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3
    begin, skipped_bits = divmod(bits * index, 8)
    length = (skipped_bits + bits + 7) // 8
    file.seek(at + begin)
    data = file.read(length)
    if len(data) < length:
        raise Unreadable(files.PIXELS_SHORT)
    if bits % 8:
        return _own_bytes(data, skipped_bits, bits)
    width = int(found.BitsAllocated) // 8
    if files.syntax_of(found).is_little or width < 2:
        return data
    return np.frombuffer(data, f">u{width}").astype(f"<u{width}").tobytes()


def _own_bytes(data: bytes, skipped_bits: int, bits: int) -> bytes:
    """Return a frame that shares bytes with its neighbours by itself, its first pixel in the lowest bit (PS3.5 D.3)."""
    every = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return np.packbits(every[skipped_bits : skipped_bits + bits], bitorder="little").tobytes()


def _described(found: Dataset, index: int) -> Dataset:
    """Return the attributes of one frame for modality and window, from the functional groups where it has them."""
    shared, each = found.get("SharedFunctionalGroupsSequence"), found.get("PerFrameFunctionalGroupsSequence")
    groups = [*(shared or [])[:1], *(each or [])[index : index + 1]]
    if not groups:
        return found
    made = Dataset()
    for name in ("BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation"):
        if name in found:
            made[name] = found[name]
    for group in groups:
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name) or []:
                made.update(item)
    return made


def _grey(values: NDArray[Any], described: Dataset, look: Look, *, is_inverse: bool) -> NDArray[np.uint8]:
    measured = np.asarray(apply_modality_lut(values, described))
    window = look.window or _own_window(described)
    if window is not None:
        shown = _windowed(measured.astype(np.float64), *window)
    elif described.get("VOILUTSequence"):
        shown = _to_range(np.asarray(apply_voi_lut(measured, described), np.float64))
    else:
        shown = _to_range(measured.astype(np.float64))
    grey = np.nan_to_num(shown * 255).round().clip(0, 255).astype(np.uint8)
    return 255 - grey if is_inverse else grey


def _own_window(described: Dataset) -> tuple[float, float, str] | None:
    """Return the first window that a file names; None where there is none, or one that means nothing."""
    try:
        centre, width = (_first_number(described, name) for name in ("WindowCenter", "WindowWidth"))
    except (TypeError, ValueError, IndexError):
        return None
    function = str(described.get("VOILUTFunction") or "LINEAR")
    return (centre, width, function) if width > 0 else None


def _first_number(described: Dataset, name: str) -> float:
    value = described.get(name)
    return float(value[0] if isinstance(value, MultiValue) else value)


def _windowed(values: Grey, centre: float, width: float, function: str) -> Grey:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, to 0..1."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return ((values - centre) / width + 0.5).clip(0, 1)
    if width <= 1:
        return (values > centre - 0.5).astype(np.float64)
    return ((values - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1)


def _to_range(values: Grey) -> Grey:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Colours of more than eight bits are brought to eight by their highest bits."""
    return values if values.dtype == np.uint8 else (values >> (8 * values.itemsize - 8)).astype(np.uint8)
