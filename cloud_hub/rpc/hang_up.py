"""Closes the connection of a peer that does not read.

gRPC's asyncio server cannot end a call whose last message still waits to be read: a status would wait behind it, and
the call is kept until the client closes it.  So the connection itself is shut down, found by its peer's address among
the files that this process has open (Linux).
"""

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

OPEN_FILES = Path("/proc/self/fd")


def hang_up(peer: str) -> bool:
    """Shut down the connection with a peer as gRPC names it, e.g. "ipv4:127.0.0.1:50123"; False where there is none.

    Blocking, for a moment.
    """
    found = False
    for connection in _sockets():
        with connection, contextlib.suppress(OSError):
            if unquote(peer) in _names(connection.getpeername()):
                connection.shutdown(socket.SHUT_RDWR)
                found = True
    return found


def _sockets() -> Iterator[socket.socket]:
    for name in os.listdir(OPEN_FILES):  # noqa: PTH208 - names alone: each may be gone by now
        with contextlib.suppress(OSError):
            # Our own copy: the number may belong to another file by the time it is looked at, the copy does not change.
            copy = os.dup(int(name))
            if stat.S_ISSOCK(os.fstat(copy).st_mode):
                yield socket.socket(fileno=copy)
            else:
                os.close(copy)


def _names(address: object) -> tuple[str, ...]:
    """Return how gRPC may name the peer of a socket; empty for sockets that are not of the internet."""
    if not isinstance(address, tuple) or len(address) < 2:
        return ()
    host, port = str(address[0]), address[1]
    short = host.removeprefix("::ffff:")
    return (f"ipv4:{short}:{port}", f"ipv6:[{host}]:{port}")
