"""`transfer.db`: the durable queue."""

from pathlib import Path

import structlog

from edge_node.buffer.opening import translated
from edge_node.errors import BufferDamaged
from edge_node.one_writer import OneWriter, Synchronous, set_aside
from edge_node.uplink.transfer.schema import FILE, TABLES

log = structlog.get_logger(__name__)


class Ledger(OneWriter):
    """The queue's file; other processes may have it open too."""

    def __init__(self, folder: Path, synchronous: Synchronous = "FULL") -> None:
        """Open or make the file; blocking.

        Args:
            folder: of the buffer; made where it is not there.
            synchronous: FULL, but for a test.

        Raises:
            BufferDamaged: the file fails its check.
            BufferFull: there is no room to open it.
            BufferFailure: it cannot be opened, or is of a newer version.
        """
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / FILE, TABLES, translated, synchronous)


def open_or_set_aside(folder: Path) -> tuple[Ledger, bool]:
    """Open the queue; a damaged one is renamed out of the way, and True tells that this is a new one.  Blocking.

    Raises:
        BufferFailure: it cannot be opened.
    """
    try:
        return Ledger(folder), False
    except BufferDamaged as damage:
        log.error("transfer.queue-damaged", reason=str(damage))
        set_aside(folder / FILE)
        return Ledger(folder), True
