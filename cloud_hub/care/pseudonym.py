"""Names and times of a released data set: the same within a project, unlinkable between projects (clinical 9.6).  Pure.

Whoever has the project's key can find a person again, so the key lives apart from the set, and a key that is destroyed
makes the set anonymous.
"""

import hashlib
import hmac
from dataclasses import dataclass

LEAST_KEY_BYTES = 32
LONGEST_SHIFT_DAYS = 365
_UID_ROOT = "2.25."
"""DICOM's root for UIDs made from 128 bits (PS3.5 B.2)."""


@dataclass(frozen=True, slots=True)
class Project:
    """One released set, or several that belong together."""

    name: str
    key: bytes

    def __post_init__(self) -> None:
        """Refuse a key that could be guessed.

        Raises:
            ValueError: it is too short.
        """
        if len(self.key) < LEAST_KEY_BYTES:
            raise ValueError(f"a project's key has {LEAST_KEY_BYTES} bytes or more")

    def code(self, kind: str, identifier: str) -> str:
        """Return what stands for an identifier: 128 bits as 32 hex digits; `kind` keeps numbers of two kinds apart."""
        return self._digest(kind, identifier).hex()[:32]

    def shift_days(self, person_id: str) -> int:
        """Return by how many days everything of a person is moved: 1 to 365, to either side, so that intervals stay."""
        number = int.from_bytes(self._digest("shift", person_id)[:8], "big") % (2 * LONGEST_SHIFT_DAYS)
        return number - LONGEST_SHIFT_DAYS if number < LONGEST_SHIFT_DAYS else number - LONGEST_SHIFT_DAYS + 1

    def uid(self, original: str) -> str:
        """Return what stands for a DICOM UID, the same for all files of the project, so that references hold."""
        return f"{_UID_ROOT}{int.from_bytes(self._digest('uid', original)[:16], 'big')}"

    def _digest(self, kind: str, identifier: str) -> bytes:
        text = f"{self.name}\0{kind}\0{identifier}".encode()
        return hmac.new(self.key, text, hashlib.sha256).digest()
