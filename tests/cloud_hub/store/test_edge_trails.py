"""Trails of nodes at the hub: kept as they came, followed on arrival, anchored in the hub's own trail."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select
from telemed import audit
from telemed.audit import Entry, Link
from telemed.audit_check import Fault, Finding
from telemed.audit_wire import entry_message, head_message
from telemed.topics import NodeAddress
from telemed.v1 import audit_pb2

from cloud_hub.store import edge_trails
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import audit as hub_audit

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-1")
TRAIL = "e" * 32
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))


def trail(count: int, actor: str = "黄芪") -> list[Link]:
    entries = [Entry(n, actor, "clinic", "live-view", f"Patient/{n}", "ok", "baoshan", "s") for n in range(count)]
    return audit.chain(TRAIL, 0, audit.begin(TRAIL), entries)


def take(database: Database, link: Link) -> Fault | None:
    message = entry_message(TRAIL, link)
    return database.write_blocking(lambda c: edge_trails.take_entry(c, CLINIC, message, 1))


def take_head(database: Database, link: Link, key: Ed25519PrivateKey = KEY) -> Fault | None:
    message = head_message(audit.sign(key, TRAIL, link.n, link.hash, 5))
    return database.write_blocking(lambda c: edge_trails.take_head(c, CLINIC, message, 1))


def followed(database: Database) -> tuple[int, str, int]:
    (one,) = database.read_blocking(lambda c: edge_trails.trails(c, "baoshan"))
    return one.n, one.fault, one.fault_n


def anchored(database: Database) -> list[tuple[str, ...]]:
    """What the hub's own trail says of the node, as (action, object, result)."""
    query = select(hub_audit.c.action, hub_audit.c.object, hub_audit.c.result).order_by(hub_audit.c.id)
    return [tuple(row) for row in database.read_blocking(lambda c: c.execute(query).all())]


def test_a_trail_is_followed_as_it_arrives_and_twice_is_harmless(care_db: Database) -> None:
    links = trail(5)
    assert [take(care_db, link) for link in [*links, *links]] == [None] * 10
    assert followed(care_db) == (5, "", 0)
    assert care_db.read_blocking(lambda c: list(edge_trails.links(c, CLINIC, TRAIL))) == links


def test_a_hole_is_waited_for(care_db: Database) -> None:
    links = trail(5)
    for link in (links[0], links[3], links[4]):
        assert take(care_db, link) is None
    assert followed(care_db)[0] == 1
    for link in links[1:3]:
        assert take(care_db, link) is None
    assert followed(care_db)[0] == 5


def test_an_entry_that_was_changed_on_the_node_is_told_and_kept_all_the_same(care_db: Database) -> None:
    links = trail(3)
    changed = replace(links[1], entry=replace(links[1].entry, actor="nobody"))
    assert [take(care_db, link) for link in (links[0], changed)] == [None, Fault(Finding.ALTERED, 2)]
    assert take(care_db, links[2]) == Fault(Finding.ALTERED, 2)
    assert followed(care_db) == (1, "audit-altered", 2)
    assert care_db.read_blocking(lambda c: list(edge_trails.links(c, CLINIC, TRAIL))) == [links[0], changed, links[2]]


def test_another_past_is_told_and_both_are_kept(care_db: Database) -> None:
    links, other = trail(3), trail(3, actor="nobody")
    for link in links:
        take(care_db, link)
    assert take(care_db, other[1]) == Fault(Finding.REWRITTEN, 2)
    assert followed(care_db) == (3, "audit-rewritten", 2)
    assert len(care_db.read_blocking(lambda c: list(edge_trails.links(c, CLINIC, TRAIL)))) == 4


def test_a_head_is_kept_and_written_into_the_hubs_own_trail_once(care_db: Database) -> None:
    links = trail(3)
    for link in links:
        take(care_db, link)
    assert take_head(care_db, links[2]) is None
    assert take_head(care_db, links[2]) is None
    assert anchored(care_db) == [
        ("edge-trail", f"trail/{TRAIL}", "first"),
        ("edge-head", f"trail/{TRAIL}/3", links[2].hash[:40]),
    ]
    assert len(care_db.read_blocking(lambda c: edge_trails.heads(c, CLINIC, TRAIL))) == 1


def test_no_other_key_than_the_first_may_sign(care_db: Database) -> None:
    links = trail(3)
    for link in links:
        take(care_db, link)
    assert take_head(care_db, links[1]) is None
    assert take_head(care_db, links[2], OTHER) == Fault(Finding.HEAD_FORGED, 3)


def test_a_head_of_another_past_is_told(care_db: Database) -> None:
    for link in trail(3):
        take(care_db, link)
    assert take_head(care_db, trail(3, "nobody")[2]) == Fault(Finding.REWRITTEN, 3)


def test_a_node_that_begins_another_trail_is_told_of_in_the_hubs_own(care_db: Database) -> None:
    take(care_db, trail(1)[0])
    message = audit_pb2.AuditEntry(trail="f" * 32, n=1, prev_hash=audit.begin("f" * 32), hash="0" * 64)
    care_db.write_blocking(lambda c: edge_trails.take_entry(c, CLINIC, message, 1))
    assert [result for _action, _object, result in anchored(care_db)] == ["first", "another"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_pages_of_a_long_trail_miss_nothing(care_db: Database, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_trails, "PAGE", number)
    links = trail(5)
    for link in links:
        take(care_db, link)
    assert care_db.read_blocking(lambda c: list(edge_trails.links(c, CLINIC, TRAIL))) == links
