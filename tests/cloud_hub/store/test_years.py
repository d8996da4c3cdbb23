"""What is asked often is found without going through years of it: a million people come in each."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.event import listen, remove

from cloud_hub.store import alarms, audit_trail, care_team, persons, samples
from cloud_hub.store.engine import Database

REGION, SITE, PERSON = "baoshan", "baoshan-clinic", "p1"
CARE: dict[str, tuple[Callable[[Connection], Any], str]] = {
    "who lies in the region": (lambda c: persons.open_stays(c, REGION, None), "ix_bed_stay_open (region=?)"),
    "who lies at a site": (lambda c: persons.open_stays(c, REGION, [SITE]), "ix_bed_stay_open (region=? AND site=?)"),
    "who is under care": (lambda c: care_team.under_care(c, REGION), "ix_bed_stay_open (region=?)"),
    "whose referral is open": (lambda c: care_team.under_care(c, REGION), "ix_referral_head_region_state"),
    "some persons": (lambda c: persons.persons_named(c, REGION, [PERSON, "p2"]), "(person_id=?)"),
    "the alarms of a person": (lambda c: alarms.of_person(c, REGION, PERSON, "", 10), "ix_alarm_person_id"),
    "the newest signed head": (audit_trail.newest_head, "ix_audit_head_at_ns_n"),
}


def plan_of(database: Database, work: Callable[[Connection], Any]) -> list[str]:
    """Return the steps by which SQLite answers what some reading asks."""
    asked = list[tuple[str, Any]]()

    def note(*args: Any) -> None:
        asked.append((args[2], args[3]))

    listen(database._read_engine, "before_cursor_execute", note)
    database.read_blocking(work)
    remove(database._read_engine, "before_cursor_execute", note)
    queries = [one for one in asked if one[0].startswith("SELECT")]

    def explain(connection: Connection) -> list[str]:
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values) for query, values in queries]
        return [row.detail for plan in plans for row in plan]

    return database.read_blocking(explain)


@pytest.mark.parametrize("case", CARE)
def test_care_is_looked_up(care_db: Database, case: str) -> None:
    if care_db.is_postgres:
        pytest.skip("the plan of SQLite is asked for")
    work, by = CARE[case]
    steps = plan_of(care_db, work)
    assert any(by in step for step in steps)
    # In the order of an index the first row is at hand; any other walk through a table goes through all of it.
    assert not [step for step in steps if step.startswith("SCAN") and by not in step]


def test_the_streams_of_a_site_are_looked_up(samples_db: Database) -> None:
    if samples_db.is_postgres:
        pytest.skip("the plan of SQLite is asked for")
    for devices in ((), ("mon-b01",)):
        steps = plan_of(samples_db, partial(samples.streams_of, site=SITE, devices=devices))
        assert [step for step in steps if "TEMP" not in step] == ["SEARCH stream USING INDEX ix_stream_site (site=?)"]
