"""Tables of the four files, made with sqlite-utils; forward-only versions in `PRAGMA user_version`.

The log has a rowid and a unique index rather than a primary key over its identity: five times the insert
rate with payloads of this size (reliability, finding 6).
"""

import secrets
import sqlite3
from collections.abc import Callable

from sqlite_utils import Database
from sqlite_utils.db import Table
from telemed.topics import Up

from edge_node.errors import BufferDamaged

FILES = {Up.ALARM: "alarm.db", Up.VITALS: "vitals.db", Up.WAVES: "bulk.db", Up.CARE: "care.db"}
"""One file a class, so that trouble in one never touches another."""
VERSION = 1


def prepare(connection: sqlite3.Connection, up: Up) -> None:
    """Bring a file to the present version; a new file gets its tables and its epoch, in one transaction.

    Raises:
        BufferDamaged: made by newer software.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise BufferDamaged(f"{FILES[up]}: version {version} is newer than this software ({VERSION})")
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        database = Database(connection)
        _make_log(database)
        for make in _OWN_TABLES[up]:
            make(database)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def epoch_of(connection: sqlite3.Connection) -> int:
    """Return the random number that this file got when it was made; a file made anew never repeats one."""
    (text,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    return int(text, 16)


def _table(database: Database, name: str) -> Table:
    return Table(database, name)


def _make_log(database: Database) -> None:
    meta = _table(database, "meta").create({"key": str, "value": str}, pk="key")
    meta.insert({"key": "epoch", "value": f"{secrets.randbits(64):016x}"})
    log = _table(database, "log").create(
        {
            "id": int,
            "stream": str,
            "epoch": str,
            "seq": int,
            "kind": int,
            "schema": int,
            "codec": int,
            "wall_ns": int,
            "mono_ns": int,
            "boot": int,
            "offset_ms": int,
            "offset_error_ms": int,
            "crc": int,
            "payload": bytes,
        },
        pk="id",
        not_null={"stream", "epoch", "seq", "kind", "wall_ns", "crc", "payload"},
    )
    log.create_index(["stream", "epoch", "seq"], unique=True)
    log.create_index(["wall_ns"])
    _table(database, "state").create(
        {"stream": str, "epoch": str, "next_seq": int, "acked": int},
        pk=("stream", "epoch"),
        not_null={"next_seq", "acked"},
    )


def _make_seen(database: Database) -> None:
    seen = _table(database, "seen").create({"key": str, "at_ns": int}, pk="key", not_null={"at_ns"})
    seen.create_index(["at_ns"])


def _make_kept(database: Database) -> None:
    kept = _table(database, "kept").create(
        {"id": int, "at_ns": int, "reason": str, "raw": bytes}, pk="id", not_null={"at_ns", "reason", "raw"}
    )
    kept.create_index(["at_ns"])


def _make_trend(database: Database) -> None:
    trend = _table(database, "trend").create(
        {
            "device": str,
            "measure": str,
            "minute": int,
            "n": int,
            "low": float,
            "high": float,
            "last": float,
            "last_ns": int,
        },
        pk=("device", "minute", "measure"),
    )
    trend.create_index(["minute"])


def _make_evaluated(database: Database) -> None:
    _table(database, "evaluated").create({"device": str, "up_to_ns": int}, pk="device", not_null={"up_to_ns"})


def _make_events(database: Database) -> None:
    event = _table(database, "event").create(
        {"site_seq": int, "event_id": str, "aggregate_type": str, "aggregate_id": str, "body": bytes},
        pk="site_seq",
        not_null={"event_id", "aggregate_type", "aggregate_id", "body"},
    )
    event.create_index(["event_id"])
    event.create_index(["aggregate_type", "site_seq"])
    pending = _table(database, "pending").create(
        {"id": int, "event_id": str, "body": bytes}, pk="id", not_null={"event_id", "body"}
    )
    pending.create_index(["event_id"], unique=True)


_OWN_TABLES: dict[Up, tuple[Callable[[Database], None], ...]] = {
    Up.ALARM: (_make_evaluated,),
    Up.VITALS: (_make_seen, _make_kept, _make_trend),
    Up.WAVES: (_make_seen,),
    Up.CARE: (_make_events,),
}
