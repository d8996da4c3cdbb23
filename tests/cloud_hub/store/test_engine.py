"""The engine: one writer, readers that see commits, forward-only migrations, both databases."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, inspect, select, text
from structlog.testing import capture_logs

from cloud_hub.errors import StoreFailure
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES, audit, identity, person, record, trend
from tests.fakes.old_stores import drop_what_0024_makes, make_old_store

ROW = {"at_ns": 1, "actor": "a", "role": "r", "action": "x", "object": "o", "result": "ok", "region": "", "site": ""}


def differences(database: Database) -> list[Any]:
    def compare(connection: Connection) -> list[Any]:
        def ours(name: str | None, kind: str, parents: Any) -> bool:
            # SQLite has the number of arrival as rowid; only the intake's statements know it (dialect.arrival).
            if kind in ("column", "index") and parents.get("table_name") == "record":
                return name not in ("arrival", "ix_record_arrival")
            return not (kind == "table" and name in ("alembic_version", "record_default"))

        options = {"compare_type": True, "include_name": ours}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), database.metadata))

    return database.read_blocking(compare)


def test_the_migrated_sample_store_is_what_the_schema_says(samples_db: Database) -> None:
    assert differences(samples_db) == []


def test_the_migrated_care_store_is_what_the_schema_says(care_db: Database) -> None:
    assert differences(care_db) == []


def test_the_minutes_of_a_stream_lie_by_time(samples_db: Database) -> None:
    keys = samples_db.read_blocking(lambda c: inspect(c).get_pk_constraint("trend")["constrained_columns"])
    assert keys == ["stream_id", "minute", "measure"]


def test_the_minutes_of_before_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "samples.db"
    make_old_store(path, "samples_0006")
    row = {"measure": "hr", "n": 3, "low": "60", "high": "62.50", "last": "61", "last_ns": 5}
    rows = [row | {"stream_id": stream, "minute": minute} for stream in (2, 1) for minute in (9, 8)]
    with closing(sqlite3.connect(path)) as old, old:
        old.executemany(
            "INSERT INTO trend (stream_id, measure, minute, n, low, high, last, last_ns) "
            "VALUES (:stream_id, :measure, :minute, :n, :low, :high, :last, :last_ns)",
            rows,
        )
    with closing(Database(f"sqlite:///{path}", SAMPLES, "samples")) as database:
        with capture_logs() as said:
            database.migrate()
        kept = database.read_blocking(lambda c: [dict(found._mapping) for found in c.execute(select(trend))])
    assert kept == sorted(rows, key=lambda one: (one["stream_id"], one["minute"]))
    assert [line["event"] for line in said] == ["ordering-trends"]


def test_a_new_store_has_no_trends_to_order(tmp_path: Path) -> None:
    with closing(Database(f"sqlite:///{tmp_path}/samples.db", SAMPLES, "samples")) as database, capture_logs() as said:
        database.migrate()
    assert said == []


def test_a_missing_column_would_be_noticed(care_db: Database) -> None:
    care_db.write_blocking(lambda connection: connection.execute(text("ALTER TABLE audit DROP COLUMN result")))
    assert [change[0] for change in differences(care_db)] == ["add_column"]


def test_migrating_twice_changes_nothing(care_db: Database) -> None:
    care_db.migrate()
    assert differences(care_db) == []


@pytest.mark.parametrize(
    ("was", "seen_ns"), [("ALTER TABLE identity DROP COLUMN seen_ns", 5), ("UPDATE identity SET seen_ns = 7", 7)]
)
def test_an_identity_gets_the_column_that_it_may_have_had_from_the_start(
    care_db: Database, was: str, seen_ns: int
) -> None:
    row = {"issuer": "i", "subject": "s", "username": "u", "is_mapped": True, "made_ns": 5, "seen_ns": 6}
    care_db.write_blocking(lambda c: c.execute(identity.insert().values(row)))
    care_db.write_blocking(lambda c: c.execute(text(was)))
    # As it was then: without what later migrations make.
    care_db.write_blocking(drop_what_0024_makes)
    care_db.write_blocking(lambda c: c.execute(text("DROP INDEX ix_dicom_study_unread")))
    care_db.write_blocking(lambda c: c.execute(text("DROP TABLE finding_review")))
    care_db.write_blocking(lambda c: c.execute(text("ALTER TABLE dicom_study DROP COLUMN fetched_ns")))
    care_db.write_blocking(lambda c: c.execute(text("UPDATE alembic_version SET version_num = 'care_0019'")))
    care_db.migrate()
    assert differences(care_db) == []
    assert care_db.read_blocking(lambda c: c.execute(select(identity.c.seen_ns)).scalar_one()) == seen_ns


def test_a_store_written_by_a_newer_version_is_refused_with_a_hint(care_db: Database) -> None:
    care_db.write_blocking(lambda c: c.execute(text("UPDATE alembic_version SET version_num = 'care_9999'")))
    with pytest.raises(StoreFailure, match="newer version"):
        care_db.migrate()


@pytest.mark.anyio
async def test_what_is_written_is_read_by_others_after_the_commit(care_db: Database) -> None:
    await care_db.write(lambda connection: connection.execute(audit.insert().values(ROW)))
    assert await care_db.read(lambda c: c.execute(select(func.count()).select_from(audit)).scalar_one()) == 1


@pytest.mark.anyio
async def test_work_that_fails_leaves_nothing_behind(care_db: Database) -> None:
    def half(connection: Connection) -> None:
        connection.execute(audit.insert().values(ROW))
        raise LookupError("stopped half-way")

    with pytest.raises(LookupError):
        await care_db.write(half)
    assert await care_db.read(lambda c: c.execute(select(func.count()).select_from(audit)).scalar_one()) == 0


@pytest.mark.anyio
async def test_a_reader_cannot_write(care_db: Database) -> None:
    with pytest.raises(StoreFailure):
        await care_db.read(lambda connection: connection.execute(audit.insert().values(ROW)))


@pytest.mark.anyio
async def test_a_failure_quotes_no_values(care_db: Database) -> None:
    row = {"person_id": "1", "family_name": "secret-name", "region": "r"}
    with pytest.raises(StoreFailure) as caught:
        await care_db.write(lambda connection: connection.execute(person.insert().values(row)))
    assert "secret-name" not in str(caught.value)
    assert not caught.value.is_passing


def test_sqlite_commits_are_synced_and_in_wal(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'care.db'}", CARE, "care")
    database.migrate()

    def settings(connection: Connection) -> tuple[object, ...]:
        return tuple(connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("synchronous", "journal_mode"))

    assert database.write_blocking(settings) == (2, "wal")
    database.close()
    assert not (tmp_path / "care.db-wal").exists()


@pytest.mark.postgres
def test_a_record_with_a_wrong_clock_lands_in_the_default_partition(postgres_url: str) -> None:
    database = Database(f"{postgres_url}yz_template", SAMPLES, "samples")
    names = [column.name for column in record.columns if column.name not in ("epoch", "payload")]
    row = dict.fromkeys(names, 1) | {"epoch": "0" * 16, "payload": b"", "edge_day": 99999}

    def attempt(connection: Connection) -> int:
        connection.execute(record.insert().values(row))
        count = connection.execute(text("SELECT count(*) FROM record_default")).scalar_one()
        connection.rollback()
        return int(count)

    assert database.write_blocking(attempt) == 1
    database.close()
