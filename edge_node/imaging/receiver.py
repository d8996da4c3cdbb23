"""A receiver: an SCP of storage, verification, query and retrieval on a port that it shares with its fellows."""

import contextlib
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import structlog
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from edge_node.imaging import association
from edge_node.imaging.association import PDU_BYTES, Bounds, SharedPortServer
from edge_node.imaging.intake import Arrived, Intake
from edge_node.imaging.looking import Looking
from edge_node.imaging.objects import Objects
from edge_node.imaging.office import Office
from edge_node.imaging.part10 import IMPLEMENTATION_UID, NAME
from edge_node.imaging.pipe import Configure, Ready
from edge_node.imaging.retrieval import Retrieval, SendingEntity
from edge_node.imaging.watched import WatchedFolder

MIB = 1024 * 1024
DIED = 3
"""Exit status of a receiver whose own work failed."""
PROGRAM_BYTES = 768 * MIB
"""Address space of a receiver without any object: the interpreter, libraries, and stacks of its threads."""
OBJECT_COPIES = 4
"""A message that is gathered, one that waits, and the copies while one is worked at."""
STACK_BYTES = MIB
"""Of a thread; an association has three."""
OPEN_FILES = 256
UNANSWERED_S = 30.0
"""For the first PDU, and for every answer that is ours to wait for."""

log = structlog.get_logger(__name__)


def limit_resources(settings: Configure) -> None:
    """Bound what this process may take, whatever a sender makes of it."""
    memory = PROGRAM_BYTES + OBJECT_COPIES * settings.object_limit_bytes
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, settings.object_limit_bytes + MIB),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        # A core would hold patients.
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError):
            resource.setrlimit(what, (most, most))


class Receiver:
    """One process's application entity."""

    def __init__(self, settings: Configure, office: Office) -> None:
        """Open the folder of objects.

        Raises:
            OSError: it cannot be used.
        """
        self._settings, self._office = settings, office
        self.intake = Intake(
            Objects(Path(settings.folder)),
            settings.object_limit_bytes,
            settings.disk_limit_share,
            office.commit,
            office.refused,
        )

    def server(self, listening: socket.socket) -> SharedPortServer:
        """Return the server on a listening socket; its bounds are those of the whole process."""
        settings = self._settings
        callers = max(1, settings.associations // 2)
        association.harden(Bounds(settings.object_limit_bytes, settings.stall_s, UNANSWERED_S, callers))
        entity = SendingEntity(settings.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = settings.senders
        entity.maximum_associations = settings.associations
        entity.maximum_pdu_size = PDU_BYTES
        entity.implementation_class_uid = IMPLEMENTATION_UID
        entity.implementation_version_name = NAME
        entity.acse_timeout = entity.dimse_timeout = entity.connection_timeout = UNANSWERED_S
        entity.network_timeout = settings.idle_s
        entity.add_supported_context(Verification)
        handlers: list[tuple[evt.EventType, Callable[[Event], object]]] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_ABORTED, self._aborted),
        ]
        if settings.readers:
            handlers += self._retrieval(entity)
        return SharedPortServer(
            entity, listening.getsockname(), settings.ae_title, entity.supported_contexts, None, handlers,
            listening=listening, refused=self._office.refused,
        )  # fmt: skip

    def _retrieval(self, entity: AE) -> "list[tuple[evt.EventType, Callable[[Event], object]]]":
        """Have an entity answer queries and moves, and return what answers."""
        settings = self._settings
        retrieval = Retrieval(
            Path(settings.folder),
            self.intake.objects,
            settings.ae_title,
            frozenset(settings.readers),
            {name: (host, port) for name, (host, port) in settings.destinations.items()},
            self._office.refused,
        )
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        entity.add_supported_context(StudyRootQueryRetrieveInformationModelMove)
        return [(evt.EVT_C_FIND, retrieval.find), (evt.EVT_C_MOVE, retrieval.move)]

    def _store(self, event: Event) -> int:
        """Answer one C-STORE request; the only way to success is through `Intake.take`."""
        request = event.request
        assert isinstance(request, C_STORE)
        data = request.DataSet
        return self.intake.take(
            Arrived(
                str(request.AffectedSOPClassUID),
                str(request.AffectedSOPInstanceUID),
                str(event.context.transfer_syntax),
                str(event.assoc.requestor.ae_title),
                data.getvalue() if isinstance(data, BytesIO) else b"",
            )
        )

    def _rejected(self, _event: Event) -> None:
        self._office.refused("association-rejected")

    def _aborted(self, _event: Event) -> None:
        self._office.refused("association-aborted")


def for_life(work: Callable[[], None]) -> None:
    """Work until the process ends, which it does once this cannot go on: the node then starts another."""
    try:
        work()
    finally:
        # Not its text, which may name what was sent.
        reason = getattr(sys.exc_info()[0], "__name__", "ended")
        log.error("imaging-receiver-failed", thread=threading.current_thread().name, reason=reason)
        os._exit(DIED)


def run(settings: Configure, office: Office, listening: socket.socket, until_gone: Callable[[], None]) -> None:
    """Receive until the node is gone; does not return, because threads of peers may hang.

    Args:
        settings: the node's first line.
        office: towards the node.
        listening: the port.
        until_gone: returns once the node has closed its pipe.
    """
    receiver = Receiver(settings, office)
    server = receiver.server(listening)
    threading.stack_size(STACK_BYTES)
    limit_resources(settings)
    if settings.watched:
        folder = WatchedFolder(Path(settings.watched), receiver.intake)
        threading.Thread(target=for_life, args=(folder.run,), daemon=True, name="watch").start()
    looking = Looking(receiver.intake, office.looks.get, office.say)
    threading.Thread(target=for_life, args=(looking.run,), daemon=True, name="look").start()
    threading.Thread(target=for_life, args=(server.serve_forever,), daemon=True, name="accept").start()
    office.say(Ready())
    until_gone()
    # What is under way was not acknowledged, and comes again.
    os._exit(0)
