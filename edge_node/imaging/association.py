"""pynetdicom made fit for strangers: bounds on what a peer may announce, send and keep open.

As shipped it believes any length, waits for ever within a PDU, reads on while a message is worked at, takes its own
port, and sleeps between looks whatever comes meanwhile.  This changes internals of pynetdicom, so each cure has a test.
"""

import logging
import select
import socket
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from pydicom.config import IGNORE, settings
from pynetdicom import _config, transport
from pynetdicom.association import Association
from pynetdicom.transport import T_CONNECT, AssociationServer, AssociationSocket

from edge_node.imaging.messages import Messages

PDU_BYTES = 128 * 1024
"""The longest PDU that is taken (reliability 4.2); what peers are told."""
_HEAD_BYTES = 6
_ROOM_BYTES = 64 * 1024
"""For the heads of a message around its data set."""
_LOOK_S = 0.001
"""How long it is waited for what a peer sends before it is looked whether something is to be sent to it."""


class Abusive(Exception):
    """Not an OSError on purpose: pynetdicom then aborts the association instead of only closing it."""


@dataclass(slots=True)
class Bounds:
    """What a peer may do; one for the whole process."""

    object_limit_bytes: int
    stall_s: float
    """For a whole PDU."""
    unanswered_s: float
    """For the first PDU, from the connection on."""
    callers: int
    """From one address at once, before an association is accepted."""
    clock_s: Callable[[], float] = time.monotonic


_BOUNDS = Bounds(0, 0, 0, 0)


def harden(bounds: Bounds) -> None:
    """Put the bounds in force for this process; called once, before the first association."""
    for each in fields(Bounds):
        setattr(_BOUNDS, each.name, getattr(bounds, each.name))
    transport.AssociationSocket = BoundedSocket  # type: ignore[misc]
    # Every storage class is taken, also private and future ones: what is stored raw needs no knowledge of it.
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    # What is moved goes as it lies in its file.
    _config.STORE_SEND_CHUNKED_DATASET = True
    # No value is checked by its form where a command is read or written: the UIDs of what is stored are, by us.
    settings.reading_validation_mode = settings.writing_validation_mode = IGNORE
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
        self._until_s = _BOUNDS.clock_s() + _BOUNDS.unanswered_s
        self._has_begun = False
        if assoc.is_acceptor:
            assoc.dimse = Messages(assoc)
        # It waits in `ready`.
        assoc.dul._run_loop_delay = 0  # noqa: SLF001
        if self.socket is not None:
            self.socket.settimeout(_BOUNDS.stall_s)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connect(self, primitive: T_CONNECT) -> None:
        """Connect to a destination, which may not stall for ever either."""
        super().connect(primitive)
        self._until_s = _BOUNDS.clock_s() + _BOUNDS.unanswered_s
        if self.socket is not None:
            self.socket.settimeout(_BOUNDS.stall_s)

    @property
    def ready(self) -> bool:
        """Whether the next PDU may be read: not while a whole message waits, so that memory stays bounded.

        Waits a moment for it: the library would sleep for as long, whatever comes.
        """
        messages = self._assoc.dimse
        if isinstance(messages, Messages) and messages.is_at_work:
            messages.until_answered()
        elif self.socket is None or not messages.msg_queue.empty():
            time.sleep(_LOOK_S)
        else:
            try:
                select.select([self.socket], [], [], _LOOK_S)
            except (OSError, ValueError):
                time.sleep(_LOOK_S)
        return messages.msg_queue.empty() and super().ready

    def recv(self, nr_bytes: int) -> bytearray:
        """Read so many bytes, fewer where the peer is gone.

        Raises:
            Abusive: a PDU longer than agreed, or a message larger than an object may be.
            TimeoutError: the peer takes too long for a PDU, be it by a byte now and then.
        """
        assert self.socket is not None
        if nr_bytes == _HEAD_BYTES:
            self._acknowledge_at_once()
            if self._has_begun:
                self._until_s = _BOUNDS.clock_s() + _BOUNDS.stall_s
        elif nr_bytes > PDU_BYTES:
            raise Abusive("a PDU longer than agreed")
        if self._assoc.dimse.message is None:
            self._message_bytes = 0
        self._message_bytes += nr_bytes
        if self._message_bytes > _BOUNDS.object_limit_bytes + _ROOM_BYTES:
            raise Abusive("a message larger than an object may be")
        found = bytearray(nr_bytes)
        size_bytes = self._fill(self.socket, memoryview(found))
        self._has_begun = self._has_begun or nr_bytes != _HEAD_BYTES
        return found if size_bytes == nr_bytes else found[:size_bytes]

    def _fill(self, line: socket.socket, view: memoryview) -> int:
        """Read until it is full or the peer is gone, and return how many bytes were read."""
        size_bytes = 0
        try:
            while size_bytes < len(view):
                left_s = self._until_s - _BOUNDS.clock_s()
                if left_s <= 0:
                    raise TimeoutError("a PDU that takes too long")
                line.settimeout(left_s)
                count = line.recv_into(view[size_bytes:])
                if not count:
                    break
                size_bytes += count
        finally:
            # For what is sent.
            line.settimeout(_BOUNDS.stall_s)
        return size_bytes

    def _acknowledge_at_once(self) -> None:
        """Senders that gather small writes wait for an acknowledgement, which the kernel else delays by 40 ms."""
        if self.socket is not None and hasattr(socket, "TCP_QUICKACK"):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class SharedPortServer(AssociationServer):
    """A server on a port that several processes share; whoever is free accepts.

    Associations have threads of their own already: they are made in that of the server, which can then count them.
    """

    def __init__(self, *args: Any, listening: socket.socket, refused: Callable[[str], None], **options: Any) -> None:
        """Take the listening socket, and what is told of a connection that is turned away.

        The other arguments are those of pynetdicom.
        """
        self._listening, self._refused = listening, refused
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

    def verify_request(self, _request: object, client_address: object) -> bool:
        """Whether a connection is taken: not where its address has too many that have not said who they are."""
        host = client_address[0] if isinstance(client_address, tuple) else ""
        callers = [
            each
            for each in self.active_associations
            if getattr(each.requestor.address_info, "address", None) == host
            and not (each.is_established or each.is_released or each.is_aborted or each.is_rejected)
        ]
        if len(callers) < _BOUNDS.callers:
            return True
        self._refused("too-many-calls")
        return False
