"""Tables of `transfer.db`, with forward-only versions."""

from sqlite_utils import Database
from sqlite_utils.db import Table

from edge_node.one_writer import Tables

FILE = "transfer.db"


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


TABLES = Tables(1, _make)
