"""Photos and documents: what is shown is what was taken, nothing else comes along, and bad ones are refused."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pypdf
import pytest
from PIL import Image, ImageCms
from pydicom import Dataset
from pydicom.encaps import generate_frames

from edge_node.importing import photo
from edge_node.importing.reasons import NotImported, Reason
from tests.edge_node.importing.conftest import Make

WIDE, HIGH = 48, 32
TAKEN = "2026:11:20 08:15:30"
GPS = 0x8825


def picture(mode: str = "RGB") -> Image.Image:
    """Red above, blue below, the left third bright: no turn or mirror image looks like it."""
    pixels = np.zeros((HIGH, WIDE, 3), np.uint8)
    pixels[: HIGH // 2, :, 0], pixels[HIGH // 2 :, :, 2] = 160, 160
    pixels[:, : WIDE // 3] += 80
    return Image.fromarray(pixels).convert(mode)


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(turned: int = 1) -> Image.Exif:
    """What a phone writes beside a picture."""
    told = Image.Exif()
    told[0x0112] = turned
    told[0x010F] = "Somebody's phone"
    told.get_ifd(0x8769).update({0x9003: TAKEN, 0x9011: "+08:00"})
    told.get_ifd(GPS).update({1: "N", 2: (30.0, 40.0, 0.0)})
    return told


def shown(made: Dataset) -> np.ndarray[Any, Any]:
    """Return the pixels as a viewer decodes them."""
    if made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1":
        return np.frombuffer(made.PixelData, np.uint8)[: made.Rows * made.Columns * 3].reshape(
            made.Rows, made.Columns, 3
        )
    (frame,) = generate_frames(made.PixelData, number_of_frames=1)
    return np.asarray(Image.open(io.BytesIO(frame)).convert("RGB"))


@pytest.mark.parametrize("turned", range(1, 9))
def test_a_photo_stands_upright_however_the_phone_was_held(make: Make, turned: int) -> None:
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    held = picture().transpose(Image.Transpose(back[turned])) if turned in back else picture()
    (made,) = make("p.jpg", saved(held, exif=exif(turned), quality=95))
    assert (made.Columns, made.Rows) == (WIDE, HIGH)
    assert np.abs(shown(made).astype(int) - np.asarray(picture()).astype(int)).mean() < 6


def test_nothing_that_the_phone_wrote_beside_the_picture_comes_along(make: Make) -> None:
    for turned in (1, 6):
        (made,) = make("p.jpg", saved(picture(), exif=exif(turned), comment=b"secret place"))
        file = io.BytesIO()
        made.save_as(file, enforce_file_format=True)
        for trace in (b"Exif", b"secret place", b"Somebody"):
            assert trace not in file.getvalue()
        assert made.AcquisitionDateTime == "20261120081530+0800"


def test_a_photo_that_needs_no_turning_is_not_compressed_again(make: Make) -> None:
    whole = saved(picture(), quality=80)
    (made,) = make("p.jpeg", whole)
    (frame,) = generate_frames(made.PixelData, number_of_frames=1)
    assert frame[-100:].rstrip(b"\0")[-50:] == whole[-50:]
    assert (np.asarray(Image.open(io.BytesIO(frame))) == np.asarray(Image.open(io.BytesIO(whole)))).all()
    assert made.LossyImageCompression == "01"


@pytest.mark.parametrize(
    ("name", "content", "syntax"),
    [
        ("p.jpg", saved(picture(), progressive=True, quality=95), "1.2.840.10008.1.2.4.50"),
        ("p.jpg", saved(picture("CMYK"), quality=95), "1.2.840.10008.1.2.4.50"),
        ("p.png", saved(picture(), "PNG"), "1.2.840.10008.1.2.1"),
        ("p.png", saved(picture("RGBA"), "PNG"), "1.2.840.10008.1.2.1"),
        ("p.png", saved(picture("P"), "PNG"), "1.2.840.10008.1.2.1"),
    ],
)
def test_pictures_of_other_kinds_show_the_same(make: Make, name: str, content: bytes, syntax: str) -> None:
    (made,) = make(name, content)
    assert made.file_meta.TransferSyntaxUID == syntax
    assert np.abs(shown(made).astype(int) - np.asarray(picture()).astype(int)).mean() < 12
    assert made.LossyImageCompression == ("00" if name == "p.png" else "01")


def test_a_grey_picture_of_sixteen_bits_keeps_its_greys(make: Make) -> None:
    greys = (np.arange(HIGH * WIDE, dtype=np.uint16) * 42).reshape(HIGH, WIDE)
    (made,) = make("p.png", saved(Image.fromarray(greys), "PNG"))
    assert np.abs(shown(made)[:, :, 0].astype(int) - greys // 256).max() <= 1


def test_the_colours_of_a_photo_are_named(make: Make) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (made,) = make("p.jpg", saved(picture(), icc_profile=profile))
    assert made.ICCProfile.rstrip(b"\0") == profile.rstrip(b"\0")
    (made,) = make("p.jpg", saved(picture(), icc_profile=b"x" * 500))
    assert "ICCProfile" not in made


def bomb() -> bytes:
    """A small file that says it is a picture of 3.6 thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">2I5B", 60000, 60000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


def encrypted() -> bytes:
    writer, file = pypdf.PdfWriter(), io.BytesIO()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-40")
    writer.write(file)
    return file.getvalue()


def plain(pages: int = 1) -> bytes:
    writer, file = pypdf.PdfWriter(), io.BytesIO()
    for _ in range(pages):
        writer.add_blank_page(100, 100)
    writer.write(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("p.jpg", saved(picture())[:-200], Reason.PICTURE_BROKEN),
        ("p.jpg", b"\xff\xd8\xff\xe0nothing", Reason.PICTURE_BROKEN),
        ("p.png", saved(picture(), "PNG")[:60], Reason.PICTURE_BROKEN),
        ("p.png", bomb(), Reason.TOO_MANY_PIXELS),
        ("p.jpg", saved(picture(), "PNG"), Reason.KIND_DIFFERS),
        ("p.heic", b"\0\0\0\x18ftypheic" + bytes(100), Reason.NO_HEIC),
        ("p.jpg", b"\0\0\0\x18ftypheic" + bytes(100), Reason.NO_HEIC),
        ("p.exe", b"MZ", Reason.KIND_UNKNOWN),
        ("p.pdf", encrypted(), Reason.PDF_ENCRYPTED),
        ("p.pdf", b"%PDF-1.7\nnothing more", Reason.PDF_BROKEN),
        ("p.pdf", plain(0), Reason.PDF_BROKEN),
        ("p.pdf", b"no pdf", Reason.KIND_DIFFERS),
    ],
)
def test_a_bad_picture_or_document_is_refused(make: Make, name: str, content: bytes, reason: Reason) -> None:
    with pytest.raises(NotImported) as refusal:
        make(name, content)
    assert refusal.value.reason is reason


def test_a_photo_is_no_mr_and_a_document_no_photo(make: Make) -> None:
    for name, content, modality in (("p.jpg", saved(picture()), "MR"), ("p.pdf", plain(), "XC")):
        with pytest.raises(NotImported) as refusal:
            make(name, content, modality=modality)
        assert refusal.value.reason is Reason.MODALITY_UNFIT


def test_a_pdf_is_wrapped_byte_for_byte(make: Make, shared_data: Path) -> None:
    for content in (shared_data.joinpath("dicom", "HelloWorld.pdf").read_bytes(), plain(), plain() + b"\n"):
        (made,) = make("p.pdf", content)
        assert made.EncapsulatedDocument[: made.EncapsulatedDocumentLength] == content
        assert (made.Modality, made.MIMETypeOfEncapsulatedDocument) == ("DOC", "application/pdf")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jpg", saved(picture(), exif=exif())),
        ("p.jpg", saved(picture(), exif=exif(6))),
        ("p.jpg", saved(picture("L"))),
        ("p.png", saved(picture(), "PNG")),
        ("p.pdf", plain()),
    ],
)
def test_dciodvfy_finds_no_error(make: Make, faults: Callable[[Dataset], list[str]], name: str, content: bytes) -> None:
    for said in ({}, {"study_date": "", "description": ""}):
        (made,) = make(name, content, **said)
        assert faults(made) == []


@pytest.mark.parametrize("at", [0, 1, 2, 3, 5, 20, 100, 300])
def test_a_jpeg_that_is_cut_or_spoilt_anywhere_is_no_bare_stream_or_a_whole_one(at: int) -> None:
    whole = saved(picture())
    assert photo.bare_stream(whole[:at]) == b""
    spoilt = whole[:at] + b"\xff\xff" + whole[at + 2 :]
    assert photo.bare_stream(spoilt)[:2] in (b"", spoilt[:2])
