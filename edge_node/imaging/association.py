"""pynetdicom made fit for strangers: bounds on what a peer may announce, send and keep open.

As shipped it believes any length, waits for ever within a PDU, reads on while a message is worked at, and takes its own
port.  This changes internals of pynetdicom, so each cure has a test.
"""

import logging
import socket
import warnings
from dataclasses import dataclass
from typing import Any

from pynetdicom import _config, transport
from pynetdicom.association import Association
from pynetdicom.transport import T_CONNECT, AssociationSocket, ThreadedAssociationServer

PDU_BYTES = 128 * 1024
"""The longest PDU that is taken (reliability 4.2); what peers are told."""
_HEAD_BYTES = 6
_ROOM_BYTES = 64 * 1024
"""For the heads of a message around its data set."""


class Abusive(Exception):
    """Not an OSError on purpose: pynetdicom then aborts the association instead of only closing it."""


@dataclass(slots=True)
class Bounds:
    """What a peer may do; one for the whole process."""

    object_limit_bytes: int
    stall_s: float


_BOUNDS = Bounds(0, 0)


def harden(bounds: Bounds) -> None:
    """Put the bounds in force for this process; called once, before the first association."""
    _BOUNDS.object_limit_bytes, _BOUNDS.stall_s = bounds.object_limit_bytes, bounds.stall_s
    transport.AssociationSocket = BoundedSocket  # type: ignore[misc]
    # Every storage class is taken, also private and future ones: what is stored raw needs no knowledge of it.
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    # What is moved goes as it lies in its file.
    _config.STORE_SEND_CHUNKED_DATASET = True
    # Their own lines and warnings name UIDs and values of what was sent.
    _config.LOG_HANDLER_LEVEL = "none"
    for talkative in ("pynetdicom", "pydicom"):
        logging.getLogger(talkative).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")


class BoundedSocket(AssociationSocket):
    """The socket of one association, read in its own thread."""

    def __init__(self, assoc: Association, *args: Any, **options: Any) -> None:
        """Take over an accepted connection."""
        super().__init__(assoc, *args, **options)
        self._message_bytes = 0
        if self.socket is not None:
            self.socket.settimeout(_BOUNDS.stall_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect to a destination, which may not stall for ever either."""
        super().connect(primitive)
        if self.socket is not None:
            self.socket.settimeout(_BOUNDS.stall_s)

    @property
    def ready(self) -> bool:
        """Whether the next PDU may be read: not while a whole message waits, so that memory stays bounded."""
        return self._assoc.dimse.msg_queue.empty() and super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, fewer where the peer is gone.

        Raises:
            Abusive: a PDU longer than agreed, or a message larger than an object may be.
            TimeoutError: the peer stalls within a PDU.
        """
        assert self.socket is not None
        if nr_bytes == _HEAD_BYTES:
            self._acknowledge_at_once()
        elif nr_bytes > PDU_BYTES:
            raise Abusive("a PDU longer than agreed")
        if self._assoc.dimse.message is None:
            self._message_bytes = 0
        self._message_bytes += nr_bytes
        if self._message_bytes > _BOUNDS.object_limit_bytes + _ROOM_BYTES:
            raise Abusive("a message larger than an object may be")
        found = bytearray(nr_bytes)
        view, size_bytes = memoryview(found), 0
        while size_bytes < nr_bytes:
            count = self.socket.recv_into(view[size_bytes:])
            if not count:
                return found[:size_bytes]
            size_bytes += count
        return found

    def _acknowledge_at_once(self) -> None:
        """Senders that gather small writes wait for an acknowledgement, which the kernel else delays by 40 ms."""
        if self.socket is not None and hasattr(socket, "TCP_QUICKACK"):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class SharedPortServer(ThreadedAssociationServer):
    """A server on a port that several processes share; whoever is free accepts."""

    def __init__(self, *args: Any, listening: socket.socket, **options: Any) -> None:
        """Take the listening socket; the other arguments are those of pynetdicom."""
        self._listening = listening
        super().__init__(*args, **options)

    def server_bind(self) -> None:
        """Use the port that is open already."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self._listening
        # Another process may have been quicker.
        self.socket.setblocking(False)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """It listens already."""

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Return the next connection, which waits for its peer again."""
        connection, address = super().get_request()
        connection.setblocking(True)
        return connection, address
