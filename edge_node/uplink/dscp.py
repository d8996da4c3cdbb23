"""Marks on packets: which DSCP each class of traffic bears (reliability 3.1, RFC 8837), and setting it on a socket.

Operators mostly clear it on the public internet: it helps in our own queue and in a private slice, and nothing may
depend on it.
"""

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Protocol


class Dscp(IntEnum):
    """Code points: the upper six bits of the traffic class (RFC 2474)."""

    DF = 0
    LE = 1
    """Lower effort (RFC 8622)."""
    AF11 = 10
    AF21 = 18
    CS3 = 24
    AF31 = 26
    AF41 = 34
    EF = 46
    """Expedited forwarding (RFC 3246)."""


DSCP_OF_CLASS: Mapping[int, Dscp] = {
    0: Dscp.EF,
    1: Dscp.AF31,
    2: Dscp.EF,
    3: Dscp.AF21,
    4: Dscp.AF41,
    5: Dscp.AF11,
    6: Dscp.AF11,
    7: Dscp.LE,
}
"""By the number of the class: alarms, vitals and control, audio, watched waves, video, images, backlog, bulk."""
DSCP_OF_SIGNALLING = Dscp.CS3
"""Signalling of a consult, where it has a socket of its own; else it goes with class 1."""

_ECN_BITS = 0b11
_V4, _V6 = (socket.IPPROTO_IP, socket.IP_TOS), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)


class HasFileno(Protocol):
    """A socket, or what an event loop gives in its place."""

    def fileno(self) -> int:
        """Return the file descriptor."""


def mark(opened: HasFileno, dscp: Dscp) -> bool:
    """Mark all that a socket sends from now on; False if the system refuses, which must not stop anything.

    The two lowest bits are congestion notification and stay as they are.  A socket of both families is marked for both.
    """
    try:
        with _same_socket(opened) as same:
            for level, option in _options(same):
                ecn = same.getsockopt(level, option) & _ECN_BITS
                same.setsockopt(level, option, dscp << 2 | ecn)
    except OSError:
        return False
    return True


def marked(opened: HasFileno) -> int:
    """Return the mark that a socket bears.

    Raises:
        OSError: it is closed, or of a family without marks.
    """
    with _same_socket(opened) as same:
        return same.getsockopt(*_options(same)[0]) >> 2


@contextlib.contextmanager
def _same_socket(opened: HasFileno) -> Iterator[socket.socket]:
    """Yield another handle of the same socket: what uvloop gives has no options of its own."""
    with socket.socket(fileno=os.dup(opened.fileno())) as same:
        yield same


def _options(same: socket.socket) -> list[tuple[int, int]]:
    if same.family == socket.AF_INET:
        return [_V4]
    if same.family != socket.AF_INET6:
        raise OSError(f"no marks in {same.family!r}")
    only_v6 = same.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return [_V6] if only_v6 else [_V6, _V4]
