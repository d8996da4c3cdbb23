"""A file of the DICOM file format around a data set as it came (PS3.10 section 7).  Pure.

Preamble and file meta information are ours and say nothing but what the data set is: the same object gives the same
file, whoever brought it.
"""

import struct
from dataclasses import dataclass

from edge_node.imaging.elements import Malformed, walked
from edge_node.imaging.syntax import Syntax

PREAMBLE_BYTES = 128
MAGIC = b"DICM"
_VERSION = b"\0\1"
_META_GROUP, _META_LIMIT_BYTES = 0x0002, 64 * 1024
IMPLEMENTATION_UID, NAME = "2.25.147695743970750209222945128715663580455", "YUANZHEN"
"""Never changed with the version, or the same object would give another file."""


def head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str) -> bytes:
    """Return what stands in front of a data set in a file: a preamble of zeros, and the file meta information."""
    meta = b"".join(
        (
            struct.pack("<HH2sHL", 0x0002, 0x0001, b"OB", 0, len(_VERSION)) + _VERSION,
            _short(0x0002, b"UI", sop_class_uid),
            _short(0x0003, b"UI", sop_instance_uid),
            _short(0x0010, b"UI", transfer_syntax),
            _short(0x0012, b"UI", IMPLEMENTATION_UID),
            _short(0x0013, b"SH", NAME),
        )
    )
    length = struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(meta))
    return bytes(PREAMBLE_BYTES) + MAGIC + length + meta


@dataclass(frozen=True, slots=True)
class Parted:
    """A file taken apart."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data: bytes
    """The data set, exactly as it lies in the file."""


def parted(file: bytes) -> Parted:
    """Take a file apart; its preamble is passed over, whatever stands in it (PS3.10 section 7.5).

    Raises:
        ValueError: it is no file of this format, or its meta information does not say how it is written.
    """
    begin = PREAMBLE_BYTES + len(MAGIC)
    if file[PREAMBLE_BYTES:begin] != MAGIC:
        raise ValueError("no DICOM file")
    # Meta information is short; what is longer is none.
    meta = file[begin : begin + _META_LIMIT_BYTES]
    found: dict[int, str] = {}
    end = 0
    try:
        for element in walked(meta, Syntax()):
            if element.tag >> 16 != _META_GROUP:
                break
            end = element.at + element.size_bytes
            found[element.tag] = meta[element.at : end].rstrip(b"\0 ").decode("latin-1")
    except Malformed as error:
        # It may be cut by our own limit behind the meta information.
        if not found:
            raise ValueError("no meta information") from error
    syntax = found.get(0x00020010, "")
    if not syntax or end > len(meta):
        raise ValueError("no transfer syntax")
    return Parted(found.get(0x00020002, ""), found.get(0x00020003, ""), syntax, file[begin + end :])


def _short(number: int, representation: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if representation == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, representation, len(value)) + value
