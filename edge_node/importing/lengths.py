"""Whether a volume's file has as many bytes of data as its header says.  Blocking; in the converting process alone.

The library's readers pass over what is too long, and some over what is too short.
"""

import re
from pathlib import Path

from edge_node.importing import kinds
from edge_node.importing.kinds import HEAD_BYTES, Kind
from edge_node.importing.reasons import NotImported, Reason

GIPL_HEAD_BYTES = 256


def check(path: Path, kind: Kind, data_bytes: int) -> None:
    """Pass where the data are as long as they must be.

    Args:
        path: of the file.
        kind: MetaImage, NRRD or GIPL.
        data_bytes: what voxels of that number and kind have.

    Raises:
        NotImported: they are longer or shorter.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if kind is Kind.GIPL:
        _fits(path.stat().st_size, GIPL_HEAD_BYTES + data_bytes)
    elif kind is Kind.META:
        _check_meta(path, head, data_bytes)
    else:
        _check_nrrd(path, head, data_bytes)


def _check_meta(path: Path, head: bytes, data_bytes: int) -> None:
    told = kinds.entries(Kind.META, head)
    named = kinds.data_file(Kind.META, head)
    if told.get("compresseddata", "").lower() in ("true", "t", "1", "yes"):
        # The library inflates into what the header says and finds out by itself.
        return
    if named:
        skipped = told.get("headersize", "0")
        size_bytes = path.with_name(named).stat().st_size
        # -1: the data are what stands last in the file.
        if skipped == "-1":
            _fits(min(size_bytes, data_bytes), data_bytes)
        else:
            _fits(size_bytes, data_bytes + (int(skipped) if re.fullmatch("[0-9]{1,18}", skipped) else 0))
        return
    at = head.find(b"\n", head.lower().find(b"elementdatafile"))
    if at < 0:
        raise NotImported(Reason.HEADER_BROKEN)
    _fits(path.stat().st_size, at + 1 + data_bytes)


def _check_nrrd(path: Path, head: bytes, data_bytes: int) -> None:
    told = kinds.entries(Kind.NRRD, head)
    named = kinds.data_file(Kind.NRRD, head)
    if told.get("encoding", "raw").lower() != "raw" or told.keys() & {"line skip", "lineskip"}:
        # As above.
        return
    if named:
        _fits(path.with_name(named).stat().st_size, data_bytes)
        return
    ends = [head.index(end) + len(end) for end in (b"\n\n", b"\r\n\r\n") if end in head]
    if not ends:
        raise NotImported(Reason.HEADER_BROKEN)
    _fits(path.stat().st_size, min(ends) + data_bytes)


def _fits(size_bytes: int, expected_bytes: int) -> None:
    if size_bytes != expected_bytes:
        raise NotImported(Reason.LENGTH_DIFFERS, f"{size_bytes} / {expected_bytes}")
