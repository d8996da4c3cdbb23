"""What one value of DICOM's Long String may hold: identifiers and descriptions are of that kind (PS3.5 6.2, LO)."""

import re

MOST_CHARS = 64
PATTERN = r"^[^\x00-\x1f\x7f\\]*$"
"""A backslash would divide it into two values."""


def fits(text: str) -> bool:
    """Whether a text can be one value."""
    return len(text) <= MOST_CHARS and re.fullmatch(PATTERN, text) is not None
