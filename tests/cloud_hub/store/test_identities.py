"""Identities at a provider, on both databases."""

from sqlalchemy import Connection

from cloud_hub.store import accounts, identities
from cloud_hub.store.accounts import Session
from cloud_hub.store.engine import Database
from cloud_hub.store.identities import Identity

ISSUER = "https://idp.example"


def test_issuer_and_subject_together_are_one_account(care_db: Database) -> None:
    mine = Identity(ISSUER, "s-1", "fuling", is_mapped=True)
    care_db.write_blocking(lambda c: identities.link(c, mine, 1))
    find = identities.identity_of
    assert care_db.read_blocking(lambda c: find(c, ISSUER, "s-1")) == mine
    assert care_db.read_blocking(lambda c: find(c, "https://other.example", "s-1")) is None
    assert care_db.read_blocking(lambda c: find(c, ISSUER, "S-1")) is None
    assert care_db.write_blocking(lambda c: identities.unlink(c, "fuling")) == 1
    assert care_db.read_blocking(lambda c: find(c, ISSUER, "s-1")) is None


def test_only_sessions_that_began_there_end_with_it(care_db: Database) -> None:
    def session(name: str, who: str, **extra: str) -> Session:
        return Session(name, "cookie", who, 1, 1, 10, extra=extra)

    def work(connection: Connection) -> None:
        for one in (
            session("local", "fuling"),
            session("first", "fuling", issuer=ISSUER, sid="a"),
            session("second", "fuling", issuer=ISSUER, sid="b"),
            session("other", "beimu", issuer=ISSUER, sid="c"),
            session("elsewhere", "fuling", issuer="https://other.example", sid="a"),
        ):
            accounts.open_session(connection, one)

    care_db.write_blocking(work)
    assert care_db.write_blocking(lambda c: identities.end_sessions(c, ISSUER, "a")) == 1
    assert care_db.write_blocking(lambda c: identities.end_sessions(c, ISSUER, "c", "fuling")) == 0
    assert care_db.write_blocking(lambda c: identities.end_sessions(c, ISSUER, "", "fuling")) == 1
    left = [name for name in ("local", "first", "second", "other", "elsewhere") if _is_there(care_db, name)]
    assert left == ["local", "other", "elsewhere"]


def _is_there(care_db: Database, name: str) -> bool:
    return care_db.read_blocking(lambda c: accounts.session_of(c, name)) is not None
