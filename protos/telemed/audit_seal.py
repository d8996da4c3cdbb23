"""The key that signs the heads of an audit trail, and the last head beside it: two files apart from the database.

Whoever can write the database alone can neither sign a head nor make the last one unsaid.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from telemed.audit import Head, head_line, head_of_line, public_text
from telemed.whole_files import FOLDER_MODE, OWNER_ONLY, sync_folder, write_whole

KEY, LAST = "audit.key", "audit.head"


class SealUnusable(Exception):
    """The key of an audit trail cannot be made or read, or others may read it; the text says which file and why."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A key, and where the last head that it signed is noted."""

    key: Ed25519PrivateKey
    folder: Path

    @property
    def public(self) -> str:
        """Public half, as heads name it."""
        return public_text(self.key)

    def last(self) -> Head | None:
        """Return the last head that was noted; None where there is none yet, or it cannot be read."""
        return last_head(self.folder)

    def note(self, head: Head) -> None:
        """Note a head, once it is committed; synced.

        Raises:
            OSError: the folder cannot be written.
        """
        write_whole(self.folder / LAST, (head_line(head) + "\n").encode(), OWNER_ONLY)


def open_seal(folder: Path) -> Seal:
    """Return the seal in a folder; both are made where they are not there yet.

    Raises:
        SealUnusable: the key cannot be made or read, or others may read it.
    """
    path = folder / KEY
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        return Seal(_read(path), folder)
    except OSError as error:
        raise SealUnusable(f"{path}: {error.strerror}") from error


def public_of(folder: Path) -> str:
    """Return the public half of the key in a folder; empty where there is none.

    Raises:
        SealUnusable: the key cannot be read.
    """
    path = folder / KEY
    try:
        return public_text(_read(path))
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SealUnusable(f"{path}: {error.strerror}") from error


def last_head(folder: Path) -> Head | None:
    """Return the last head that was noted in a folder; None where there is none, or it cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        return head_of_line((folder / LAST).read_text(encoding="utf-8"))
    return None


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fresh = path.with_suffix(f".{os.getpid()}")
    write_whole(fresh, pem, OWNER_ONLY)
    with contextlib.suppress(FileExistsError):  # another process of the hub was quicker
        os.link(fresh, path)
    fresh.unlink()
    # A key that a power cut takes away leaves every head that it signed without one.
    sync_folder(path.parent)


def _read(path: Path) -> Ed25519PrivateKey:
    if path.stat().st_mode & 0o077:
        raise SealUnusable(f"{path} may be read by others: chmod 600 {path}")
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SealUnusable(f"{path} is no private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise SealUnusable(f"{path} is no Ed25519 key")
    return key
