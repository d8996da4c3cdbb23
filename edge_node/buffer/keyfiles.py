"""Keys in files: `<name>.key` in a folder of their own, 32 bytes each, for their owner's eyes alone.

The medium may hang, as a share of a network or a worn card does: nobody waits for it longer than LIMIT_S, and at most
MOST_HUNG threads stay behind.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

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
MOST_HUNG = 3
"""How many requests may be out unanswered: more than one, as the first may be lost while the medium is well again."""
T = TypeVar("T")

log = structlog.get_logger(__name__)


class Medium:
    """Asks the medium that holds one folder; may be asked from any thread."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._hung: list[Future[Any]] = []
        self._lock = threading.Lock()

    def answered(self, work: Callable[[], T]) -> T:
        """Return what work on the medium returns; where the medium does not answer, its thread is left to itself.

        Raises:
            OSError: what the work raised; it took longer than LIMIT_S; there are MOST_HUNG threads waiting already, or
                none can be started.
        """
        with self._lock:
            self._hung = [each for each in self._hung if not each.done()]
            if len(self._hung) >= MOST_HUNG:
                raise _silence()
        done = _begun(work)
        try:
            return done.result(LIMIT_S)
        except TimeoutError as error:
            with self._lock:
                self._hung.append(done)
            raise _silence() from error


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """A `KeyKeeper` of files."""

    folder: Path
    medium: Medium = field(default_factory=Medium, repr=False, compare=False)

    def make(self) -> str:
        """Make a key file."""
        name = secrets.token_hex(8)
        self.medium.answered(lambda: self._make(name))
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
        self.medium.answered(lambda: whole_files.destroy(self._path(name)))

    def _make(self, name: str) -> None:
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        whole_files.write_whole(self._path(name), secrets.token_bytes(KEY_BYTES), OWNER_ONLY)
        whole_files.sync_folder(self.folder.parent)

    def _cipher(self, name: str) -> AESGCM:
        path = self._path(name)
        try:
            key = self.medium.answered(lambda: _read(path))
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


def _begun(work: Callable[[], T]) -> Future[T]:
    """Have work done in a thread of its own; raises OSError where there is none to be had."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # border of a thread: passed on to whoever waits
            done.set_exception(error)

    try:
        threading.Thread(target=run, name="key-medium", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "no thread can be started to ask the medium of the keys") from error
    return done


def _silence() -> TimeoutError:
    return TimeoutError(errno.ETIMEDOUT, "the medium of the keys does not answer")
