"""Keys in files: `<name>.key` in a folder of their own, 32 bytes each, for their owner's eyes alone.

As safe as the medium that holds the folder.  On the same disk as the store they protect what is copied of the store
(a backup, a disk that is taken out) and let it be erased by key; against the theft of the whole box helps only a key
that is elsewhere, or an encrypted disk.
"""

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from telemed import whole_files
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY

from edge_node.errors import KeyUnavailable

KEY_BYTES, NONCE_BYTES = 32, 12
ABOUT = b"yuanzhen keyring 1"
"""What is wrapped here opens as nothing else."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class KeyFiles:
    """A `KeyKeeper` of files."""

    folder: Path

    def make(self) -> str:
        """Make a key file."""
        self.folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        name = secrets.token_hex(8)
        whole_files.write_whole(self._path(name), secrets.token_bytes(KEY_BYTES), OWNER_ONLY)
        whole_files.sync_folder(self.folder.parent)
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
        whole_files.destroy(self._path(name))

    def _cipher(self, name: str) -> AESGCM:
        path = self._path(name)
        try:
            if path.stat().st_mode & 0o077:
                log.warning("key-file.was-open-to-others", file=str(path))
                with contextlib.suppress(OSError):
                    path.chmod(OWNER_ONLY)
            key = path.read_bytes()
        except OSError as error:
            raise KeyUnavailable(f"{path}: {error.strerror}") from error
        if len(key) != KEY_BYTES:
            raise KeyUnavailable(f"{path} has {len(key)} bytes, a key has {KEY_BYTES}")
        return AESGCM(key)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.key"
