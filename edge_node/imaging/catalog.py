"""`imaging.db`: which objects the node holds, behind one connection of one thread (decision 11)."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import structlog
from telemed import sqlite_room

from edge_node.errors import CatalogueFailure
from edge_node.imaging import schema
from edge_node.imaging.schema import FILE

T = TypeVar("T")
Synchronous = Literal["FULL", "OFF"]
BUSY_TIMEOUT_MS = 5000

log = structlog.get_logger(__name__)


class Catalog:
    """The catalogue's file, opened, checked and brought to the present version."""

    def __init__(self, folder: Path, synchronous: Synchronous = "FULL") -> None:
        """Open or make the file; blocking.

        Args:
            folder: of the images; made where it is not there.
            synchronous: FULL; anything else is for the test that shows what it would lose.

        Raises:
            CatalogueFailure: it cannot be opened, or is of a newer version.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.is_new = False
        """Whether a damaged file was set aside: what it listed lies among the objects still."""
        if not sqlite_room.may_open(folder):
            raise CatalogueFailure(f"{FILE}: no room on the disk to open it")
        try:
            self._connection = _open(folder / FILE, synchronous)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise CatalogueFailure(f"{FILE}: {error}") from error
            _set_aside(folder)
            self.is_new, self._connection = True, _open(folder / FILE, synchronous)
        self._thread = ThreadPoolExecutor(1, "imaging-db")

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction and return its result after the synced commit.

        Raises:
            CatalogueFailure: nothing of it is stored.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection and return its result.

        Raises:
            CatalogueFailure: the file cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, work)

    def write_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do as `write` does, for callers that are not on an event loop."""
        return self._thread.submit(self._commit, work).result()

    def read_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do as `read` does, for callers that are not on an event loop."""
        return self._thread.submit(self._look, work).result()

    def close(self) -> None:
        """Finish what was asked for and close the file; idempotent, blocking."""
        self._thread.shutdown()
        self._connection.close()

    def _commit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        except sqlite3.Error as error:
            raise CatalogueFailure(f"{FILE}: {error}") from error
        return result

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise CatalogueFailure(f"{FILE}: {error}") from error

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _open(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    pragmas = (f"busy_timeout = {BUSY_TIMEOUT_MS}", f"synchronous = {synchronous}", "journal_mode = WAL")
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(str(verdict))
        schema.prepare(connection)
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _set_aside(folder: Path) -> None:
    label = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    log.error("imaging-catalogue-damaged", kept_as=f"{FILE}.damaged-{label}")
    for ending in ("", "-wal", "-shm"):
        path = folder / (FILE + ending)
        if path.exists():
            path.rename(folder / f"{path.name}.damaged-{label}")
