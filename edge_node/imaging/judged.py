"""What is answered to a sender: verdicts of the catalogue, refusals, and their status (PS3.4 table B.2-1).  Pure."""

from enum import StrEnum

from edge_node.imaging.content import NotMatching, NotUnderstood

SUCCESS, COERCED = 0x0000, 0xB000
OUT_OF_RESOURCES, NOT_MATCHING, NOT_UNDERSTOOD = 0xA700, 0xA900, 0xC000


class Verdict(StrEnum):
    """What became of an object that was stored."""

    NEW = "new"
    KNOWN = "known"
    """The very same is there."""
    CONFLICT = "conflict"
    """Another content under the same UID came first: both are kept, and a person must look."""
    CONFLICT_KNOWN = "conflict-known"
    """The very same as came in a conflict before."""
    FAILED = "failed"
    """It could not be committed; the sender is to try again."""


STATUS = {
    Verdict.NEW: SUCCESS,
    Verdict.KNOWN: SUCCESS,
    Verdict.CONFLICT: COERCED,
    Verdict.CONFLICT_KNOWN: COERCED,
    Verdict.FAILED: OUT_OF_RESOURCES,
}


def status_of(refusal: NotUnderstood) -> int:
    """Return the status of an object that cannot be kept."""
    return NOT_MATCHING if isinstance(refusal, NotMatching) else NOT_UNDERSTOOD
