"""Studies that are named are looked up, however many a region has; the newest day comes first all the same."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, insert
from sqlalchemy.event import listen, remove

from cloud_hub.store import studies
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import dicom_group, dicom_study, person
from cloud_hub.store.studies import Narrowing

REGION, SITE = "baoshan", "clinic"
DAYS = ["20261101", "", "20261103", "20261102"]
"""Of the studies, in the order in which they came; every second is of p1, the others of p0."""
KEYS = ["0" * 63 + str(number) for number in range(len(DAYS))]
SITES = frozenset({SITE, "other"})
NAMED: dict[str, tuple[Narrowing, str]] = {
    "study": (Narrowing(study_uids=frozenset({"1.2.0", "1.2.2"})), "study_uid=?"),
    "study at some sites": (Narrowing(SITES, study_uids=frozenset({"1.2.0", "1.2.2"})), "study_uid=?"),
    "study of some days": (Narrowing(study_uids=frozenset({"1.2.0", "1.2.2"}), dates=("2026", "")), "study_uid=?"),
    "key": (Narrowing(study_keys=frozenset(KEYS[::2])), "study_key=?"),
    "key at some sites": (Narrowing(SITES, study_keys=frozenset(KEYS[::2])), "study_key=?"),
    "person": (Narrowing(persons=frozenset({"p0"})), "group_id=?"),
    "persons": (Narrowing(persons=frozenset({"p0", "p7", "p9"})), "group_id=?"),
    "person at some sites": (Narrowing(SITES, persons=frozenset({"p0"})), "group_id=?"),
}


def fill(connection: Connection) -> None:
    for number, day in enumerate(DAYS):
        group = {"region": REGION, "site": SITE, "group_id": f"g{number}"}
        connection.execute(
            insert(dicom_group).values(**group, person_id=f"p{number % 2}", generation=1, told_ns=1, objects=1)
        )
        row: dict[str, object] = {
            **group,
            "study_key": KEYS[number],
            "study_uid": f"1.2.{number}",
            "study_date": day,
            "study_time": "",
        }
        row |= {"modalities": "[]", "series_count": 1, "instance_count": 1, "attributes": "{}", "indexed_ns": 1}
        connection.execute(insert(dicom_study).values(**row))
    for person_id in ("p0", "p1"):
        named = {"person_id": person_id, "region": REGION, "site": SITE, "family_name": "谷", "updated_ns": 1}
        connection.execute(insert(person).values(**named, given_name="", gender=""))


def found(narrowing: Narrowing) -> Callable[[Connection], list[str]]:
    return lambda connection: [one.study_uid for one in studies.studies(connection, REGION, narrowing)]


@pytest.mark.parametrize("case", NAMED)
def test_what_is_named_comes_with_the_newest_day_first(care_db: Database, case: str) -> None:
    care_db.write_blocking(fill)
    assert care_db.read_blocking(found(Narrowing())) == ["1.2.2", "1.2.3", "1.2.0", "1.2.1"]
    assert care_db.read_blocking(found(NAMED[case][0])) == ["1.2.2", "1.2.0"]


@pytest.mark.parametrize("case", NAMED)
def test_what_is_named_is_looked_up_and_no_region_or_site_walked_for_it(care_db: Database, case: str) -> None:
    if care_db.is_postgres:
        pytest.skip("the plan of SQLite is asked for")
    narrowing, by = NAMED[case]
    asked = list[tuple[str, Any]]()

    def note(*args: Any) -> None:
        asked.append((args[2], args[3]))

    listen(care_db._read_engine, "before_cursor_execute", note)
    care_db.read_blocking(found(narrowing))
    remove(care_db._read_engine, "before_cursor_execute", note)
    ((query, values),) = (one for one in asked if "FROM dicom_study" in one[0])
    plan = care_db.read_blocking(lambda c: c.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all())
    steps = [row.detail for row in plan]
    (step,) = (one for one in steps if " dicom_study " in one)
    assert by in step
    assert not any(one.startswith("SCAN") for one in steps), steps
    told = [one for one in steps if " dicom_group " in one]
    assert all("group_id=?" in one or "person_id=?" in one for one in told), steps
