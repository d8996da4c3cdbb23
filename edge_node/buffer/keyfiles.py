"""Keys in files: `<name>.key` in a folder of their own, 32 bytes each, for their owner's eyes alone.

The medium may hang, as a share of a network or a worn card does: nobody waits for it longer than LIMIT_S.
As safe as the medium that holds the folder.  On the same disk as the store they protect what is copied of the store
(a backup, a disk that is taken out) and let it be erased by key; against the theft of the whole box helps only a key
that is elsewhere, or an encrypted disk.
"""

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from telemed import whole_files
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY

from edge_node.errors import KeyUnavailable

KEY_BYTES, NONCE_BYTES = 32, 12
ABOUT = b"yuanzhen keyring 1"
"""What is wrapped here opens as nothing else."""

LIMIT_S = 5.0
"""How long a medium may take to answer."""
T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """A `KeyKeeper` of files."""

    folder: Path

    def make(self) -> str:
        """Make a key file."""
        name = secrets.token_hex(8)
        _answered(lambda: self._make(name))
        return name

    def wrap(self, name: str, content: bytes) -> bytes:
        """Hide content under the key of a file."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher(name).encrypt(nonce, content, ABOUT)

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """Open what was hidden under the key of a file."""
        try:
            return self._cipher(name).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], ABOUT)
        except (InvalidTag, ValueError) as error:
            raise KeyUnavailable(f"{self._path(name)}: does not open the keyring of this store") from error

    def destroy(self, name: str) -> None:
        """Overwrite and delete a key file."""
        _answered(lambda: whole_files.destroy(self._path(name)))

    def _make(self, name: str) -> None:
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        whole_files.write_whole(self._path(name), secrets.token_bytes(KEY_BYTES), OWNER_ONLY)
        whole_files.sync_folder(self.folder.parent)

    def _cipher(self, name: str) -> AESGCM:
        path = self._path(name)
        try:
            key = _answered(lambda: _read(path))
        except OSError as error:
            raise KeyUnavailable(f"{path}: {error.strerror}") from error
        if len(key) != KEY_BYTES:
            raise KeyUnavailable(f"{path} has {len(key)} bytes, a key has {KEY_BYTES}")
        return AESGCM(key)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.key"


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        log.warning("key-file.was-open-to-others", file=str(path))
        with contextlib.suppress(OSError):
            path.chmod(OWNER_ONLY)
    return path.read_bytes()


def _answered(work: Callable[[], T]) -> T:
    """Return what work on the medium returns; where the medium does not answer, its thread is left to itself.

    Raises:
        OSError: what the work raised, or it took longer than LIMIT_S.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # border of a thread: passed on to whoever waits
            done.set_exception(error)

    threading.Thread(target=run, name="key-medium", daemon=True).start()
    try:
        return done.result(LIMIT_S)
    except TimeoutError as error:
        raise TimeoutError(errno.ETIMEDOUT, "the medium of the keys does not answer") from error
