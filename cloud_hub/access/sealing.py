"""Secrets that must be read back (of second factors) are kept sealed: the database alone gives none of them away."""

import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from telemed.whole_files import write_whole

from cloud_hub.errors import ConfigRefused, StoreFailure

KEY_BYTES, NONCE_BYTES = 32, 12


class Seal:
    """AES-256-GCM under one key of this hub; what is sealed for one account opens for no other."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def close(self, text: str, username: str) -> bytes:
        """Return a text sealed for an account."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), username.encode())

    def open(self, sealed: bytes, username: str) -> str:
        """Return the text that was sealed for this account.

        Raises:
            StoreFailure: sealed under another key or for another account, or changed since.
        """
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], username.encode()).decode()
        except InvalidTag as error:
            raise StoreFailure("care: a sealed secret does not open with this hub's key") from error


def load_or_make(path: Path, sealed: int) -> Seal:
    """Return the seal whose key is in a file; where there is none it is made, for its owner's eyes alone.

    Args:
        path: of the key.
        sealed: how many second factors are sealed already; under a new key none of them would open.

    Raises:
        ConfigRefused: the file cannot be read or written, is no key, or is gone while something is sealed under it.
    """
    try:
        if not path.exists():
            if sealed:
                raise ConfigRefused(
                    f"accounts.key_file: {path} is gone, and {sealed} second factor(s) are sealed under it: put it "
                    "back from its copy, or take each away with `cloud-hub accounts reset-factor NAME`"
                )
            write_whole(path, secrets.token_bytes(KEY_BYTES), 0o600)
        key = path.read_bytes()
    except OSError as error:
        raise ConfigRefused(f"accounts.key_file: {path} cannot be used: {error.strerror}") from error
    if len(key) != KEY_BYTES:
        raise ConfigRefused(f"accounts.key_file: {path} has {len(key)} bytes, a key has {KEY_BYTES}")
    return Seal(key)
