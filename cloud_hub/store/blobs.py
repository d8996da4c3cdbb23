"""The folder of blobs: `incoming/<transfer>` while a file is received, `blobs/ab/<sha256>` once it is whole.

Every name in it is made by the hub; nothing that came from outside is ever part of a path.  All functions block:
callers run them in threads.  Nothing here says that a chunk is there: the rows of the care store do, and they are
written after `Incoming.sync`.
"""

import contextlib
import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from telemed.transfer import CHUNK_BYTES, chunk_bytes, chunk_hash
from telemed.whole_files import sync_folder

_TRANSFER = re.compile(r"[0-9a-f-]{36}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Room:
    """How full the disk of the folder is."""

    usable_bytes: int
    free_bytes: int

    def used_share(self, more_bytes: int = 0) -> float:
        """Return how much of the disk is in use once so much more is there, 0 to 1 and over."""
        return 1 - (self.free_bytes - more_bytes) / self.usable_bytes if self.usable_bytes else 1.0


class Incoming:
    """One file that is being received; may be used from several threads, also after `close`, when it refuses."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet: the file is made with its first chunk, and its name is on disk with its first sync."""
        self.path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._is_closed = False

    def write_if_right(self, index: int, data: bytes, right_hash: bytes) -> bool:
        """Write a chunk at its place if it matches its hash; return whether it does.

        Raises:
            OSError: the disk would not take it.
        """
        if hashlib.sha256(data).digest() != right_hash:
            return False
        with self._open() as file:
            view, at = memoryview(data), index * CHUNK_BYTES
            while view:
                written = os.pwrite(file, view, at)
                view, at = view[written:], at + written
        return True

    def sync(self) -> None:
        """Return once everything written before is on disk.

        Raises:
            OSError: it is not, and what was written since the last sync must be taken as lost.
        """
        with self._open() as file:
            os.fdatasync(file)

    def wrong_chunks(self, size_bytes: int, hashes: bytes) -> list[int]:
        """Return the chunks whose bytes on disk do not match their hash."""
        with self._open() as file:
            return [
                index
                for index in range(len(hashes) // 32)
                if hashlib.sha256(os.pread(file, chunk_bytes(index, size_bytes), index * CHUNK_BYTES)).digest()
                != chunk_hash(hashes, index)
            ]

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._is_closed = True
            if self._file is not None:
                os.close(self._file)
                self._file = None

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        # Under the lock: a number of a closed file may be another file's by then.
        with self._lock:
            if self._is_closed:
                raise OSError("the file is closed")
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                # Also where it was there: a process that was killed may have made it without this.
                sync_folder(self.path.parent)
            yield self._file


class Blobs:
    """The folder; several transfers may use it at once."""

    def __init__(self, folder: Path) -> None:
        """Make the folders that are not there.

        Raises:
            OSError: they cannot be made.
        """
        self._incoming, self._blobs = folder / "incoming", folder / "blobs"
        for each in (self._incoming, self._blobs):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder = folder

    def incoming(self, transfer_id: str) -> Incoming:
        """Return the file of a transfer, made with its first chunk."""
        return Incoming(self._incoming_path(transfer_id))

    def holds_bytes(self, transfer_id: str) -> int:
        """Return how long the file of a transfer is; 0 where there is none."""
        path = self._incoming_path(transfer_id)
        return path.stat().st_size if path.exists() else 0

    def whole_hash(self, transfer_id: str, sha256: str) -> str | None:
        """Return the hash of a transfer's file, or of the blob it has become; None where neither is there."""
        for path in (self._incoming_path(transfer_id), self.path(sha256)):
            with contextlib.suppress(FileNotFoundError):
                return file_hash(path)
        return None

    def publish(self, transfer_id: str, sha256: str) -> None:
        """Give a whole, verified file its final name; on disk when this returns, harmless when done before.

        Raises:
            OSError: it is not on disk.
        """
        source, target = self._incoming_path(transfer_id), self.path(sha256)
        _make_synced(target.parent)
        with contextlib.suppress(FileNotFoundError):
            _sync_file(source)
            source.replace(target)
        sync_folder(target.parent)
        sync_folder(self._incoming)

    def keep(self, source: Path) -> tuple[str, int, bytes]:
        """Copy a file of the hub's own into the folder; return its hash, its size in bytes and its chunk hashes.

        Raises:
            OSError: it cannot be read or kept.
        """
        name = f"own-{os.getpid()}-{threading.get_ident()}"
        copy = self._incoming / name
        try:
            with source.open("rb") as found, copy.open("wb") as made:
                shutil.copyfileobj(found, made, _READ_BYTES)
            sha256, hashes = file_hashes(copy)
            size_bytes = copy.stat().st_size
            target = self.path(sha256)
            _make_synced(target.parent)
            _sync_file(copy)
            copy.replace(target)
            sync_folder(target.parent)
        finally:
            copy.unlink(missing_ok=True)
        return sha256, size_bytes, hashes

    def scratch(self) -> Path:
        """Return a name for a file of the hub's own that is not whole; what is left there goes at the next start."""
        return self._incoming / f"own-{uuid.uuid4()}"

    def read_if_right(self, sha256: str, index: int, size_bytes: int, right_hash: bytes) -> bytes | None:
        """Return a chunk of a blob; None where its bytes on disk no longer match their hash.

        Raises:
            OSError: the blob is not there or cannot be read.
        """
        with self.path(sha256).open("rb") as file:
            data = os.pread(file.fileno(), chunk_bytes(index, size_bytes), index * CHUNK_BYTES)
        return data if hashlib.sha256(data).digest() == right_hash else None

    def drop(self, transfer_id: str) -> None:
        """Delete what was received of a transfer; harmless when there is nothing."""
        self._incoming_path(transfer_id).unlink(missing_ok=True)

    def forget(self, sha256: str) -> bool:
        """Delete a blob, for good when this returns; False where there was none.

        Raises:
            OSError: it cannot be deleted.
        """
        path = self.path(sha256)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        sync_folder(path.parent)
        return True

    def drop_strays(self, known: set[str]) -> int:
        """Delete files of transfers that are not known; return how many.  Only before anything is received."""
        strays = [path for path in self._incoming.iterdir() if path.name not in known]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)

    def path(self, sha256: str) -> Path:
        """Return where a blob lies.

        Raises:
            ValueError: that is no hash.
        """
        if not _SHA256.fullmatch(sha256):
            raise ValueError("not a SHA-256 in hex digits")
        return self._blobs / sha256[:2] / sha256

    def room(self) -> Room:
        """Return how full the disk is, for a program without root's reserve."""
        disk = os.statvfs(self.folder)
        usable = disk.f_blocks - disk.f_bfree + disk.f_bavail
        return Room(usable * disk.f_frsize, disk.f_bavail * disk.f_frsize)

    def _incoming_path(self, transfer_id: str) -> Path:
        if not _TRANSFER.fullmatch(transfer_id):
            raise ValueError("not a transfer of ours")
        return self._incoming / transfer_id


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hashes(path: Path) -> tuple[str, bytes]:
    """Return the SHA-256 of a file in hex digits, and those of its chunks put together."""
    whole, chunks = hashlib.sha256(), bytearray()
    with path.open("rb") as file:
        while data := file.read(CHUNK_BYTES):
            whole.update(data)
            chunks += hashlib.sha256(data).digest()
    return whole.hexdigest(), bytes(chunks)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _make_synced(folder: Path) -> None:
    folder.mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder.parent)
