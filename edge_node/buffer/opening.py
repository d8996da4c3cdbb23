"""Opening a file of the buffer: checked first, then brought to the present version."""

import contextlib
import sqlite3
from pathlib import Path

from telemed import sqlite_room

from edge_node.buffer import schema, wal
from edge_node.buffer.sealing import Sealing
from edge_node.errors import BufferDamaged, BufferFailure, BufferFull
from edge_node.one_writer import BUSY_TIMEOUT_MS, Synchronous, is_damage


def translated(error: sqlite3.Error, name: str) -> BufferFailure:
    """Return the buffer's own failure for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM):
        return BufferFull(f"{name}: {error}")
    if is_damage(error):
        return BufferDamaged(f"{name}: {error}")
    return BufferFailure(f"{name}: {error}")


def connect(path: Path, *pragmas: str) -> sqlite3.Connection:
    """Open a file with some settings; any thread may use the connection, one at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in (*pragmas, f"busy_timeout = {BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def may_open(connection: sqlite3.Connection, sealing: Sealing) -> None:
    """Let statements ask for `opened(about, stored)`, see `Sealing.opened`, and for `has_locked()`."""
    connection.create_function("opened", 2, sealing.opened)
    connection.create_function("has_locked", 0, lambda: bool(sealing.reason))


def check_room(path: Path) -> None:
    """Make sure that a file can be opened; called before its first connection.

    Raises:
        BufferFull: there is too little room for what its connections share.
    """
    if not sqlite_room.may_open(path.parent):
        raise BufferFull(f"{path.name}: no room on the disk to open it")


def open_checked(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """Open or make a file, check it and bring it to the present version; blocking.

    Raises:
        BufferDamaged: the file fails its check.
        BufferNewer: it is of newer software; nothing of it is changed.
        BufferFailure: it cannot be opened.
        BufferFull: there is no room to open it.
    """
    check_room(path)
    if _log_is_broken(path):
        raise BufferDamaged(f"{path.name}: its write-ahead log is damaged before its end")
    with contextlib.ExitStack() as undo:
        try:
            connection = undo.enter_context(contextlib.closing(connect(path, f"synchronous = {synchronous}")))
            connection.execute("PRAGMA journal_mode = WAL")
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise BufferDamaged(f"{path.name}: {verdict}")
            schema.prepare(connection, path.name)
        except sqlite3.Error as error:
            raise translated(error, path.name) from error
        undo.pop_all()
    return connection


def _log_is_broken(path: Path) -> bool:
    """Look at the log before SQLite does, which would take its sound beginning for all of it."""
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and wal.is_broken(log.read_bytes())
