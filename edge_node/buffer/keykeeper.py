"""Where the key is that opens the keyring: the port.  A TPM, a keyring of the system, or files (`keyfiles`)."""

from typing import Protocol


class KeyKeeper(Protocol):
    """Keeps keys that never leave it; blocking."""

    def make(self) -> str:
        """Make a key and return its name; it is kept for good when this returns.

        Raises:
            OSError: it cannot be kept.
        """

    def wrap(self, name: str, content: bytes) -> bytes:
        """Return content hidden under a key.

        Raises:
            KeyUnavailable: the key is not there.
        """

    def unwrap(self, name: str, wrapped: bytes) -> bytes:
        """Return what was hidden under a key.

        Raises:
            KeyUnavailable: the key is not there, cannot be read, or does not fit.
        """

    def destroy(self, name: str) -> None:
        """Make a key unusable for good, as far as the place where it is kept can; harmless when done before.

        Raises:
            OSError: it is still there.
        """
