"""Keys of the roles that sign bundles: one PEM file each, in a folder that belongs on a medium of its own."""

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, sync_folder, write_whole


class KeyUnusable(Exception):
    """A key is not there, is there already, or the passphrase does not open it."""


class KeyFolder:
    """The keys of one root of trust, by role."""

    def __init__(self, folder: Path, passphrase: bytes = b"") -> None:
        """Name the folder; the passphrase opens and closes every key, empty = they lie open."""
        self._folder = folder
        self._passphrase = passphrase

    def make(self, roles: Iterable[str]) -> None:
        """Make a key for each role.

        Raises:
            KeyUnusable: a role has one; nothing was made.
            OSError: it cannot be written.
        """
        files = [self._file(role) for role in roles]
        there = [file.name for file in files if file.exists()]
        if there:
            raise KeyUnusable(f"{', '.join(there)}: is there already and is not overwritten")
        self._folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        for file in files:
            self._write_new(file)

    def make_next(self, role: str) -> CryptoSigner:
        """Make a key beside a role's, to follow it once what is signed names it; what signs with it is returned.

        Raises:
            OSError: it cannot be written; the one before it is still there.
        """
        self._write_new(self._next(role))
        return self._opened(self._next(role))

    def next_key_id(self, role: str) -> str:
        """Return the id of the key that is to follow a role's; empty where there is none.

        Raises:
            KeyUnusable: it cannot be opened.
        """
        return self._opened(self._next(role)).public_key.keyid if self._next(role).exists() else ""

    def follow(self, role: str) -> None:
        """Put the key that is to follow a role's in its place; the one before it is gone.

        Raises:
            OSError: it cannot be put there; both are as they were.
        """
        self._next(role).replace(self._file(role))
        sync_folder(self._folder)

    def signer(self, role: str) -> CryptoSigner:
        """Return what signs for a role.

        Raises:
            KeyUnusable: there is no such key, or it cannot be opened.
        """
        return self._opened(self._file(role))

    def has(self, role: str) -> bool:
        """Return whether there is a key of a role."""
        return self._file(role).exists()

    def _opened(self, file: Path) -> CryptoSigner:
        try:
            key = load_pem_private_key(file.read_bytes(), self._passphrase or None)
        except (OSError, ValueError, TypeError) as error:
            raise KeyUnusable(f"{file.name}: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyUnusable(f"{file.name}: is no Ed25519 key")
        return CryptoSigner(key)

    def _write_new(self, file: Path) -> None:
        sealed = BestAvailableEncryption(self._passphrase) if self._passphrase else NoEncryption()
        key = Ed25519PrivateKey.generate()
        write_whole(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed), OWNER_ONLY)

    def _file(self, role: str) -> Path:
        return self._folder / f"{role}.pem"

    def _next(self, role: str) -> Path:
        return self._folder / f"{role}.pem.next"
