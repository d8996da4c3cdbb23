"""A photo (JPEG, PNG) as a VL Photographic Image, upright and without what the phone wrote beside it.

In the converting process alone.
"""

import contextlib
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL import __version__ as pillow
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLPhotographicImageStorage

from edge_node.importing import heading
from edge_node.importing.order import PHOTO, Order
from edge_node.importing.reasons import NotImported, Reason

MOST_PIXELS = 64_000_000
QUALITY = 95
_TAKEN, _OFFSET, _TURNED, _DETAILS = 0x9003, 0x9011, 0x0112, 0x8769
"""When it was taken, by which clock, how it must be turned, and where those stand (Exif 2.32)."""
_UPRIGHT = 1
_LOSSY, _NOT_LOSSY = "01", "00"
_BASELINE, _HUFFMAN_EXTENDED = 0xC0, 0xC1
_KEPT_SEGMENTS = frozenset({0xC0, 0xC1, 0xC4, 0xDB, 0xDD, 0xEE})
"""Frame, tables, restart interval, and how colours were mixed: all that a decoder needs."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A photo as it will be stored."""

    data: bytes
    """A baseline JPEG stream; or rows of red, green and blue."""
    is_jpeg: bool
    columns: int
    rows: int
    photometric: str
    ratio: float
    """How much smaller it was made by what cannot be undone; 1 = not."""
    colours: bytes
    """The ICC profile of the file; empty where it has none."""
    taken: str
    """As DICOM writes date and time, or empty."""


def made(order: Order, path: Path) -> Dataset:
    """Return the object of a photo.

    Raises:
        NotImported: broken, too many pixels, or it is to be another modality.
        OSError: the file cannot be read.
    """
    if order.modality not in ("", PHOTO):
        raise NotImported(Reason.MODALITY_UNFIT)
    picture = _picture(path.read_bytes())
    found = heading.headed(order, VLPhotographicImageStorage, "photo", f"Pillow {pillow}")
    found.Modality = PHOTO
    heading.in_series(found, order, 1, order.description or "Photo")
    found.StudyDate = found.StudyDate or picture.taken[:8]
    if picture.taken:
        found.AcquisitionDateTime = picture.taken
        found.ContentDate, found.ContentTime = picture.taken[:8], picture.taken[8:14]
    found.ImageType, found.InstanceNumber, found.PatientOrientation = ["ORIGINAL", "PRIMARY"], 1, ""
    found.Laterality = ""
    found.AcquisitionContextSequence = []
    _pixels(found, picture)
    return found


def _pixels(found: Dataset, picture: Picture) -> None:
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PlanarConfiguration = 3, picture.photometric, 0
    found.Rows, found.Columns = picture.rows, picture.columns
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 8, 8, 7, 0
    found.LossyImageCompression = _LOSSY if picture.ratio > 1 else _NOT_LOSSY
    if picture.ratio > 1:
        found.LossyImageCompressionRatio = f"{picture.ratio:.4g}"
        found.LossyImageCompressionMethod = "ISO_10918_1"
    if picture.colours:
        found.ICCProfile = picture.colours + bytes(len(picture.colours) % 2)
    if picture.is_jpeg:
        found.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        found.PixelData = encapsulate([picture.data])
        found["PixelData"].VR = "OB"
        found["PixelData"].is_undefined_length = True
    else:
        found.PixelData = picture.data + bytes(len(picture.data) % 2)
        found["PixelData"].VR = "OB"


def _picture(whole: bytes) -> Picture:
    Image.MAX_IMAGE_PIXELS = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(whole), formats=("JPEG", "PNG")) as image:
                if image.width * image.height > MOST_PIXELS or max(image.size) > 65535:
                    raise NotImported(Reason.TOO_MANY_PIXELS, f"{image.width}×{image.height}")
                # Also that it is whole, which a header does not say.
                image.load()
                return _stored(image, whole)
        except (NotImported, MemoryError):
            raise
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
            raise NotImported(Reason.PICTURE_BROKEN) from error


def _stored(image: Image.Image, whole: bytes) -> Picture:
    exif = image.getexif()
    colours, taken = _colours(image), _taken(exif)
    is_upright = exif.get(_TURNED, _UPRIGHT) == _UPRIGHT
    stream = bare_stream(whole) if image.format == "JPEG" and is_upright and image.mode == "RGB" else b""
    size_bytes = image.width * image.height * 3
    if stream:
        is_mixed = image.info.get("adobe_transform", 1) != 0
        photometric = "YBR_FULL_422" if is_mixed else "RGB"
        return Picture(
            stream, True, image.width, image.height, photometric, max(1.01, size_bytes / len(stream)), colours, taken
        )
    upright = _red_green_blue(ImageOps.exif_transpose(image))
    if image.mode not in ("RGB", "RGBA", "P"):
        # The profile is of other colours than those that are stored.
        colours = b""
    if image.format != "JPEG":
        return Picture(upright.tobytes(), False, upright.width, upright.height, "RGB", 1, colours, taken)
    again = io.BytesIO()
    upright.save(again, "JPEG", quality=QUALITY, subsampling="4:2:2")
    data = again.getvalue()
    return Picture(
        bare_stream(data), True, upright.width, upright.height, "YBR_FULL_422", size_bytes / len(whole), colours, taken
    )


def _red_green_blue(image: Image.Image) -> Image.Image:
    """Return a picture in the three colours; what is transparent is white."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    if image.mode.startswith("I"):
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    return image.convert("RGB")


def bare_stream(whole: bytes) -> bytes:
    """Return a JPEG without place, thumbnail, comments and whatever else stands beside the picture.

    Empty where it is not of the one kind that every viewer decodes: baseline, eight bits, one scan.
    """
    at, kept, frame = 2, [whole[:2]], 0
    while at + 4 <= len(whole) and whole[at] == 0xFF:
        marker = whole[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
        if marker == 0xDA:
            last = whole.find(b"\xff\xd9", end)
            is_one = last >= 0 and not re.search(rb"\xff[\xc0-\xc7\xc9-\xcf\xda]", whole[end:last])
            stream = b"".join((*kept, whole[at : last + 2]))
            return stream + bytes(len(stream) % 2) if frame == _BASELINE and is_one else b""
        if marker in range(0xC0, 0xD0) and marker not in (0xC4, 0xC8, 0xCC):
            frame = marker
        if marker in _KEPT_SEGMENTS:
            kept.append(whole[at:end])
        at = end
    return b""


def _colours(image: Image.Image) -> bytes:
    profile = image.info.get("icc_profile") or b""
    is_sound = 128 <= len(profile) <= 1024 * 1024 and profile[36:40] == b"acsp" and profile[16:20] == b"RGB "
    return bytes(profile) if is_sound else b""


def _taken(exif: Image.Exif) -> str:
    """Return when a photo says that it was taken; empty where it does not, or says what is no time."""
    with contextlib.suppress(Exception):  # whatever a phone, or a stranger, wrote there
        details = exif.get_ifd(_DETAILS)
        text, offset = str(details.get(_TAKEN, "")), str(details.get(_OFFSET, ""))
        found = re.fullmatch(
            r"((?:19|20)\d\d):(0[1-9]|1[0-2]):([0-2]\d|3[01]) ([01]\d|2[0-3]):([0-5]\d):([0-5]\d)", text
        )
        if found:
            zone = re.fullmatch(r"([+-](?:0\d|1[0-4])):([0-5]\d)", offset)
            return "".join(found.groups()) + ("".join(zone.groups()) if zone else "")
    return ""
