"""What a transfer syntax says of how a data set is written (PS3.5 section 10 and annex A).  Pure."""

from dataclasses import dataclass

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
_GE_IMPLICIT = "1.2.840.113619.5.2"
"""Private: implicit little endian, with pixels in big endian."""
_ALSO_DEFLATED = ("1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
"""JPIP references, deflated."""
_NATIVE = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED, EXPLICIT_BIG, _GE_IMPLICIT, *_ALSO_DEFLATED)


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a data set is written."""

    is_implicit: bool = False
    is_little: bool = True
    is_deflated: bool = False
    is_native: bool = False
    """Pixels lie as they are, without frames of their own."""


def syntax_of(uid: str) -> Syntax:
    """Return how a transfer syntax writes; one that is not known is explicit little endian, as every newer one is."""
    return Syntax(
        is_implicit=uid in (IMPLICIT_LITTLE, _GE_IMPLICIT),
        is_little=uid != EXPLICIT_BIG,
        is_deflated=uid == DEFLATED or uid in _ALSO_DEFLATED,
        is_native=uid in _NATIVE,
    )
