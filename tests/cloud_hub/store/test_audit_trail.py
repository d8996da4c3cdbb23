"""The hub's audit trail: chained as it is written, rows of before taken in, on both databases."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from telemed.audit import Entry, Link, begin
from telemed.audit_check import Walk, first_fault
from telemed.audit_seal import open_seal

from cloud_hub.access.audit_heads import AuditHeads
from cloud_hub.errors import StoreFailure
from cloud_hub.store import audit_trail
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE
from tests.fakes.old_stores import make_old_store


def entry(number: int) -> Entry:
    return Entry(number, "黄芪", "clinic", "patient-read", f"Patient/{number}", "ok", "baoshan", "s")


def verified(connection: Connection) -> int:
    """Follow the trail and return how long it is."""
    state = audit_trail.state(connection)
    walk = Walk(state.trail)
    assert first_fault(walk, audit_trail.links(connection)) is None
    assert (walk.n, walk.hash) == (state.n, state.hash)
    return walk.n


def test_entries_are_linked_in_the_order_in_which_they_are_written(care_db: Database) -> None:
    assert care_db.read_blocking(verified) == 0
    care_db.write_blocking(lambda c: audit_trail.append(c, [entry(1), entry(2)]))
    care_db.write_blocking(lambda c: audit_trail.append(c, []))
    care_db.write_blocking(lambda c: audit_trail.append(c, [entry(3)]))
    assert care_db.read_blocking(verified) == 3
    assert [link.entry.at_ns for link in care_db.read_blocking(lambda c: list(audit_trail.links(c, 1)))] == [2, 3]


def test_an_entry_whose_transaction_fails_leaves_no_hole(care_db: Database) -> None:
    def fails(connection: Connection) -> None:
        audit_trail.append(connection, [entry(1)])
        raise LookupError("stopped half-way")

    care_db.write_blocking(lambda c: audit_trail.append(c, [entry(1)]))
    with pytest.raises(LookupError):
        care_db.write_blocking(fails)
    care_db.write_blocking(lambda c: audit_trail.append(c, [entry(2)]))
    assert care_db.read_blocking(verified) == 2


def test_a_second_process_that_writes_joins_the_same_chain(care_db: Database) -> None:
    url = care_db._engine.url.render_as_string(hide_password=False)
    other = Database(url, CARE, "care")
    for number in range(20):
        database = care_db if number % 2 else other
        database.write_blocking(lambda c, n=number: audit_trail.append(c, [entry(n)]))  # type: ignore[misc]
    other.close()
    assert care_db.read_blocking(verified) == 20


def test_whoever_follows_the_trail_beside_a_writer_finds_it_sound(
    care_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def follow(connection: Connection) -> int:
        state = audit_trail.state
        monkeypatch.setattr(audit_trail, "state", lambda c: (state(c), care_db.write_blocking(add))[0])
        return verified(connection)

    def add(connection: Connection) -> None:
        audit_trail.append(connection, [entry(1)])

    care_db.write_blocking(add)
    assert care_db.read_blocking(follow) == 1


def test_whoever_signs_beside_a_process_that_writes_finds_the_trail_sound(
    care_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = AuditHeads(care_db, "baoshan", open_seal(tmp_path / "audit"), lambda: 1)
    links, was_added = audit_trail.links, threading.Event()

    def add(connection: Connection) -> None:
        audit_trail.append(connection, [entry(1)])

    def links_after_others_had_time(connection: Connection, after: int = 0) -> Iterator[Link]:
        adding.start()
        was_added.wait(0.5)
        return links(connection, after)

    care_db.write_blocking(add)
    with closing(Database(care_db._engine.url.render_as_string(hide_password=False), CARE, "care")) as other:
        adding = threading.Thread(target=lambda: other.write_blocking(add, was_added.set))
        monkeypatch.setattr(audit_trail, "links", links_after_others_had_time)
        head, fault = care_db.write_blocking(heads._sign)
        adding.join()
    assert fault is None
    assert head is not None
    assert head.n == 1
    monkeypatch.undo()
    assert care_db.read_blocking(verified) == 2


@pytest.mark.parametrize("table", ["audit_head", "edge_audit", "edge_head"])
def test_heads_and_the_trails_of_nodes_can_only_grow(care_db: Database, table: str) -> None:
    words = (
        "prev_hash",
        "actor",
        "role",
        "action",
        "object",
        "result",
        "entry_region",
        "entry_site",
        "key",
        "signature",
    )
    place: dict[str, object] = {"region": "r", "site": "s", "node": "n", "trail": "t", "n": 1, "at_ns": 1, "hash": "h"}
    values = place | {"received_ns": 1} | dict.fromkeys(words, "x")
    row = {name: value for name, value in values.items() if name in CARE.tables[table].c}
    care_db.write_blocking(lambda c: c.execute(CARE.tables[table].insert().values(row)))
    for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET hash = 'other'"):
        with pytest.raises(StoreFailure):
            care_db.write_blocking(lambda c, s=statement: c.execute(text(s)))  # type: ignore[misc]


def test_rows_of_before_are_taken_into_the_chain_without_the_holes_between_them(tmp_path: Path) -> None:
    path = tmp_path / "care.db"
    make_old_store(path, "care_0006")
    with sqlite3.connect(path) as old:
        old.executemany(
            "INSERT INTO audit (id, at_ns, actor, role, action, object, result, region, site) "
            "VALUES (?, ?, 'a', 'r', 'x', 'o', 'ok', '', '')",
            [(number, number) for number in range(1, 2600) if number % 7],
        )
    old.close()
    database = Database(f"sqlite:///{path}", CARE, "care")
    database.migrate()
    kept = len([number for number in range(1, 2600) if number % 7])
    assert database.read_blocking(verified) == kept
    database.write_blocking(lambda c: audit_trail.append(c, [entry(1)]))
    assert database.read_blocking(verified) == kept + 1
    with pytest.raises(StoreFailure):
        database.write_blocking(lambda c: c.execute(text("DELETE FROM audit")))
    state = database.read_blocking(audit_trail.state)
    assert state.hash != begin(state.trail)
    database.close()
