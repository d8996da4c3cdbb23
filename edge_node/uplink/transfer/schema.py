"""Tables of `transfer.db`, made with sqlite-utils; forward-only versions in `PRAGMA user_version`."""

import sqlite3

from sqlite_utils import Database
from sqlite_utils.db import Table

from edge_node.errors import BufferFailure

FILE = "transfer.db"
VERSION = 1


def prepare(connection: sqlite3.Connection) -> None:
    """Bring the file to the present version, in one transaction.

    Raises:
        BufferFailure: made by newer software; it is not touched.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise BufferFailure(f"{FILE}: version {version} is newer than this software ({VERSION})")
        if version < VERSION:
            _make(Database(connection))
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _make(database: Database) -> None:
    parcel = Table(database, "parcel").create(
        {
            "parcel_id": str,
            "sha256": str,
            "size_bytes": int,
            "chunk_hashes": bytes,
            "kind": str,
            "name": str,
            "group_id": str,
            "is_preview": int,
            "priority": int,
            "is_urgent": int,
            "queued_ns": int,
            "state": str,
            "code": str,
            "resume_ns": int,
            "durable_bytes": int,
            "hub_id": str,
            "is_withdrawn": int,
            "changed_ns": int,
        },
        pk="parcel_id",
        not_null={"sha256", "size_bytes", "chunk_hashes", "kind", "name", "queued_ns", "state"},
    )
    parcel.create_index(["state", "changed_ns"])
    parcel.create_index(["sha256", "group_id"])
    Table(database, "spent").create({"day": str, "kind": str, "bytes": int}, pk=("day", "kind"), not_null={"bytes"})
    Table(database, "released").create(
        {
            "sha256": str,
            "size_bytes": int,
            "manifest_sha256": str,
            "chunk_hashes": bytes,
            "have": bytes,
            "kind": str,
            "name": str,
            "state": str,
            "code": str,
            "listed_ns": int,
            "changed_ns": int,
        },
        pk="sha256",
        not_null={"size_bytes", "manifest_sha256", "chunk_hashes", "have", "kind", "name", "state"},
    )
