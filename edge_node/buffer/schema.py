"""Tables of the files, made with sqlite-utils; forward-only versions in `PRAGMA user_version`.

The log has a rowid and a unique index rather than a primary key over its identity: five times the insert
rate with payloads of this size (reliability, finding 6).  Each index more costs two writes of every commit.
"""

import contextlib
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlite_utils import Database
from sqlite_utils.db import Table
from telemed.topics import Up

from edge_node.errors import BufferNewer

ALARM, VITALS, CARE = "alarm.db", "vitals.db", "care.db"
FILES = {Up.ALARM: ALARM, Up.VITALS: VITALS, Up.WAVES: VITALS, Up.CARE: CARE}
"""Which file a class is in: trouble in one never touches another.  What a monitor sends in one message, numerics and
waves, is in one file, so that one synced commit holds all of it."""
NAMES = (ALARM, VITALS, CARE)
_WAVES_1 = "bulk.db"
"""Where version 1 had the waves."""
VERSION = 6
LIVES_KEPT = 32
"""How many former lives a file remembers: so many starts may go by unheard, and the hub still knows who it is."""


def prepare(connection: sqlite3.Connection, name: str) -> None:
    """Bring a file to the present version; a new file gets its tables and its epoch, in one transaction.

    Raises:
        BufferNewer: made by newer software.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise BufferNewer(name, version, VERSION)
    if version == VERSION:
        return
    brings_waves = name == VITALS and version == 1 and _attach_waves(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version == 0:
            _make(Database(connection), name)
        if version == 1:
            _from_1(connection, name)
        if version in (1, 2):
            _make_shed(Database(connection))
        if version in (1, 2, 3) and name == CARE:
            _make_audit(Database(connection))
        if version in (1, 2, 3, 4) and name == VITALS:
            _make_minutes(Database(connection))
        if 1 <= version <= 5 and name == VITALS:
            _say_whether_sealed(connection)
        if brings_waves:
            _bring_waves(connection)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    if brings_waves:  # the old file stays where it is, read by nobody: an older version finds it if it must return
        connection.execute("DETACH DATABASE waves")


def begin_epoch(connection: sqlite3.Connection) -> int:
    """Begin the epoch of another life of this file and return it: a random number, never used before.

    A copy of the file, or one that was put back, never gives out a number that the hub may know with other content.
    """
    epoch = secrets.randbits(64)
    lives = [f"{former:016x}" for former in former_epochs(connection)]
    # Numbers are safe without the note: records and states bear their epoch.  A full disk must not keep a node down.
    with contextlib.suppress(sqlite3.Error):
        connection.executemany(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [("epoch", f"{epoch:016x}"), ("lives", " ".join(lives))],
        )
    return epoch


def former_epochs(connection: sqlite3.Connection) -> list[int]:
    """Return the epochs of the last lives of this file, oldest first."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'lives'").fetchone()
    lives = [int(text, 16) for text in row[0].split()] if row else []
    return [*lives, epoch_of(connection)][-LIVES_KEPT:]


def epoch_of(connection: sqlite3.Connection) -> int:
    """Return the epoch of the last life of this file; of one that was just made, a number of its own."""
    (text,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    return int(text, 16)


def _table(database: Database, name: str) -> Table:
    return Table(database, name)


def _make(database: Database, name: str) -> None:
    meta = _table(database, "meta").create({"key": str, "value": str}, pk="key")
    meta.insert({"key": "epoch", "value": f"{secrets.randbits(64):016x}"})
    _make_log(database)
    _table(database, "state").create(
        {"stream": str, "epoch": str, "next_seq": int, "acked": int},
        pk=("stream", "epoch"),
        not_null={"next_seq", "acked"},
    )
    _make_shed(database)
    for make in _OWN_TABLES[name]:
        make(database)


def _make_log(database: Database) -> None:
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


def _make_shed(database: Database) -> None:
    """Runs of numbers that were declared given up and that the hub has not receipted yet."""
    _table(database, "shed").create(
        {"stream": str, "epoch": str, "first": int, "last": int, "at_ns": int},
        pk=("stream", "epoch", "first"),
        not_null={"last", "at_ns"},
    )


def _add_key(database: Database) -> None:
    """Let the first record of a message carry what the message is known by when it is sent again."""
    database.execute("ALTER TABLE log ADD COLUMN key BLOB")
    database.execute("CREATE INDEX log_key ON log (key) WHERE key IS NOT NULL")


def _index_arrival(database: Database) -> None:
    _table(database, "log").create_index(["wall_ns"])


def _make_kept(database: Database) -> None:
    kept = _table(database, "kept").create(
        {"id": int, "at_ns": int, "reason": str, "key": bytes, "raw": bytes, "is_sealed": int},
        pk="id",
        not_null={"at_ns", "reason", "raw"},
    )
    kept.create_index(["at_ns"])
    kept.create_index(["key"])


def _say_whether_sealed(connection: sqlite3.Connection) -> None:
    """Let a row say whether its message is sealed: one as it came may begin as if it were.  NULL = before version 6."""
    connection.execute("ALTER TABLE kept ADD COLUMN is_sealed INTEGER")


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


def _make_minutes(database: Database) -> None:
    """The trends since version 5, a row for all measures of a device; those of before move here bit by bit."""
    minutes = _table(database, "minutes").create(
        {"device": str, "minute": int, "body": bytes}, pk=("device", "minute"), not_null={"body"}
    )
    minutes.create_index(["minute"])


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


def _make_audit(database: Database) -> None:
    """The audit trail, and the heads of it and of the hub's; the database itself refuses to change what is written.

    In as few words as possible: what describes the tables must fit the first page, so that damage elsewhere in the
    file never takes it (`salvage`).
    """
    database.execute(
        "CREATE TABLE audit (n INTEGER PRIMARY KEY, trail, at_ns INTEGER, actor, role, action, object, result, region, "
        "site, prev_hash, hash)"
    )
    database.execute(
        "CREATE TABLE audit_head (id INTEGER PRIMARY KEY, trail, n INTEGER, hash, at_ns INTEGER, key, signature, "
        "received_ns INTEGER)"
    )
    for name, what in (
        ("a1", "DELETE ON audit"),
        ("a2", "UPDATE ON audit"),
        ("a3", "UPDATE ON audit_head"),
        ("a4", "DELETE ON audit_head WHEN old.received_ns = 0"),
    ):
        database.execute(f"CREATE TRIGGER {name} BEFORE {what} BEGIN SELECT RAISE(ABORT, 'append-only'); END")


def _from_1(connection: sqlite3.Connection, name: str) -> None:
    """Version 1 had an index of measurements by arrival, and a table of keys."""
    if name != VITALS:
        return
    database = Database(connection)
    database.execute("DROP INDEX idx_log_wall_ns")
    _add_key(database)
    database.execute("ALTER TABLE kept ADD COLUMN key BLOB")
    _table(database, "kept").create_index(["key"])
    # Who sends a message again after the change of versions is not recognized by a key of before.
    database.execute("DROP TABLE seen")
    connection.execute("INSERT INTO meta (key, value) SELECT 'folded', coalesce(max(id), 0) FROM log")


def _bring_waves(connection: sqlite3.Connection) -> None:
    """Take the waves of version 1 into this file, under the epoch that numbered them."""
    columns = ", ".join(column for column in _names_of(connection, "waves", "log") if column != "id")
    connection.execute(f"INSERT INTO log ({columns}) SELECT {columns} FROM waves.log ORDER BY id")  # noqa: S608
    connection.execute("INSERT INTO state SELECT * FROM waves.state")
    connection.execute("UPDATE meta SET value = (SELECT coalesce(max(id), 0) FROM log) WHERE key = 'folded'")


def _names_of(connection: sqlite3.Connection, database: str, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA {database}.table_info({table})")]


def _attach_waves(connection: sqlite3.Connection) -> bool:
    """Attach the file that version 1 had beside this one, outside of any transaction; False where there is none."""
    path = Path(connection.execute("PRAGMA database_list").fetchone()[2]).with_name(_WAVES_1)
    if path.exists():
        connection.execute("ATTACH DATABASE ? AS waves", (str(path),))
    return path.exists()


_OWN_TABLES: dict[str, tuple[Callable[[Database], None], ...]] = {
    ALARM: (_index_arrival, _make_evaluated),
    VITALS: (_add_key, _make_kept, _make_trend, _make_minutes),
    CARE: (_index_arrival, _make_events, _make_audit),
}
