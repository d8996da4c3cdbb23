"""The table of consents, on both databases."""

from typing import Any

from sqlalchemy import Connection, insert, select, text
from telemed.consent import Purpose
from telemed.v1 import event_pb2

from cloud_hub.store import consents
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import (
    consent,
    dicom_file,
    dicom_group,
    dicom_instance,
    dicom_series,
    dicom_study,
    finding_review,
)
from tests.fakes.old_stores import drop_what_0024_makes

WHERE = ("baoshan", "clinic")


def note(database: Database, event: event_pb2.Event) -> None:
    database.write_blocking(lambda c: consents.note(c, WHERE, event, 1))


def given(**body: Any) -> event_pb2.Event:
    return event_pb2.Event(consent_given=event_pb2.ConsentGiven(**body))


def withdrawn(**body: Any) -> event_pb2.Event:
    return event_pb2.Event(consent_withdrawn=event_pb2.ConsentWithdrawn(**body))


def test_each_grantee_agrees_and_ends_for_itself_and_one_no_ends_all(care_db: Database) -> None:
    def seen_by(name: str) -> set[str]:
        return set(care_db.read_blocking(lambda c: consents.agreeing(c, "baoshan", Purpose.FAMILY, 5, name)))

    for person, name in (("p1", "son"), ("p1", "daughter"), ("p2", "son")):
        note(care_db, given(person_id=person, purpose="C5", grantee=name))
    assert (seen_by("son"), seen_by("daughter"), seen_by("")) == ({"p1", "p2"}, {"p1"}, set())
    note(care_db, withdrawn(person_id="p1", purpose="C5", grantee="son"))
    assert (seen_by("son"), seen_by("daughter")) == ({"p2"}, {"p1"})
    note(care_db, given(person_id="p1", purpose="C5", grantee="son"))
    note(care_db, withdrawn(person_id="p1", purpose="C5"))
    assert (seen_by("son"), seen_by("daughter")) == ({"p2"}, set())


def test_nobody_asked_is_neither_a_yes_nor_a_no(care_db: Database) -> None:
    note(care_db, withdrawn(person_id="no", purpose="C2"))
    note(care_db, given(person_id="yes", purpose="C2"))

    def of(person: str) -> bool:
        return care_db.read_blocking(lambda c: consents.permits(c, person, Purpose.SHARING, 5))

    assert (of("yes"), of("no"), of("nobody")) == (True, False, False)
    assert care_db.read_blocking(lambda c: consents.refusing(c, "baoshan", Purpose.SHARING)) == {"no"}
    assert care_db.read_blocking(lambda c: consents.refusing(c, "elsewhere", Purpose.SHARING)) == frozenset()


def test_what_is_given_for_a_time_ends_then(care_db: Database) -> None:
    note(care_db, given(person_id="p", purpose="C6", until_unix_ns=100))
    for now_ns, holds in ((99, True), (100, False)):
        found = care_db.read_blocking(lambda c, n=now_ns: consents.permits(c, "p", Purpose.HOME_CAMERA, n))  # type: ignore[misc]
        assert found is holds


def test_a_no_with_a_name_where_the_purpose_names_nobody_is_a_no_and_a_later_yes_counts(care_db: Database) -> None:
    def hidden() -> frozenset[str]:
        return care_db.read_blocking(lambda c: consents.refusing(c, "baoshan", Purpose.SHARING))

    note(care_db, given(person_id="p", purpose="C2"))
    note(care_db, withdrawn(person_id="p", purpose="C2", grantee="son"))
    note(care_db, withdrawn(person_id="q", purpose="C2", grantee="son"))
    assert hidden() == {"p", "q"}
    for person in ("p", "q"):
        note(care_db, given(person_id=person, purpose="C2"))
    assert hidden() == frozenset()


def test_a_no_that_was_kept_beside_its_consent_is_mended_by_the_migration(care_db: Database) -> None:
    rows = [
        ("earlier-yes", "C2", "", True, 10), ("earlier-yes", "C2", "somebody", False, 20),
        ("later-yes", "C2", "", True, 30), ("later-yes", "C2", "somebody", False, 20),
        ("same-instant", "C1", "", True, 20), ("same-instant", "C1", "somebody", False, 20),
        ("never-yes", "C3", "somebody", False, 20), ("never-yes", "C3", "another", False, 25),
        ("family", "C5", "son", False, 20), ("family", "C5", "daughter", True, 10),
    ]  # fmt: skip

    def as_of_before(connection: Connection) -> None:
        names = ("person_id", "purpose", "grantee", "is_given", "updated_ns")
        same = {"region": WHERE[0], "site": WHERE[1], "until_ns": 0}
        connection.execute(insert(consent), [same | dict(zip(names, row, strict=True)) for row in rows])
        # Later migrations make these again.
        drop_what_0024_makes(connection)
        for table in (dicom_file, dicom_group, dicom_study, dicom_series, dicom_instance, finding_review):
            table.drop(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = 'care_0015'"))

    care_db.write_blocking(as_of_before)
    care_db.migrate()
    c = consent.c
    query = select(c.person_id, c.grantee, c.is_given, c.updated_ns).order_by(c.person_id, c.grantee)
    found = [tuple(row) for row in care_db.read_blocking(lambda connection: connection.execute(query).all())]
    assert found == [
        ("earlier-yes", "", False, 20),
        ("family", "daughter", True, 10),
        ("family", "son", False, 20),
        ("later-yes", "", True, 30),
        ("never-yes", "", False, 25),
        ("same-instant", "", False, 20),
    ]
