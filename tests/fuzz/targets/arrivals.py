"""What comes by HTTPS and as files to be made into DICOM: multipart bodies, headers of volumes, photos, a few lines."""

import gzip
import struct
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
from telemed.parts_in import Begin, NoParts, PartsIn

from edge_node.importing import asking, kinds, lengths, nifti, photo, told_numbers
from edge_node.importing.kinds import HEAD_BYTES, Kind
from edge_node.importing.reasons import NotImported
from tests.fuzz.target import Target, scratch

Parts = list[bytes] | None
"""Contents of the parts; None where the body is refused."""
NAMES = ("a.mhd", "a.mha", "a.nrrd", "a.nhdr", "a.nii", "a.nii.gz", "a.gipl", "a.jpg", "a.png", "a.pdf")
DATA_BYTES = 24


def bodies(data: bytes) -> None:
    """Pass where the same parts are found however the body is cut on its way, or it is refused each time."""
    whole = _split([data])
    assert _split([data[at : at + 7] for at in range(0, len(data), 7)]) == whole
    if whole is not None:
        assert sum(map(len, whole)) <= len(data)


def _split(pieces: list[bytes]) -> Parts:
    parts, found = PartsIn("Kx7_"), list[bytes]()
    try:
        for piece in pieces:
            for event in parts.feed(piece):
                if isinstance(event, Begin):
                    found.append(b"")
                elif isinstance(event, bytes):
                    found[-1] += event
        parts.close()
    except NoParts:
        return None
    return found


def bodies_as_they_should_be() -> Iterable[bytes]:
    """Bodies of one and two parts."""
    part = b"--Kx7_\r\nContent-Type: application/dicom\r\n\r\nDICM\r\n-\r\n"
    yield part + b"--Kx7_--\r\n"
    yield b"before\r\n" + part + part + b"--Kx7_-- \r\nbehind"


@cache
def _folder() -> Path:
    return scratch()


def headers(data: bytes) -> None:
    """Pass where a file is of a kind and looked at, or refused by a reason of ours.

    The first byte says by which name it comes.
    """
    if not data:
        return
    name, content = NAMES[data[0] % len(NAMES)], data[1:]
    path = _folder() / name
    path.write_bytes(content)
    (_folder() / "d.raw").write_bytes(bytes(DATA_BYTES))
    try:
        kind = kinds.kind_of(name, content[:HEAD_BYTES])
        LOOKS.get(kind, _nothing)(path, kind)
    except (NotImported, OSError):
        # No file of the name that a header gives: the looks are told to raise that too.
        return


def _text_header(path: Path, kind: Kind) -> None:
    named = kinds.data_file(kind, path.read_bytes()[:HEAD_BYTES])
    assert "/" not in named
    told_numbers.check(path, kind, 3)
    lengths.check(path, kind, DATA_BYTES)


def _nifti(path: Path, _: Kind) -> None:
    told = nifti.head(path)
    nifti.check_axes(told)
    nifti.check(path, told, DATA_BYTES)


def _jpeg(path: Path, _: Kind) -> None:
    whole = path.read_bytes()
    # Filled up to an even length, as DICOM has it.
    assert len(photo.bare_stream(whole)) <= len(whole) + len(whole) % 2


def _nothing(_: Path, __: Kind) -> None:
    pass


LOOKS: dict[Kind, Callable[[Path, Kind], None]] = {
    Kind.META: _text_header,
    Kind.NRRD: _text_header,
    Kind.NIFTI: _nifti,
    Kind.JPEG: _jpeg,
}


def headers_as_they_should_be() -> Iterable[bytes]:
    """One file of each kind that is looked at here."""
    meta = b"ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementSpacing = 1 1 2\nElementType = MET_UCHAR\n"
    yield b"\0" + meta + b"HeaderSize = 0\nElementDataFile = d.raw\n"
    yield b"\1" + meta + b"TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementDataFile = LOCAL\n" + bytes(DATA_BYTES)
    nrrd = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nspacings: 1 1 2\nencoding: raw\n"
    yield b"\2" + nrrd + b"\n" + bytes(DATA_BYTES)
    yield b"\3" + nrrd + b"data file: d.raw\n\n"
    head = bytearray(348)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<hh", head, 70, 2, 8)
    struct.pack_into("<4f", head, 76, 1, 1, 1, 2)
    struct.pack_into("<f", head, 108, 352)
    struct.pack_into("<hh", head, 252, 1, 1)
    head[280:328] = np.diag([1, 1, 2, 1])[:3].astype("<f4").tobytes()
    head[344:348] = b"n+1\0"
    whole = bytes(head) + bytes(4 + DATA_BYTES)
    yield b"\4" + whole
    yield b"\5" + gzip.compress(whole, mtime=0)
    yield b"\7\xff\xd8\xff\xe0\0\4ab\xff\xdb\0\4cd\xff\xda\0\4ef\1\2\3\xff\xd9"


def lines(data: bytes) -> None:
    """Pass where the lines beside a file are refused by name, or say the same when they are written again."""
    try:
        said = asking.load(data)
    except NotImported:
        return
    assert asking.load(asking.dump(said)) == said


def lines_as_they_should_be() -> Iterable[bytes]:
    """All that may be said, and the least."""
    all_said = (
        'patient = "P-0093"\nissuer = "YZ"\nmodality = "CT"\ndescription = "胸"\ndate = 2026-11-20\naxes = "RAS"\n'
    )
    yield all_said.encode()
    yield b'patient = "P-0093"\n'


MULTIPART = Target(
    "multipart",
    "Parts are the same however a body is cut on its way, or it is refused each time.",
    bodies,
    bodies_as_they_should_be,
)
HEADER = Target(
    "import-header",
    "A file is looked at, or refused by one of the reasons that are told to people.",
    headers,
    headers_as_they_should_be,
)
LINES = Target(
    "import-lines",
    "The lines beside a file are refused by name, or say the same when they are written again.",
    lines,
    lines_as_they_should_be,
)
