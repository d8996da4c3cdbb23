"""Tables of `imaging.db`, with forward-only versions."""

from sqlite_utils import Database
from sqlite_utils.db import Table

from edge_node.one_writer import Tables

FILE = "imaging.db"


def _make(database: Database) -> None:
    if not Table(database, "study").exists():
        _make_first(database)
    _add_retention(database)


def _add_retention(database: Database) -> None:
    study, instance = Table(database, "study"), Table(database, "instance")
    study.add_column("at_hub_generation", int, not_null_default=0)
    study.add_column("at_hub_ns", int, not_null_default=0)
    study.add_column("is_here", int, not_null_default=1)
    instance.add_column("kept", int, not_null_default=0)
    instance.create_index(["kept"])


def _make_first(database: Database) -> None:
    study = Table(database, "study").create(
        {
            "study_id": str,
            "study_key": str,
            "study_uid": str,
            "patient_id": str,
            "issuer": str,
            "patient_name": str,
            "birth_date": str,
            "sex": str,
            "study_date": str,
            "description": str,
            "person_id": str,
            "assigned_by": str,
            "is_mixed": int,
            "conflicts": int,
            "last_ns": int,
            "generation": int,
            "offered_generation": int,
            "key_image": str,
        },
        pk="study_id",
        not_null={"study_key", "last_ns", "generation", "offered_generation"},
    )
    study.create_index(["study_key"], unique=True)
    instance = Table(database, "instance").create(
        {
            "sop_instance_uid": str,
            "sha256": str,
            "version": int,
            "study_id": str,
            "series_uid": str,
            "sop_class_uid": str,
            "transfer_syntax": str,
            "size_bytes": int,
            "modality": str,
            "series_description": str,
            "series_number": str,
            "instance_number": str,
            "rows": int,
            "columns": int,
            "frames": int,
            "fault": str,
            "sender": str,
            "received_ns": int,
            "is_offered": int,
        },
        pk=("sop_instance_uid", "sha256"),
        not_null={"version", "study_id", "size_bytes", "received_ns"},
    )
    instance.create_index(["study_id"])
    instance.create_index(["sha256"])
    Table(database, "mark").create({"name": str}, pk="name")


TABLES = Tables(2, _make)
