"""The folder of objects: `incoming/` is half-way, `objects/ab/<sha256>` is whole and synced.  All functions block.

A name is the hash of the file's content; nothing that came from outside is part of a path.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, sync_folder

from edge_node import disk_share

HASH_CHARS = 64


class Objects:
    """One node's objects; several processes may write."""

    def __init__(self, folder: Path) -> None:
        """Make the folders that are not there.

        Raises:
            OSError: they cannot be made.
        """
        self.folder = folder
        self._whole, self._incoming = folder / "objects", folder / "incoming"
        for each in (self._whole, self._incoming):
            each.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        for each in (folder.parent, folder):
            sync_folder(each)

    def put(self, head: bytes, data: bytes) -> str:
        """Store a file of two parts and return its hash; content and name are on disk when this returns.

        The same file may be put twice, also by two processes at once.

        Raises:
            OSError: it is not stored.
        """
        whole = hashlib.sha256(head)
        whole.update(data)
        half_way, final = self._incoming / uuid4().hex, self.path(whole.hexdigest())
        try:
            opened = os.open(half_way, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
            with os.fdopen(opened, "wb") as file:
                # Held for as long as this process lives: so it is known what nobody will finish.
                fcntl.flock(file, fcntl.LOCK_EX)
                file.write(head)
                file.write(data)
                file.flush()
                is_new = self._name_new(half_way, final)
                os.fdatasync(file.fileno())
                if not is_new:
                    half_way.replace(final)
        finally:
            with contextlib.suppress(OSError):
                half_way.unlink()
        sync_folder(final.parent)
        return whole.hexdigest()

    def scratch(self) -> Path:
        """Return a new path for what is half-way; whoever uses it deletes it."""
        return self._incoming / uuid4().hex

    def path(self, sha256: str) -> Path:
        """Return where a whole file lies."""
        return self._whole / sha256[:2] / sha256

    def whole(self) -> Iterator[Path]:
        """Yield every whole file."""
        return self._whole.glob(f"??/{'?' * HASH_CHARS}")

    def sweep_incoming(self) -> int:
        """Delete what was half-way when its process ended, and return how many; what is being put now stays."""
        count = 0
        for path in list(self._incoming.iterdir()):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                count += 1
        return count

    def sweep_unlisted(self, is_listed: Callable[[str], bool], before_s: float) -> int:
        """Delete whole files that nobody was told are stored; only while no receiver runs.  Returns how many.

        Args:
            is_listed: whether a file of this name has a row.
            before_s: what is younger stays, seconds since the epoch.
        """
        count = 0
        for path in self.whole():
            if path.stat().st_mtime < before_s and not is_listed(path.name):
                path.unlink()
                count += 1
        return count

    def drop(self, sha256: str, before_s: float) -> bool:
        """Delete a whole file that was put before then, seconds since the epoch; False where it was put again since.

        Whoever puts it meanwhile has it.
        """
        final, aside = self.path(sha256), self.scratch()
        try:
            final.rename(aside)
        except FileNotFoundError:
            return True
        is_old = aside.stat().st_mtime < before_s
        if not is_old:
            with contextlib.suppress(FileExistsError):
                final.hardlink_to(aside)
        aside.unlink()
        return is_old

    def used_share(self, more_bytes: int = 0) -> float:
        """Return how full the disk is once so much more is on it, 0 to 1 and over."""
        return disk_share.used_share(self.folder, more_bytes)

    def _name_new(self, half_way: Path, final: Path) -> bool:
        """Give a file its name where nothing has it; False where something has.

        A new name is given before the sync, so that one write to the file system's journal serves content and name:
        what a power cut may leave under it has no row, and does not fit its hash.  What is there already may have been
        acknowledged, and is replaced by what is synced alone.
        """
        if not final.parent.is_dir():
            final.parent.mkdir(exist_ok=True, mode=FOLDER_MODE)
            sync_folder(self._whole)
        try:
            final.hardlink_to(half_way)
        except FileExistsError:
            return False
        return True
