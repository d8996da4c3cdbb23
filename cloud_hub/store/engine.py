"""One database of the hub: a writer thread that commits, a few readers, forward-only migrations.

On SQLite: WAL, `synchronous=FULL`, one writing connection, which alone checkpoints.  On PostgreSQL each
database of the hub is a schema of its own, so that both may stand in one server database.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from telemed import sqlite_room

from cloud_hub.errors import StoreFailure

T = TypeVar("T")
READERS = 3
BUSY_S = 10
_POSTGRES_DISK_FULL = "53100"
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """One database; `write` and `read` may be called from any task of the event loop that runs."""

    def __init__(self, url: str, metadata: MetaData, migrations: str) -> None:
        """Open nothing yet; connections are made on first use.

        Args:
            url: sqlite:///FILE or postgresql+psycopg://...
            metadata: tables of this database, for the readers of this object.
            migrations: folder of its migrations ("samples" or "care"); on PostgreSQL also its schema.
        """
        parsed = make_url(url)
        self.metadata = metadata
        self.name = migrations
        self.is_postgres = parsed.get_backend_name() == "postgresql"
        self._engine = _engine(parsed, migrations, read_only=False)
        self._read_engine = _engine(parsed, migrations, read_only=True)
        self._writer = ThreadPoolExecutor(1, f"{migrations}-writer")
        self._readers = ThreadPoolExecutor(READERS, f"{migrations}-reader")

    def migrate(self) -> None:
        """Bring the tables to the newest version; blocking, done before anything else uses the database.

        Raises:
            StoreFailure: the database was written by a newer program, or cannot be changed or opened.
        """
        if not self.is_postgres:
            self._check_room()
        self._writer.submit(self._migrate).result()

    async def write(self, work: Callable[[Connection], T], kept: Callable[[], None] | None = None) -> T:
        """Run `work` in the writer thread in one transaction; return its result after the synced commit.

        If `work` raises, nothing is committed and its exception comes out.  A caller that is cancelled
        no longer waits, but the transaction it asked for still ends by itself.

        Args:
            work: what to do.
            kept: called in the writer thread right after the commit, before any other work.

        Raises:
            StoreFailure: the database could not do it; nothing was committed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._commit, work, kept)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a reader thread on one consistent, read-only view; return its result.

        Raises:
            StoreFailure: the database could not do it.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, work)

    def write_blocking(self, work: Callable[[Connection], T], kept: Callable[[], None] | None = None) -> T:
        """Do as `write` does, for programs without an event loop."""
        return self._writer.submit(self._commit, work, kept).result()

    def read_blocking(self, work: Callable[[Connection], T]) -> T:
        """Do as `read` does, for programs without an event loop."""
        return self._readers.submit(self._look, work).result()

    def empty_log(self) -> bool:
        """Have nothing of what was committed stay in SQLite's write-ahead log, where others may have it open.

        Waits BUSY_S at most for those who read or write.  Blocking.  On PostgreSQL there is nothing to do.

        Returns:
            False where somebody still reads what was before: the log keeps it.

        Raises:
            StoreFailure: the file cannot be written.
        """
        return self.is_postgres or self._writer.submit(self._empty_log).result()

    def close(self) -> None:
        """End the work under way and close all connections; the writer last, as it alone checkpoints."""
        self._readers.shutdown()
        self._read_engine.dispose()
        self._writer.shutdown()
        self._engine.dispose()

    def _commit(self, work: Callable[[Connection], T], kept: Callable[[], None] | None) -> T:
        try:
            with self._engine.begin() as connection:
                result = work(connection)
        except DBAPIError as error:
            raise self._failure(error) from error
        if kept is not None:
            kept()
        return result

    def _empty_log(self) -> bool:
        # Not in a transaction, which would be one more that keeps the log.
        try:
            with closing(self._engine.raw_connection()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                row = cursor.fetchone()
        except sqlite3.Error as error:
            raise StoreFailure(f"{self.name}: {type(error).__name__}") from error
        return row is not None and not row[0]

    def _look(self, work: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.connect() as connection:
                return work(connection)
        except DBAPIError as error:
            raise self._failure(error) from error

    def _failure(self, error: DBAPIError) -> StoreFailure:
        # The text of the error may quote values, so only its kind goes out.
        failure = StoreFailure(f"{self.name}: {type(error).__name__} ({type(error.orig).__name__})")
        failure.is_passing = isinstance(error, OperationalError | InterfaceError)
        failure.is_full = _is_full(error.orig)
        return failure

    def _check_room(self) -> None:
        file = self._engine.url.database
        if not file or not Path(file).parent.is_dir() or sqlite_room.may_open(Path(file).parent):
            return
        failure = StoreFailure(f"{self.name}: no room on the disk to open it")
        failure.is_passing = failure.is_full = True
        raise failure

    def _migrate(self) -> None:
        settings = Config()
        settings.set_main_option("script_location", _quoted(MIGRATIONS))
        settings.set_main_option("version_locations", _quoted(MIGRATIONS / self.name))
        settings.set_main_option("path_separator", "newline")
        try:
            with self._engine.begin() as connection:
                if self.is_postgres:
                    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {self.name}")
                settings.attributes["connection"] = connection
                settings.attributes["metadata"] = self.metadata
                command.upgrade(settings, "head")
        except CommandError as error:
            raise StoreFailure(f"{self.name}: {error}; was it written by a newer version?") from error
        except DBAPIError as error:
            raise self._failure(error) from error


def _is_full(error: object) -> bool:
    """Whether a driver's error says that the disk has no room."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF == sqlite3.SQLITE_FULL or getattr(error, "sqlstate", "") == _POSTGRES_DISK_FULL


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%%")


def _engine(url: URL, name: str, *, read_only: bool) -> Engine:
    size = READERS if read_only else 1
    if url.get_backend_name() == "postgresql":
        options = f"-c search_path={name} -c synchronous_commit=on -c timezone=UTC"
        if read_only:
            # What several statements read must belong together, as it does on SQLite.
            options += " -c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read"
        return create_engine(
            url,
            pool_size=size,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"options": options},
        )
    engine = create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"isolation_level": None, "timeout": BUSY_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _readers_settings if read_only else _writers_settings)
    event.listen(engine, "begin", _begin_reading if read_only else _begin_writing)
    return engine


def _writers_settings(connection: Any, _record: object) -> None:
    # synchronous before journal_mode: the switch to WAL itself is synced too.  Each stream has a page of its own that
    # every second changes: the log holds some seconds of them before they go where they belong, once for all.
    log_pages = "wal_autocheckpoint=4000"
    for pragma in ("synchronous=FULL", "journal_mode=WAL", "foreign_keys=ON", "cache_size=-32768", log_pages):
        connection.execute(f"PRAGMA {pragma}")


def _readers_settings(connection: Any, _record: object) -> None:
    for pragma in ("query_only=ON", "wal_autocheckpoint=0"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_writing(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
