"""I10 of reliability 2.9: the audit trails of edge and hub verify from end to end after every episode."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from telemed.audit import Entry, Head, Link
from telemed.audit_check import Fault, Walk, first_fault

from tests.faults.chaos.seen import Violation

FIELDS = "at_ns, actor, role, action, object, result"
HUB_LINKS = f"SELECT id, {FIELDS}, region, site, prev_hash, hash FROM audit ORDER BY id"
NODE_LINKS = f"SELECT n, {FIELDS}, entry_region, entry_site, prev_hash, hash FROM edge_audit WHERE trail = ? ORDER BY n"
EDGE_LINKS = f"SELECT n, {FIELDS}, region, site, prev_hash, hash FROM audit ORDER BY n"
HEADS = "SELECT trail, n, hash, at_ns, key, signature FROM"


def unsound(edge: Path, hub: Path, scratch: Path, *, may_lack_entries: bool) -> list[Violation]:
    """Follow both trails of a node and a hub that are dead and have nothing more to say to each other.

    Args:
        edge: folder of the node's store.
        hub: folder of the hub's stores.
        scratch: for copies, emptied.
        may_lack_entries: the node's disk was damaged, which its own trail and what it sent then must show.
    """
    with _copied(hub, scratch) as file:
        (trail,) = file.execute("SELECT trail FROM audit_chain").fetchone()
        found = [_violation("hub", _judged(file, trail, HUB_LINKS, "audit_head"))]
        at_hub = dict(file.execute("SELECT trail, n FROM edge_trail").fetchall())
        for name, fault in file.execute("SELECT trail, fault FROM edge_trail").fetchall():
            heads = [Head(*row) for row in file.execute(f"{HEADS} edge_head WHERE trail = ?", (name,))]
            found.append(
                _violation("the node's at the hub", first_fault(Walk(name, heads), _links(file, NODE_LINKS, name)))
            )
            found.append(f"the node's on arrival: {fault}" if fault else "")
    with _copied(edge, scratch) as file:
        trail, n = file.execute("SELECT trail, n FROM audit ORDER BY n DESC LIMIT 1").fetchone()
        found.append(_violation("the node's own", _judged(file, trail, EDGE_LINKS, "audit_head", "received_ns = 0")))
        # That every record of it is there is I1; here, that the hub follows this trail and no further than it goes.
        found.append("" if 0 < at_hub.get(trail, 0) <= n else f"the hub has {at_hub.get(trail)} of {n} entries")
    hubs_own = found[:1] if may_lack_entries else found
    return [Violation("I10", what) for what in hubs_own if what]


def entries_of_nodes(hub: Path, scratch: Path) -> list[tuple[str, str, str]]:
    """Return action, object and result of what nodes have noted, as it lies at a hub that is dead; see `unsound`."""
    with _copied(hub, scratch) as file:
        return file.execute("SELECT action, object, result FROM edge_audit").fetchall()


def _judged(file: sqlite3.Connection, trail: str, links: str, heads: str, where: str = "1") -> Fault | None:
    known = [Head(*row) for row in file.execute(f"{HEADS} {heads} WHERE {where}")]
    return first_fault(Walk(trail, known), _links(file, links))


def _links(file: sqlite3.Connection, query: str, *values: str) -> Iterator[Link]:
    for n, *said, prev_hash, hash_ in file.execute(query, values):
        yield Link(n, Entry(*said), prev_hash, hash_)


def _violation(whose: str, fault: Fault | None) -> str:
    return "" if fault is None else f"trail, {whose}: {fault.words()[1]}"


@contextmanager
def _copied(folder: Path, scratch: Path) -> Iterator[sqlite3.Connection]:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for ending in ("", "-wal"):
        source = folder / f"care.db{ending}"
        if source.exists():
            shutil.copy(source, scratch / source.name)
    with closing(sqlite3.connect(scratch / "care.db")) as connection:
        yield connection
