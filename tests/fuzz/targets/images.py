"""What modalities send and people lay into a folder: data sets, and files around them."""

import zlib
from collections.abc import Iterable

from edge_node.imaging import part10
from edge_node.imaging.content import NotUnderstood, announced
from edge_node.imaging.pipe import Stored, pack, unpack
from edge_node.imaging.reading import read
from edge_node.imaging.syntax import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE
from tests.fakes.dicom import CT, Picture, data_set, element, implicit, item, nested
from tests.fuzz.target import SHARED_DATA, Target

SYNTAXES = (EXPLICIT_LITTLE, IMPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED, "1.2.840.10008.1.2.4.50", "1.2.840.113619.5.2")
LIMIT_BYTES = 1024 * 1024


def data_sets(data: bytes) -> None:
    """Pass where a data set is not understood, or is told to the node as it was read.

    The first byte says how the others are written.
    """
    if not data:
        return
    syntax = SYNTAXES[data[0] % len(SYNTAXES)]
    try:
        found = read(data[1:], syntax, LIMIT_BYTES)
        found = announced(found, found.sop_class_uid or CT, found.sop_instance_uid or "1.2.3")
    except NotUnderstood:
        return
    stored = Stored(1, "a" * 64, len(data), syntax, "CT-ROOM", found)
    assert unpack(pack(stored)) == stored


def files(data: bytes) -> None:
    """Pass where a file is refused, or its data set is the end of it."""
    try:
        found = part10.parted(data)
    except ValueError:
        return
    assert data.endswith(found.data)
    assert len(found.data) < len(data)


def sets_as_they_should_be() -> Iterable[bytes]:
    """Data sets, each behind the number of its syntax."""
    plain = data_set(Picture(before=nested(3, is_open=True) + nested(2, is_open=False)))
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    yield b"\0" + plain
    yield b"\3" + packer.compress(plain) + packer.flush()
    yield b"\1" + implicit(0x00080016, CT.encode()) + implicit(0x00081140, item(implicit(0x00081155, b"1.2")))
    fragments = item(b"") + item(b"\xff\xd8ab") + b"\xfe\xff\xdd\xe0\0\0\0\0"
    yield b"\4" + plain[: plain.index(b"\xe0\x7f\x10\0")] + element(0x7FE00010, "OB", b"", 0xFFFFFFFF) + fragments
    yield b"\0" + element(0x00080005, "CS", b"ISO 2022 IR 58") + element(0x00100010, "PN", b"Gu=\x1b$)A\xb9\xc8")


def files_as_they_should_be() -> Iterable[bytes]:
    """A file of ours, and small ones of others."""
    yield part10.head(CT, "1.2.3.4.1", EXPLICIT_LITTLE) + data_set(Picture())
    for path in sorted(SHARED_DATA.glob("dicom/orthanc/*.dcm")):
        yield path.read_bytes()


DATA_SET = Target(
    "dicom-data-set",
    "A data set is not understood, or what is kept of it can be told to the node.",
    data_sets,
    sets_as_they_should_be,
)
FILE = Target(
    "dicom-file",
    "A file is refused, or taken apart without a byte of its data set lost.",
    files,
    files_as_they_should_be,
)
