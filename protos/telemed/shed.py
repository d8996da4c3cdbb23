"""Why a node gives numbers up that it once gave out, and in which stream it says so (reliability 2.5, 2.10)."""

from enum import StrEnum

from telemed.topics import CLASS_OF, Up

RANGES_LIMIT = 256
"""Ranges of one declaration at most."""


class Reason(StrEnum):
    """Stable codes, stored with every declared range."""

    DISK = "disk"
    """There was no room: thinned or dropped, in the order of reliability 2.5."""
    DAMAGED = "damaged"
    """The node's disk damaged them, or the file that they were in."""
    COPY_GONE = "copy-gone"
    """The hub had them once and lost them; the node has no copy any more."""


STREAMS = {Up.ALARM: "node/alarmshed", Up.CARE: "node/careshed", Up.VITALS: "node/shed", Up.WAVES: "node/shed"}
"""In which stream the numbers of a class are declared: one of the same file, so that one commit holds both."""


def stream_for(stream: str) -> str:
    """Return the stream in which numbers of this one are declared.

    Raises:
        KeyError: no stream of a stored class.
    """
    return STREAMS[CLASS_OF[stream.rpartition("/")[2]]]


def may_declare(shed_stream: str, stream: str, reason: str) -> bool:
    """Return whether a declaration in one stream about another is of a kind that exists.

    Alarms and care are never given up for room.
    """
    up = CLASS_OF.get(stream.rpartition("/")[2])
    if up is None or STREAMS[up] != shed_stream or reason not in list(Reason):
        return False
    return up in (Up.VITALS, Up.WAVES) or reason != Reason.DISK
