"""Small DICOM files for tests, and ones that were made to harm whoever reads them."""

import io
import struct
import warnings
import zlib
from typing import Any

import pydicom
from pydicom import FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def image(study: str = "1.2.3", series: str = "1.2.3.4", instance: str = "1.2.3.4.5", **more: Any) -> bytes:
    """Return a CT slice of four by four pixels whose values are 0 to 15; what is named otherwise may be wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _image(study, series, instance, more)


def _image(study: str, series: str, instance: str, more: dict[str, Any]) -> bytes:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CT, instance  # type: ignore[assignment]
    found = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    found.set_original_encoding(False, True, "utf8")
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192",
        "SOPClassUID": CT,
        "SOPInstanceUID": instance,
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "StudyDate": "20261120",
        "StudyTime": "073015",
        "Modality": "CT",
        "PatientName": "Gu^Yu=谷^雨",
        "PatientID": "P-0093",
        "SeriesNumber": "2",
        "InstanceNumber": "1",
        "Rows": 4,
        "Columns": 4,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": struct.pack("<16H", *range(16)),
    }
    for name, value in (values | more).items():
        if value is not None:
            setattr(found, name, value)
    made = io.BytesIO()
    pydicom.dcmwrite(made, found, enforce_file_format=True)
    return made.getvalue()


def _element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH", group, number) + vr
    long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    return head + (struct.pack("<xxI", len(value)) if long else struct.pack("<H", len(value))) + value


def _file(syntax: str, data_set: bytes) -> bytes:
    meta = (
        _element(2, 2, b"UI", CT.encode()) + _element(2, 3, b"UI", b"1.2.3") + _element(2, 0x10, b"UI", syntax.encode())
    )
    return bytes(128) + b"DICM" + _element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta + data_set


def nested(depth: int) -> bytes:
    """Return a file whose sequences lie so deep within each other."""
    begin = struct.pack("<HH2sxxI", 0x0040, 0xA730, b"SQ", 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return _file(ExplicitVRLittleEndian, begin * depth)


def deflate_bomb(mib: int) -> bytes:
    """Return a file of some kilobytes that inflates to so many MiB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = struct.pack("<HH2sxxI", 0x0009, 0x1001, b"OB", mib << 20)
    packed = packer.compress(head) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(mib)) + packer.flush()
    return _file(DEFLATED, packed)


def endless_length() -> bytes:
    """Return a file whose one element claims four gigabytes."""
    return _file(ExplicitVRLittleEndian, struct.pack("<HH2sxxI", 0x0008, 0x0018, b"UN", 0xFFFFFFFE) + b"1.2.3")


def many_items(mib: int) -> bytes:
    """Return a file with a sequence of so many MiB of empty items, each of which costs its reader a hundredfold."""
    begin = struct.pack("<HH2sxxI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF)
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * ((mib << 20) // 8)
    return _file(ExplicitVRLittleEndian, begin + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
