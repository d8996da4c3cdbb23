"""Studies that are to be read are found by an index of them, however many have been read."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, event, insert, text

from cloud_hub.store import studies
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import dicom_study
from cloud_hub.store.studies import Narrowing

READ_OF_THREE = {"never": None, "some": 2, "all": 3}
"""Study to how many of its three images were read."""
UNREAD = Narrowing(is_unread=True)


def fill(connection: Connection) -> None:
    same = {"region": "r", "site": "s", "study_date": "20261120", "study_time": "", "modalities": "[]"}
    same |= {"attributes": "{}"}
    counts = {"series_count": 1, "instance_count": 3, "indexed_ns": 1}
    rows = [
        {**same, **counts, "study_key": key, "group_id": key, "study_uid": key, "read_images": read}
        for key, read in READ_OF_THREE.items()
    ]
    connection.execute(insert(dicom_study), [row | {"fetched_ns": None} for row in rows])
    fetched = {"study_key": "fetched", "group_id": "fetched", "study_uid": "fetched", "fetched_ns": 1}
    connection.execute(insert(dicom_study), [{**same, **counts, **fetched}])


def plan_of(connection: Connection, narrowing: Narrowing) -> str:
    """Return how the database looks for studies."""
    asked = list[tuple[str, tuple[object, ...]]]()
    event.listen(connection, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
    list(studies.studies(connection, "r", narrowing))
    statement, values = asked[-1]
    how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    if how == "EXPLAIN":
        # Of three rows it would read the table, whatever there is.
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
    return "\n".join(str(tuple(row)) for row in connection.exec_driver_sql(f"{how} {statement}", values))


def test_a_study_is_unread_while_fewer_images_were_read_than_there_are(care_db: Database) -> None:
    care_db.write_blocking(fill)
    found = care_db.read_blocking(lambda c: list(studies.studies(c, "r", UNREAD)))
    assert sorted(one.study_key for one in found) == ["never", "some"]


@pytest.mark.parametrize(
    "narrowing",
    [UNREAD, replace(UNREAD, sites=frozenset({"s"})), replace(UNREAD, filed_under=frozenset({"", "p"}))],
    ids=["all", "of a site", "of some persons"],
)
def test_the_unread_studies_are_found_by_their_index(care_db: Database, narrowing: Narrowing) -> None:
    care_db.write_blocking(fill)
    assert "ix_dicom_study_unread" in care_db.read_blocking(lambda c: plan_of(c, narrowing))
