"""Accounts, sessions and audit on SQLite and on PostgreSQL."""

from dataclasses import replace

import pytest
from sqlalchemy import delete, func, select, update
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.access.oauth import OAuth
from cloud_hub.access.sign_in import Access
from cloud_hub.errors import SignInRefused, StoreFailure
from cloud_hub.store import accounts, persons
from cloud_hub.store.accounts import Account, AuditEntry
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import audit
from tests.cloud_hub.access.conftest import PASSWORD

ENTRY = AuditEntry(1, "a", "physician", "patient-read", "Patient/1", "ok", "baoshan")


@pytest.mark.anyio
async def test_signing_in_and_tokens_work_on_both(care_db: Database, hashed: str) -> None:
    clinic = Account("clinic", Role.CLINIC, "黄芪", "Huang Qi", ("a", "b"), hashed)
    program = Account("api", Role.PROGRAM, "程序", "Program", (), hashed, ("system/Device.rs",))
    for one in (clinic, program):
        await care_db.write(lambda c, one=one: accounts.save_account(c, one, 1))  # type: ignore[misc]
    assert await care_db.read(accounts.accounts) == [program, clinic]
    access = Access(care_db, "baoshan")
    opened = await access.sign_in("clinic", PASSWORD, "x")
    found = await access.resolve(opened.token, "cookie")
    assert found is not None
    assert found.sites == frozenset({"a", "b"})
    grant = await OAuth(access).for_program("api", PASSWORD, "", "x")
    assert await access.is_current(grant.access_token, "bearer")
    with pytest.raises(SignInRefused):
        await access.sign_in("cli\0nic", PASSWORD, "x")
    await care_db.write(lambda c: accounts.save_account(c, replace(clinic, disabled=True), 2))
    assert not await access.is_current(opened.token, "cookie")
    assert await care_db.write(lambda c: accounts.end_sessions_of(c, "clinic")) == 1


def test_a_caregiver_has_their_own_persons_at_their_own_sites_alone(care_db: Database) -> None:
    for person_id, site, caregiver in (("1", "a", "me"), ("2", "a", "you"), ("3", "b", "me"), ("4", "a", "me")):
        body = event_pb2.PersonRegistered(caregiver=caregiver)
        care_db.write_blocking(
            lambda c, p=person_id, s=site, b=body: persons.save_person(c, ("baoshan", s), p, b, 1)  # type: ignore[misc]
        )
    found = care_db.read_blocking(lambda c: accounts.persons_of_caregiver(c, "baoshan", "me", ("a",)))
    assert found == {"1", "4"}
    assert care_db.read_blocking(lambda c: accounts.persons_of_caregiver(c, "else", "me", ("a",))) == frozenset()


def test_the_audit_trail_can_only_grow(care_db: Database) -> None:
    care_db.write_blocking(lambda c: accounts.write_audit(c, ENTRY))
    for statement in (delete(audit), update(audit).values(result="nothing happened")):
        with pytest.raises(StoreFailure):
            care_db.write_blocking(lambda c, s=statement: c.execute(s))  # type: ignore[misc]
    long_entry = replace(ENTRY, actor="x" * 500, target="y" * 500)
    care_db.write_blocking(lambda c: accounts.write_audit(c, long_entry))
    assert care_db.read_blocking(lambda c: c.execute(select(func.count()).select_from(audit)).scalar()) == 2
