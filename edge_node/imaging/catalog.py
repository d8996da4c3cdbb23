"""`imaging.db`: which objects the node holds."""

import sqlite3
from pathlib import Path

import structlog

from edge_node.errors import CatalogueFailure
from edge_node.imaging.schema import FILE, TABLES
from edge_node.one_writer import OneWriter, Synchronous, is_damage, set_aside

log = structlog.get_logger(__name__)


class Catalog(OneWriter):
    """The catalogue's file."""

    def __init__(self, folder: Path, synchronous: Synchronous = "FULL") -> None:
        """Open or make the file, in the place of a damaged one that is set aside; blocking.

        Args:
            folder: of the images; made where it is not there.
            synchronous: FULL, but for a test.

        Raises:
            CatalogueFailure: it cannot be opened, or is of a newer version.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            super().__init__(folder / FILE, TABLES, _failure, synchronous)
        except _Damaged:
            log.error("imaging-catalogue-damaged", kept_as=set_aside(folder / FILE).name)
            super().__init__(folder / FILE, TABLES, _failure, synchronous)


class _Damaged(CatalogueFailure):
    pass


def _failure(error: sqlite3.Error, name: str) -> CatalogueFailure:
    return (_Damaged if is_damage(error) else CatalogueFailure)(f"{name}: {error}")
