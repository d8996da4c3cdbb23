"""The statements that differ between SQLite and PostgreSQL on the hot path; nothing else knows the dialect."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Boolean, Connection, Integer, LargeBinary, Table

Row = Mapping[str, Any]
Key = tuple[Any, ...]


def is_postgres(connection: Connection) -> bool:
    """Return whether this is PostgreSQL; SQLite otherwise."""
    return connection.dialect.name == "postgresql"


def insert_new(connection: Connection, table: Table, rows: Sequence[Row], key: Sequence[str]) -> set[Key]:
    """Insert rows whose unique key is not there yet; return the keys of those that are new.

    Args:
        connection: in a transaction.
        table: a table with a unique constraint over (at least) `key`.
        rows: each with a value for every column; no two with the same key.
        key: columns that name a row in the answer.
    """
    if not rows:
        return set()
    if is_postgres(connection):
        return _insert_unnest(connection, table, rows, key)
    return _insert_many(connection, table, rows, key)


def _insert_unnest(connection: Connection, table: Table, rows: Sequence[Row], key: Sequence[str]) -> set[Key]:
    # One statement for the whole batch; RETURNING gives the new rows only.
    columns = list(table.columns)
    names = ", ".join(f'"{column.name}"' for column in columns)
    arrays = ", ".join(f"%s::{_array_type(column.type)}" for column in columns)
    returned = ", ".join(f'"{name}"' for name in key)
    found = connection.exec_driver_sql(
        f'INSERT INTO "{table.name}" ({names}) SELECT * FROM unnest({arrays}) '  # noqa: S608 - names of our own schema
        f"ON CONFLICT DO NOTHING RETURNING {returned}",
        tuple([row[column.name] for row in rows] for column in columns),
    )
    return {tuple(row) for row in found}


def _insert_many(connection: Connection, table: Table, rows: Sequence[Row], key: Sequence[str]) -> set[Key]:
    names = [column.name for column in table.columns]
    quoted = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(names))
    before = connection.exec_driver_sql(f'SELECT coalesce(max(rowid), 0) FROM "{table.name}"').scalar_one()  # noqa: S608
    done = connection.exec_driver_sql(
        f'INSERT OR IGNORE INTO "{table.name}" ({quoted}) VALUES ({marks})',  # noqa: S608
        [tuple(row[name] for name in names) for row in rows],
    )
    if done.rowcount == len(rows):
        return {tuple(row[name] for name in key) for row in rows}
    returned = ", ".join(f'"{name}"' for name in key)
    found = connection.exec_driver_sql(
        f'SELECT {returned} FROM "{table.name}" WHERE rowid > ?',  # noqa: S608
        (before,),
    )
    return {tuple(row) for row in found}


def upsert(connection: Connection, table: Table, rows: Sequence[Row], key: Sequence[str]) -> None:
    """Insert rows, or give the row with the same `key` the new values."""
    if not rows:
        return
    names = list(rows[0])
    changed = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name not in key)
    head = f'INSERT INTO "{table.name}" ({_quoted(names)}) '
    tail = f" ON CONFLICT ({_quoted(key)}) DO UPDATE SET {changed}"
    # Not through the expression language: building it costs more than the statement itself.
    if is_postgres(connection):
        arrays = ", ".join(f"%s::{_array_type(table.c[name].type)}" for name in names)
        columns = tuple([row[name] for row in rows] for name in names)
        connection.exec_driver_sql(f"{head}SELECT * FROM unnest({arrays}){tail}", columns)  # noqa: S608
        return
    marks = ", ".join("?" * len(names))
    values = [tuple(row[name] for name in names) for row in rows]
    connection.exec_driver_sql(f"{head}VALUES ({marks}){tail}", values)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _array_type(kind: Any) -> str:
    if isinstance(kind, BigInteger):
        return "bigint[]"
    if isinstance(kind, Integer):
        return "integer[]"
    if isinstance(kind, Boolean):
        return "boolean[]"
    return "bytea[]" if isinstance(kind, LargeBinary) else "text[]"
