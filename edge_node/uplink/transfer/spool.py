"""The folder of content: `up/<sha256>` waits to be sent, `down/<sha256>` was fetched, `incoming/` is half-way.

Every name is made here.  All functions block.  Whoever adds content and the row that needs it holds `adding`,
whoever deletes content that no row needs holds `removing`: so a command line beside a running node is safe.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from uuid import uuid4

from telemed.transfer import CHUNK_BYTES, chunk_bytes, chunk_count, chunk_hash
from telemed.whole_files import sync_folder

from edge_node import disk_share
from edge_node.uplink.transfer import manifest
from edge_node.uplink.transfer.manifest import Manifest


class Spool:
    """One node's spool."""

    def __init__(self, folder: Path) -> None:
        """Make the folders that are not there.

        Raises:
            OSError: they cannot be made.
        """
        self.folder = folder
        self._up, self._down, self._incoming = folder / "up", folder / "down", folder / "incoming"
        for each in (self._up, self._down, self._incoming):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Also where they were there: whoever made them may have been killed before this.
        for each in (folder.parent, folder):
            sync_folder(each)

    @contextlib.contextmanager
    def adding(self) -> Iterator[None]:
        """Keep content from being deleted until the row that needs it is committed."""
        with self._lock_file().open("w") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextlib.contextmanager
    def removing(self) -> Iterator[bool]:
        """Keep others from adding content; gives False where somebody is adding right now: do it later."""
        with self._lock_file().open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True

    def take_link(self, source: Path) -> Manifest:
        """Take in a file that nobody will change any more: linked where the disk allows, else copied.

        Its content and name are on disk when this returns.

        Raises:
            FileUnusable: it cannot be sent.
            OSError: it cannot be kept.
        """
        source = source.resolve()
        found = manifest.of_file(source)
        link = self._incoming / f"link-{uuid4().hex}"
        try:
            manifest.sync(source)
            link.hardlink_to(source)
        except OSError:
            # Another file system, or one without links.
            return self.take_copy(source)
        self._name(link, found.sha256)
        return found

    def take_copy(self, source: Path) -> Manifest:
        """Take in a file as it is now, whatever happens to it afterwards; on disk when this returns.

        Raises:
            FileUnusable: it cannot be sent.
            OSError: it cannot be kept.
        """
        copy = self._incoming / f"copy-{uuid4().hex}"
        try:
            with copy.open("wb") as file:
                found = manifest.of_file(source, file)
                file.flush()
                os.fsync(file.fileno())
            self._name(copy, found.sha256)
        finally:
            copy.unlink(missing_ok=True)
        return found

    def read_if_right(self, sha256: str, index: int, size_bytes: int, right_hash: bytes) -> bytes | None:
        """Return a chunk of a file that waits; None where it is gone, was changed, or the disk damaged it."""
        try:
            with (self._up / sha256).open("rb") as file:
                data = os.pread(file.fileno(), chunk_bytes(index, size_bytes), index * CHUNK_BYTES)
        except OSError:
            return None
        return data if hashlib.sha256(data).digest() == right_hash else None

    def waiting(self) -> list[str]:
        """Return the hashes of all content that lies ready to be sent."""
        return sorted(path.name for path in self._up.iterdir())

    def waiting_path(self, sha256: str) -> Path:
        """Return where content lies that is ready to be sent."""
        return self._up / sha256

    def drop_others(self, up: Iterable[str], down: Iterable[str]) -> int:
        """Delete content that is not named, finished or half-way; return how many files.  Only under `removing`."""
        keep = {self._up: set(up), self._down: set(down), self._incoming: set(down)}
        strays = [path for folder, names in keep.items() for path in folder.iterdir() if path.name not in names]
        for path in strays:
            path.unlink(missing_ok=True)
        return len(strays)

    def fetched(self, sha256: str) -> Path:
        """Return where a file that was fetched lies."""
        return self._down / sha256

    def write_if_right(self, sha256: str, index: int, data: bytes, right_hash: bytes) -> bool:
        """Write a fetched chunk at its place if it matches its hash; return whether it does.

        Raises:
            OSError: the disk would not take it.
        """
        if hashlib.sha256(data).digest() != right_hash:
            return False
        with self._half_way(sha256) as file:
            view, at = memoryview(data), index * CHUNK_BYTES
            while view:
                written = os.pwrite(file, view, at)
                view, at = view[written:], at + written
        return True

    def sync_fetched(self, sha256: str) -> None:
        """Return once the chunks written so far, and the name of the file, are on disk.

        Raises:
            OSError: they are not.
        """
        with self._half_way(sha256) as file:
            os.fdatasync(file)
        sync_folder(self._incoming)

    def half_way_bytes(self, sha256: str) -> int:
        """Return how long the file is that is being fetched; 0 where there is none."""
        path = self._incoming / sha256
        return path.stat().st_size if path.exists() else 0

    def fetched_hash(self, sha256: str) -> str | None:
        """Return the hash of a fetched file as it lies on disk, half-way or named; None where there is none."""
        for path in (self._incoming / sha256, self._down / sha256):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return None

    def wrong_fetched(self, sha256: str, size_bytes: int, hashes: bytes) -> list[int]:
        """Return the chunks of a file half-way whose bytes on disk do not match their hash."""
        with self._half_way(sha256) as file:
            return [
                index
                for index in range(chunk_count(size_bytes))
                if hashlib.sha256(os.pread(file, chunk_bytes(index, size_bytes), index * CHUNK_BYTES)).digest()
                != chunk_hash(hashes, index)
            ]

    def name_fetched(self, sha256: str) -> None:
        """Give a whole, verified file its place; on disk when this returns, harmless when done before."""
        with contextlib.suppress(FileNotFoundError):
            manifest.sync(self._incoming / sha256)
            (self._incoming / sha256).replace(self._down / sha256)
        sync_folder(self._down)

    def forget_fetched(self, sha256: str) -> None:
        """Delete a fetched file, whole or half-way."""
        for folder in (self._incoming, self._down):
            (folder / sha256).unlink(missing_ok=True)

    def used_share(self, more_bytes: int = 0) -> float:
        """Return how full the disk is once so much more is on it, 0 to 1 and over."""
        return disk_share.used_share(self.folder, more_bytes)

    @contextlib.contextmanager
    def _half_way(self, sha256: str) -> Iterator[int]:
        file = os.open(self._incoming / sha256, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield file
        finally:
            os.close(file)

    def _name(self, source: Path, sha256: str) -> None:
        source.replace(self._up / sha256)
        # Replacing one name of a file by another name of the same file leaves both.
        source.unlink(missing_ok=True)
        sync_folder(self._up)

    def _lock_file(self) -> Path:
        return self.folder / "lock"
