"""Copies a file that is to be imported, and the one that it names, to where nobody else writes.  All block."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edge_node.importing import kinds
from edge_node.importing.kinds import HEAD_BYTES, Kind
from edge_node.importing.reasons import NotImported, Reason

MIB = 1024 * 1024
LARGEST_BYTES = 1024 * MIB
_PIECE_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was copied."""

    path: Path
    """Of the copy; one that the file names lies beside it under its own name."""
    kind: Kind
    sha256: str
    """Of the file and of what it names."""
    names: tuple[str, ...]
    """Of both, in their own folder."""


def gather(path: Path, folder: Path) -> Gathered:
    """Copy into an empty folder.

    Raises:
        NotImported: of no known kind, not there, too large, or it names what lies elsewhere.
        OSError: it cannot be read, or not be copied.
    """
    whole = hashlib.sha256()
    with _opened(path) as file:
        head = file.read(HEAD_BYTES)
        kind = kinds.kind_of(path.name, head)
        file.seek(0)
        # Not under its own name, which may be anything.
        copy = folder / f"file{kinds.ending(path.name)}"
        _copy(file, copy, whole)
    named = kinds.data_file(kind, head)
    names = [path.name]
    if named:
        if named in (path.name, copy.name):
            raise NotImported(Reason.PATH_OUTSIDE)
        with _opened(path.with_name(named)) as file:
            _copy(file, folder / named, whole)
        names.append(named)
    return Gathered(copy, kind, whole.hexdigest(), tuple(names))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file, not through a link.

    Raises:
        NotImported: there is none.
    """
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NotImported(Reason.FILE_MISSING, error.strerror or "") from error
    with os.fdopen(opened, "rb") as file:
        told = os.fstat(file.fileno())
        if not stat.S_ISREG(told.st_mode):
            raise NotImported(Reason.FILE_MISSING)
        if told.st_size > LARGEST_BYTES:
            raise NotImported(Reason.FILE_TOO_LARGE, f"{told.st_size // MIB} MiB > {LARGEST_BYTES // MIB} MiB")
        yield file


def _copy(file: BinaryIO, to: Path, whole: "hashlib._Hash") -> None:
    size_bytes = 0
    with to.open("xb") as copy:
        while piece := file.read(_PIECE_BYTES):
            size_bytes += len(piece)
            if size_bytes > LARGEST_BYTES:
                raise NotImported(Reason.FILE_TOO_LARGE)
            whole.update(piece)
            copy.write(piece)
    # Two files are not the same as one that holds both.
    whole.update(size_bytes.to_bytes(8, "big"))
