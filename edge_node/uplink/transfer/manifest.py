"""What names a file and its chunks."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from telemed.transfer import CHUNK_BYTES, LARGEST_FILE_BYTES, manifest_hash

from edge_node.errors import FileUnusable


@dataclass(frozen=True, slots=True)
class Manifest:
    """Hash and size of a file, and the hashes of its chunks."""

    sha256: str
    size_bytes: int
    chunk_hashes: bytes

    @property
    def hash(self) -> bytes:
        """Hash that names the chunk hashes."""
        return manifest_hash(self.chunk_hashes)


def of_file(path: Path, copy_to: BinaryIO | None = None) -> Manifest:
    """Read a file once and return its manifest; what is read is written to `copy_to` too, if given.  Blocking.

    Raises:
        FileUnusable: it is no regular file, empty, too large, or cannot be read.
        OSError: the copy could not be written.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileUnusable(f"{path.name}: cannot be read: {error.strerror}") from error
    with file:
        if not path.is_file():
            raise FileUnusable(f"{path.name}: is no regular file")
        whole, chunks, size_bytes = hashlib.sha256(), bytearray(), 0
        while data := file.read(CHUNK_BYTES):
            whole.update(data)
            chunks += hashlib.sha256(data).digest()
            size_bytes += len(data)
            if size_bytes > LARGEST_FILE_BYTES:
                raise FileUnusable(f"{path.name}: over the limit of 2 GiB")
            if copy_to is not None:
                copy_to.write(data)
    if not size_bytes:
        raise FileUnusable(f"{path.name}: is empty")
    return Manifest(whole.hexdigest(), size_bytes, bytes(chunks))


def sync(path: Path) -> None:
    """Return once the content of a file is on disk.  Blocking."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
