"""The statements that differ between SQLite and PostgreSQL on the hot path; nothing else knows the dialect."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Connection, Integer, LargeBinary, Table, literal_column

Row = tuple[Any, ...]
Key = tuple[Any, ...]
_PERSONS_LOCK = 0x59755A68_70657273
"""Names PostgreSQL's advisory lock of a database: nobody else may use this number."""
_MOST_ROWS = 128
"""Rows of one SQLite statement at most: 16 columns of them stay far below its 32766 parameters."""
_STATEMENTS_REMEMBERED = 128
"""Texts of some kilobytes; a text that is the same object is found prepared without being read again."""


def arrival(connection: Connection, table: Table) -> ColumnElement[int]:
    """Return the number of a row's arrival in a table that is only appended to: later rows have higher ones."""
    return literal_column(f'"{table.name}".{"arrival" if is_postgres(connection) else "rowid"}', BigInteger)


def is_postgres(connection: Connection) -> bool:
    """Return whether this is PostgreSQL; SQLite otherwise."""
    return connection.dialect.name == "postgresql"


def overwrite_what_goes(connection: Connection) -> None:
    """Have what is deleted or emptied over this connection be overwritten; PostgreSQL does so when it vacuums."""
    if not is_postgres(connection):
        connection.exec_driver_sql("PRAGMA secure_delete = ON").fetchone()


def hold_persons(connection: Connection) -> None:
    """Have nobody taken out until this transaction ends; to be asked for before anything is read or written in it."""
    if is_postgres(connection):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock_shared(%s)", (_PERSONS_LOCK,))


def hold_persons_alone(connection: Connection) -> None:
    """Wait for all who hold persons, and have others wait until this transaction ends; SQLite has one writer anyway."""
    if is_postgres(connection):
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_PERSONS_LOCK,))


def insert_new(connection: Connection, table: Table, rows: Sequence[Row], key: Sequence[str]) -> set[Key]:
    """Insert rows whose unique key is not there yet; return the keys of those that are new.

    Args:
        connection: in a transaction.
        table: a table with a unique constraint over (at least) `key`.
        rows: each with a value for every column, in the table's order; no two with the same key.
        key: columns that name a row in the answer.
    """
    if not rows:
        return set()
    if is_postgres(connection):
        return _insert_unnest(connection, table, rows, key)
    return _insert_many(connection, table, rows, key)


def _insert_unnest(connection: Connection, table: Table, rows: Sequence[Row], key: Sequence[str]) -> set[Key]:
    # One statement for the whole batch; RETURNING gives the new rows only.
    names = [column.name for column in table.columns]
    found = connection.exec_driver_sql(
        f'INSERT INTO "{table.name}" ({_quoted(names)}) {_unnest(table, names)} '
        f"ON CONFLICT DO NOTHING RETURNING {_quoted(key)}",
        _columns(rows),
    )
    return {tuple(row) for row in found}


def _insert_many(connection: Connection, table: Table, rows: Sequence[Row], key: Sequence[str]) -> set[Key]:
    names = [column.name for column in table.columns]
    before = connection.exec_driver_sql(f'SELECT coalesce(max(rowid), 0) FROM "{table.name}"').scalar_one()  # noqa: S608
    inserted = _many_values(connection, f'INSERT OR IGNORE INTO "{table.name}" ({_quoted(names)})', rows, "")
    if inserted == len(rows):
        return set(zip(*(map(itemgetter(names.index(name)), rows) for name in key), strict=True))
    found = connection.exec_driver_sql(
        f'SELECT {_quoted(key)} FROM "{table.name}" WHERE rowid > ?',  # noqa: S608
        (before,),
    )
    return {tuple(row) for row in found}


def upsert(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[Row],
    key: Sequence[str],
    joined: Mapping[str, str] | None = None,
) -> None:
    """Insert rows, or give the row with the same `key` the new values.

    Args:
        connection: in a transaction.
        table: a table with a unique constraint over `key`.
        names: columns that the rows have values of, in the rows' order.
        rows: no two with the same key.
        key: columns that name a row.
        joined: by column, SQL of both dialects that makes one value of that of the table and that of `excluded`; the
            other columns get the new value.
    """
    if not rows:
        return
    values = {name: f'excluded."{name}"' for name in names if name not in key} | dict(joined or {})
    changed = ", ".join(f'"{name}" = {value}' for name, value in values.items())
    head = f'INSERT INTO "{table.name}" ({_quoted(names)})'
    tail = f" ON CONFLICT ({_quoted(key)}) DO UPDATE SET {changed}"
    # Not through the expression language: building it costs more than the statement itself.
    if is_postgres(connection):
        connection.exec_driver_sql(f"{head} {_unnest(table, names)}{tail}", _columns(rows))
        return
    _many_values(connection, head, rows, tail)


def _many_values(connection: Connection, head: str, rows: Sequence[Row], tail: str) -> int:
    """Run an INSERT on SQLite, many rows a statement; return how many rows it changed.

    SQLite's module gives the interpreter away once a statement and must wait to get it back: a statement a row
    stands still for milliseconds each time while the event loop is busy.
    """
    changed = 0
    for part in _powers_of_two(rows):
        parameters = tuple(chain.from_iterable(part))
        changed += connection.exec_driver_sql(_statement(head, len(part), len(part[0]), tail), parameters).rowcount
    return changed


@lru_cache(_STATEMENTS_REMEMBERED)
def _statement(head: str, rows: int, columns: int, tail: str) -> str:
    marks = f"({', '.join('?' * columns)})"
    return f"{head} VALUES {', '.join([marks] * rows)}{tail}"


def _powers_of_two(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    # Few lengths, so that the connection finds its statements prepared.
    at, size = 0, _MOST_ROWS
    while at < len(rows):
        while size > len(rows) - at:
            size //= 2
        yield rows[at : at + size]
        at += size


def _unnest(table: Table, names: Sequence[str]) -> str:
    arrays = ", ".join(f"%s::{_array_type(table.c[name].type)}" for name in names)
    return f"SELECT * FROM unnest({arrays})"  # noqa: S608 - names of our own schema


def _columns(rows: Sequence[Row]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


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
