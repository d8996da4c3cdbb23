"""A SQLite file behind one connection of one thread (decision 11); other processes may have it open too."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from sqlite_utils import Database
from telemed import sqlite_room

T = TypeVar("T")
Synchronous = Literal["FULL", "NORMAL", "OFF"]
"""FULL; anything else is for the tests that show what it would lose."""
BUSY_TIMEOUT_MS = 5000
ENDINGS = ("", "-wal", "-shm")
"""A file and what belongs to it."""
ASIDE = ".damaged-"


@dataclass(frozen=True, slots=True)
class Tables:
    """What a file holds, made with sqlite-utils; the version stands in `PRAGMA user_version`."""

    version: int
    make: Callable[[Database], None]


class OneWriter:
    """A file, opened, checked and brought to the present version."""

    def __init__(
        self,
        path: Path,
        tables: Tables,
        failure: Callable[[sqlite3.Error, str], Exception],
        synchronous: Synchronous = "FULL",
    ) -> None:
        """Open or make the file; blocking.

        Args:
            path: of the file, in a folder that is there.
            tables: what it holds.
            failure: makes what is raised of what SQLite raised and the file's name.
            synchronous: as SQLite has it.

        Raises:
            Whatever `failure` makes: there is no room, it is damaged, of a newer version, or cannot be opened.
        """
        self.path = path
        self._failure = failure
        try:
            self._connection = _open(path, tables, synchronous)
        except sqlite3.Error as error:
            raise failure(error, path.name) from error
        self._thread = ThreadPoolExecutor(1, path.stem)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction and return its result after the synced commit.

        A caller that is cancelled no longer waits; the work may or may not be committed.

        Raises:
            Whatever `failure` makes, or `work` raises: nothing of it is stored.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection and return its result.

        Raises:
            Whatever `failure` makes: the file cannot be read.
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
            raise self._failure(error, self.path.name) from error
        return result

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise self._failure(error, self.path.name) from error

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether SQLite says that the file itself is damaged, or is none of its own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path, label: str = "") -> Path:
    """Rename a damaged file with its write-ahead log, so that both are still read together; return its new name.

    Args:
        path: of the file; nothing happens where it and its log are not there.
        label: what it is known by from now on; empty: the time.
    """
    kept = path.with_name(f"{path.name}{ASIDE}{label or time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    for ending in ENDINGS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(kept.with_name(kept.name + ending))
    return kept


def _open(path: Path, tables: Tables, synchronous: Synchronous) -> sqlite3.Connection:
    if not sqlite_room.may_open(path.parent):
        raise _error("no room on the disk to open it", sqlite3.SQLITE_FULL)
    with contextlib.ExitStack() as undo:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        undo.callback(connection.close)
        # The wait first: another process may be making the file; synchronous before the switch to WAL, which syncs too.
        for pragma in (f"busy_timeout = {BUSY_TIMEOUT_MS}", f"synchronous = {synchronous}", "journal_mode = WAL"):
            connection.execute(f"PRAGMA {pragma}")
        # What is taken out of a row, or moved with it, is overwritten where it stood: it may be about a person.
        connection.execute("PRAGMA secure_delete = ON")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise _error(str(verdict), sqlite3.SQLITE_CORRUPT)
        _prepare(connection, tables)
        connection.row_factory = sqlite3.Row
        undo.pop_all()
    return connection


def _prepare(connection: sqlite3.Connection, tables: Tables) -> None:
    """Bring the file to the present version in one transaction; closing the connection undoes one that broke off."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > tables.version:
        raise sqlite3.DatabaseError(f"version {version} is newer than this software ({tables.version})")
    if version < tables.version:
        tables.make(Database(connection))
        connection.execute(f"PRAGMA user_version = {tables.version}")
    connection.execute("COMMIT")


def _error(text: str, code: int) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = code
    return error
