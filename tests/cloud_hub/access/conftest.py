"""A care database with one account of each role, and a clock that is moved by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from telemed.roles import Role

from cloud_hub.access.passwords import hash_password
from cloud_hub.access.sign_in import Access
from cloud_hub.store.accounts import Account, save_account
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, audit

PASSWORD = "amber-birch-cedar-0001"


@dataclass
class Clock:
    """Nanoseconds since the epoch, moved by hand."""

    at_ns: int = 1_763_700_000_000_000_000

    def __call__(self) -> int:
        return self.at_ns

    def pass_s(self, seconds: float) -> None:
        self.at_ns += int(seconds * 1_000_000_000)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def hashed() -> str:
    return hash_password(PASSWORD)


@pytest.fixture
def care(tmp_path: Path, hashed: str) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/care.db", CARE, "care")
    database.migrate()
    found = [
        Account("physician", Role.PHYSICIAN, "杜仲", "Du Zhong", (), hashed),
        Account("clinic", Role.CLINIC, "黄芪", "Huang Qi", ("baoshan-clinic",), hashed),
        Account("caregiver", Role.CAREGIVER, "秋小禾", "Qiu Xiaohe", ("heming-home",), hashed),
        Account("operator", Role.OPERATOR, "决明", "Jue Ming", (), hashed),
        Account(
            "api",
            Role.PROGRAM,
            "程序",
            "Program",
            (),
            hashed,
            ("system/Observation.rs", "system/Device.rs"),
            ("http://127.0.0.1/callback",),
        ),
    ]

    def work(connection: Any) -> None:
        for account in found:
            save_account(connection, account, 1)

    database.write_blocking(work)
    yield database
    database.close()


@pytest.fixture
def access(care: Database, clock: Clock) -> Access:
    return Access(care, "baoshan", now_ns=clock)


@pytest.fixture
def audit_of(care: Database) -> Any:
    """Read the audit trail as (actor, action, object, result)."""

    def read() -> list[tuple[str, ...]]:
        query = select(audit.c.actor, audit.c.action, audit.c.object, audit.c.result).order_by(audit.c.id)
        return [tuple(row) for row in care.read_blocking(lambda c: c.execute(query).all())]

    return read
