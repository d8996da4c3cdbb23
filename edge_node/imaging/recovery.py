"""Lists again what lies among the objects, where the catalogue was damaged or lost and a new one begun.  Blocking."""

import contextlib
import hashlib
import time
from pathlib import Path

import structlog

from edge_node.imaging import content, part10, reading, rows
from edge_node.imaging.catalog import Catalog
from edge_node.imaging.content import NotUnderstood
from edge_node.imaging.objects import Objects
from edge_node.imaging.pipe import Stored

FOUND = "RECOVERED"
"""Stands for the sender, which only the lost catalogue knew."""

log = structlog.get_logger(__name__)


def list_again(objects: Objects, catalog: Catalog, limit_bytes: int) -> int:
    """Note every whole object anew, the oldest first, and return how many; what was cut short is done again.

    Raises:
        CatalogueFailure: they are not noted.
    """
    count = 0
    for path in sorted(objects.whole(), key=lambda each: each.stat().st_mtime_ns):
        stored = _stored(path, limit_bytes)
        if stored is not None:
            catalog.write_blocking(lambda c, one=stored: rows.take(c, one, time.time_ns()))  # type: ignore[misc]
            count += 1
    log.warning("imaging-catalogue-made-again", objects=count)
    return count


def _stored(path: Path, limit_bytes: int) -> Stored | None:
    with contextlib.suppress(ValueError, OSError, NotUnderstood):
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != path.name:
            raise ValueError("damaged, or cut by the end of power")
        file = part10.parted(raw)
        found = reading.read(file.data, file.transfer_syntax, limit_bytes)
        found = content.announced(found, file.sop_class_uid, file.sop_instance_uid)
        return Stored(0, path.name, len(raw), file.transfer_syntax, FOUND, found)
    log.warning("imaging-object-not-listed")
    return None
