"""Names of what this node makes: the same study, images and model give the same names, however often.  Pure."""

from uuid import UUID, uuid5

_ROOM = UUID("6f1d2a54-3c0b-4e0e-9a43-7d1f0c2b9e11")
"""Never changed."""


def uid(*words: str) -> str:
    """Return the DICOM UID of these words (PS3.5 annex B.2)."""
    return f"2.25.{uuid5(_ROOM, '/'.join(words)).int}"
