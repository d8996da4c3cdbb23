"""Taking accounts in from the seed file, and what the sites are told."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from cloud_hub.access.seed import publish_accounts, publish_everywhere, seed_accounts
from cloud_hub.access.sign_in import FIRST_PASSWORD_NS, Access
from cloud_hub.errors import ConfigRefused
from cloud_hub.store import accounts, care_team, events
from cloud_hub.store.accounts import Account, SetBy
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE

SEED: dict[str, dict[str, Any]] = {
    "physician": {"username": "doc", "password": "amber-birch-0001", "role": "physician", "name_zh": "医", "sites": []},
    "clinic": {"username": "village", "password": "amber-birch-0002", "role": "clinic", "sites": ["clinic-1"]},
    "caregiver": {"username": "carer", "password": "amber-birch-0003", "role": "caregiver", "sites": ["home-1"]},
    "operator": {"username": "ops", "password": "amber-birch-0004", "role": "operator", "sites": []},
    "api": {"client_id": "api", "client_secret": "random-secret-5", "role": "program", "scopes": ["system/Device.rs"]},
}


@pytest.fixture
def empty(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path}/care.db", CARE, "care")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "seed.json"
    path.write_text(json.dumps(SEED))
    return path


def told(database: Database, site: str) -> list[tuple[str, bool]]:
    page = database.read_blocking(lambda c: events.events_after(c, site, 0, 100))
    assert not any(one.refused for one in page)
    return [(one.event.account_set.username, one.event.account_set.disabled) for one in page]


def test_each_site_is_told_of_those_who_may_act_there_and_nobody_else(empty: Database, file: Path) -> None:
    assert seed_accounts(empty, file, "baoshan") == ["clinic-1", "home-1"]
    assert told(empty, "clinic-1") == [("doc", False), ("village", False)]
    assert told(empty, "home-1") == [("carer", False), ("doc", False)]
    page = empty.read_blocking(lambda c: events.events_after(c, "clinic-1", 0, 1))
    assert page[0].event.account_set.password_hash.startswith("$argon2id$")
    stored = empty.read_blocking(accounts.accounts)
    assert "amber-birch" not in str(stored)


def test_seeding_again_changes_nothing(empty: Database, file: Path) -> None:
    seed_accounts(empty, file, "baoshan")
    before = empty.read_blocking(accounts.accounts)
    assert seed_accounts(empty, file, "baoshan") == []
    assert empty.read_blocking(accounts.accounts) == before
    assert len(told(empty, "clinic-1")) == 2


@pytest.mark.anyio
async def test_a_new_password_ends_sessions_and_reaches_the_site(empty: Database, file: Path) -> None:
    seed_accounts(empty, file, "baoshan")
    access = Access(empty, "baoshan")
    opened = await access.sign_in("village", "amber-birch-0002", "a")
    other = await access.sign_in("doc", "amber-birch-0001", "a")
    changed = json.dumps(SEED | {"clinic": SEED["clinic"] | {"password": "another-one-0002"}})
    await asyncio.to_thread(file.write_text, changed)
    assert await asyncio.to_thread(seed_accounts, empty, file, "baoshan") == ["clinic-1"]
    assert await access.resolve(opened.token, "cookie") is None
    assert await access.resolve(other.token, "cookie") is not None
    assert told(empty, "clinic-1")[-1] == ("village", False)


def test_who_may_no_longer_act_at_a_site_is_disabled_there(empty: Database, file: Path) -> None:
    seed_accounts(empty, file, "baoshan")
    file.write_text(json.dumps(SEED | {"clinic": SEED["clinic"] | {"sites": ["home-1"]}}))
    assert seed_accounts(empty, file, "baoshan") == ["clinic-1", "home-1"]
    assert told(empty, "clinic-1")[-1] == ("village", True)
    assert told(empty, "home-1")[-1] == ("village", False)


def test_a_site_heard_of_later_is_told_then(empty: Database, file: Path) -> None:
    seed_accounts(empty, file, "baoshan")
    assert empty.write_blocking(lambda c: publish_accounts(c, "baoshan", "post-9", 1_000_000))
    assert not empty.write_blocking(lambda c: publish_accounts(c, "baoshan", "post-9", 2_000_000))
    assert told(empty, "post-9") == [("doc", False)]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"a": {"username": "a"}}',
        '{"a": {"username": "a", "password": "short", "role": "clinic"}}',
        '{"a": {"username": "a", "password": "long-enough-1", "role": "king"}}',
        '{"a": {"username": "a", "password": "long-enough-1", "role": "program", "scopes": ["all"]}}',
        *(
            json.dumps({"a": {"client_id": "a", "client_secret": "long-enough", "role": "program", "redirects": [to]}})
            for to in ("javascript:alert(1)", "http://elsewhere.example/", "data:text/html,x", "//x", "https:", "")
        ),
    ],
)
def test_a_wrong_file_is_refused_and_changes_nothing(empty: Database, tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ConfigRefused):
        seed_accounts(empty, path, "baoshan")
    assert empty.read_blocking(accounts.accounts) == []


def test_codes_go_by_https_to_this_machine_or_to_a_program_s_own_scheme(empty: Database, tmp_path: Path) -> None:
    good = ["https://app.example/back", "http://127.0.0.1/back", "http://[::1]:5/back", "org.example.app:/back"]
    entry = {"client_id": "a", "client_secret": "random-secret-6", "role": "program", "redirects": good}
    path = tmp_path / "seed.json"
    path.write_text(json.dumps({"a": entry}))
    seed_accounts(empty, path, "baoshan")
    (found,) = empty.read_blocking(accounts.accounts)
    assert found.redirects == tuple(good)


def test_a_file_that_is_not_there_is_refused(empty: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match="cannot be read"):
        seed_accounts(empty, tmp_path / "none.json", "baoshan")


def test_telling_a_site_reads_its_own_history_and_asks_for_teams_of_family_and_care_workers_alone(
    empty: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_accounts(empty, file, "baoshan")
    read: list[str] = []
    asked: list[str] = []
    ordered, cared_for = events._ordered, care_team.cared_for

    def note_read(row: Any) -> Any:
        read.append(row.site)
        return ordered(row)

    def note_asked(connection: Any, region: str, username: str, sites: Any) -> frozenset[str]:
        asked.append(username)
        return cared_for(connection, region, username, sites)

    monkeypatch.setattr(events, "_ordered", note_read)
    monkeypatch.setattr(care_team, "cared_for", note_asked)
    assert not empty.write_blocking(lambda c: publish_accounts(c, "baoshan", "home-1", 1))
    assert set(read) == {"home-1"}
    assert asked == ["carer"]


def test_a_password_that_somebody_chose_is_not_taken_back_by_the_file(empty: Database, file: Path) -> None:
    seed_accounts(empty, file, "baoshan")

    def choose(connection: Connection) -> Account:
        found = accounts.account_of(connection, "village")
        assert found is not None
        chosen = replace(found, password_hash="chosen", password_by=SetBy.ONESELF, password_ns=7)
        accounts.save_account(connection, chosen, 7)
        return chosen

    chosen = empty.write_blocking(choose)
    assert seed_accounts(empty, file, "baoshan") == ["clinic-1"]
    assert empty.read_blocking(lambda c: accounts.account_of(c, "village")) == chosen


def test_what_an_operator_has_set_or_disabled_is_not_taken_back_by_the_file(empty: Database, file: Path) -> None:
    seed_accounts(empty, file, "baoshan")

    def set_by_operator(connection: Connection) -> Account:
        found = accounts.account_of(connection, "village")
        assert found is not None
        given = replace(found, password_hash="given", password_by=SetBy.OPERATOR, password_ns=7, disabled=True)
        accounts.save_account(connection, given, 7)
        return given

    given = empty.write_blocking(set_by_operator)
    seed_accounts(empty, file, "baoshan")
    assert empty.read_blocking(lambda c: accounts.account_of(c, "village")) == given


def test_a_site_is_told_until_when_a_first_password_is_good(empty: Database, file: Path) -> None:
    seed_accounts(empty, file, "baoshan")

    def set_by(who: SetBy) -> int:
        def work(connection: Connection) -> int:
            account = accounts.account_of(connection, "village")
            assert account is not None
            accounts.save_account(connection, replace(account, password_by=who, password_ns=5), 5)
            publish_everywhere(connection, "baoshan", 5)
            histories = events.of_type(connection, "baoshan", "account", site="clinic-1")
            told = histories["clinic-1", "village"][-1].ordered.event.account_set
            return told.password_ends_unix_ns

        return empty.write_blocking(work)

    assert set_by(SetBy.OPERATOR) == 5 + FIRST_PASSWORD_NS
    assert set_by(SetBy.ONESELF) == 0
