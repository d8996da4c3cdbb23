"""The hub's databases for tests: each test that asks for one runs on SQLite and on PostgreSQL."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine

from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES
from tests.fakes.postgres import find_programs, postgres_server

KINDS = [pytest.param("sqlite"), pytest.param("postgresql", marks=pytest.mark.postgres)]
TEMPLATE = "yz_template"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a private PostgreSQL up to the database name, with a migrated template database."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    with postgres_server(programs) as url:
        _run(url + "postgres", f"CREATE DATABASE {TEMPLATE}")
        for metadata, name in ((SAMPLES, "samples"), (CARE, "care")):
            database = Database(url + TEMPLATE, metadata, name)
            database.migrate()
            database.close()
        yield url


@pytest.fixture(params=KINDS)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Function from "samples" or "care" to the URL of a fresh database of that name."""
    if request.param == "sqlite":
        yield lambda name: f"sqlite:///{tmp_path / name}.db"
        return
    server: str = request.getfixturevalue("postgres_url")
    fresh = f"t{uuid.uuid4().hex}"
    _run(server + "postgres", f"CREATE DATABASE {fresh} TEMPLATE {TEMPLATE}")
    yield lambda name: server + fresh
    _run(server + "postgres", f"DROP DATABASE {fresh} WITH (FORCE)")


@pytest.fixture
def samples_db(store_url: Callable[[str], str]) -> Iterator[Database]:
    """A fresh, migrated sample store."""
    yield from _open(store_url("samples"), SAMPLES, "samples")


@pytest.fixture
def care_db(store_url: Callable[[str], str]) -> Iterator[Database]:
    """A fresh, migrated care store."""
    yield from _open(store_url("care"), CARE, "care")


def _open(url: str, metadata: MetaData, name: str) -> Iterator[Database]:
    database = Database(url, metadata, name)
    database.migrate()
    yield database
    database.close()


def _run(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
