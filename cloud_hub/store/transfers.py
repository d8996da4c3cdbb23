"""Files under way from nodes and what became of them: plain functions on a connection of the care store.

Every function demands the node whose file it is; a file of another node is not found, whatever its name is.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update
from telemed.topics import NodeAddress
from telemed.transfer import ChunkSet, FileKind, chunk_count

from cloud_hub.care.identifiers import uuid7
from cloud_hub.store.dialect import insert_new
from cloud_hub.store.schema import blob, transfer


class State(StrEnum):
    """Where a file stands."""

    RECEIVING = "receiving"
    COMPLETE = "complete"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


ERASED = "erased"
"""Code of a complete file whose bytes went because its person was erased: it is not asked for again."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a node says of a file it offers; checked before it comes here."""

    sha256: str
    """64 hex digits."""
    size_bytes: int
    manifest_sha256: str
    kind: FileKind
    name: str
    group_id: str = ""
    is_preview: bool = False


@dataclass(frozen=True, slots=True)
class Transfer:
    """A file of a node as its row has it."""

    transfer_id: str
    address: NodeAddress
    facts: FileFacts
    state: State
    code: str
    """Why it was refused, a code of telemed.errors; or ERASED."""
    chunk_hashes: bytes
    """Empty where the node has not sent them yet, and once the file is complete."""
    have: bytes
    """Bitmap of the chunks that are synced to disk."""
    updated_ns: int
    completed_ns: int

    @property
    def chunks(self) -> ChunkSet:
        """The chunks that are synced to disk, as a set of the caller's own."""
        return ChunkSet(chunk_count(self.facts.size_bytes), self.have)


def offer(connection: Connection, address: NodeAddress, facts: FileFacts, now_ns: int) -> Transfer:
    """Return the row of an offered file, made or begun anew where it must be.

    What the site has whole already is complete at once: content is named by its hash.  Another site's copy is not
    looked at, so that nobody learns what another site has.
    """
    known = connection.execute(select(transfer).where(_of(address), _same(facts))).one_or_none()
    if known is None:
        row = _fresh(facts, now_ns) | {"transfer_id": uuid7(now_ns), "offered_ns": now_ns}
        row |= {"region": address.region, "site": address.site, "node": address.node}
        connection.execute(insert(transfer).values(row))
    elif known.state in (State.REFUSED, State.WITHDRAWN) or _is_other_cut(known, facts):
        connection.execute(update(transfer).where(_of(address), _same(facts)).values(_fresh(facts, now_ns)))
    found = transfer_of(connection.execute(select(transfer).where(_of(address), _same(facts))).one())
    if found.state is State.RECEIVING and _has_whole(connection, address, facts.sha256):
        complete(connection, address, found.transfer_id, now_ns)
        return transfer_of(connection.execute(select(transfer).where(_of(address), _same(facts))).one())
    return found


def same(connection: Connection, address: NodeAddress, facts: FileFacts) -> Transfer | None:
    """Return the row of a file that this node offered before, None where it did not."""
    row = connection.execute(select(transfer).where(_of(address), _same(facts))).one_or_none()
    return None if row is None else transfer_of(row)


def find(connection: Connection, address: NodeAddress, transfer_id: str) -> Transfer | None:
    """Return a file of this node, None where this node has none of that name."""
    row = connection.execute(select(transfer).where(_one(address, transfer_id))).one_or_none()
    return None if row is None else transfer_of(row)


def keep_hashes(
    connection: Connection, address: NodeAddress, transfer_id: str, hashes: bytes, now_ns: int
) -> Transfer | None:
    """Store the chunk hashes of a file, and return its row."""
    change(connection, address, transfer_id, {"chunk_hashes": hashes, "updated_ns": now_ns})
    return find(connection, address, transfer_id)


def add_chunks(
    connection: Connection, address: NodeAddress, transfer_id: str, chunks: Iterable[int], now_ns: int
) -> ChunkSet | None:
    """Note chunks that are synced to disk, and return all of them; None where the file is not being received."""
    # Without the chunk hashes, which are a mebibyte for the largest file.
    columns = select(transfer.c.state, transfer.c.size_bytes, transfer.c.have)
    found = connection.execute(columns.where(_one(address, transfer_id))).one_or_none()
    if found is None or found.state != State.RECEIVING:
        return None
    have = ChunkSet(chunk_count(found.size_bytes), found.have)
    for index in chunks:
        have.add(index)
    change(connection, address, transfer_id, {"have": have.pack(), "updated_ns": now_ns})
    return have


def drop_chunks(
    connection: Connection, address: NodeAddress, transfer_id: str, chunks: Iterable[int], now_ns: int
) -> None:
    """Note that chunks are not there after all, so that they are asked for again."""
    found = find(connection, address, transfer_id)
    if found is None:
        return
    have = found.chunks
    for index in chunks:
        have.discard(index)
    change(connection, address, transfer_id, {"have": have.pack(), "updated_ns": now_ns})


def note_corrupt(connection: Connection, address: NodeAddress, transfer_id: str, chunk: int) -> int:
    """Count that a chunk did not match its hash; return how often it has not."""
    stored = connection.execute(select(transfer.c.corrupt).where(_one(address, transfer_id))).scalar_one_or_none()
    counts: dict[str, int] = json.loads(stored or "{}")
    counts[str(chunk)] = counts.get(str(chunk), 0) + 1
    change(connection, address, transfer_id, {"corrupt": json.dumps(counts)})
    return counts[str(chunk)]


def complete(connection: Connection, address: NodeAddress, transfer_id: str, now_ns: int) -> None:
    """Note that a file lies whole, verified and synced under its final name."""
    found = find(connection, address, transfer_id)
    if found is None or found.state is State.COMPLETE:
        return
    facts = found.facts
    add_blob(connection, facts.sha256, facts.size_bytes, found.chunk_hashes, now_ns)
    values = {"state": State.COMPLETE, "completed_ns": now_ns, "updated_ns": now_ns}
    change(connection, address, transfer_id, values | {"chunk_hashes": b"", "have": b"", "corrupt": "{}"})


def add_blob(connection: Connection, sha256: str, size_bytes: int, hashes: bytes, now_ns: int) -> None:
    """Note content that lies whole in the folder; harmless when it is known."""
    insert_new(connection, blob, [(sha256, size_bytes, hashes, now_ns)], ["sha256"])


def refuse(connection: Connection, address: NodeAddress, transfer_id: str, code: str, now_ns: int) -> None:
    """Note that a file is not taken, and why; what was received of it counts for nothing any more."""
    values = {"state": State.REFUSED, "code": code, "updated_ns": now_ns, "have": b""}
    change(connection, address, transfer_id, values)


def withdraw(connection: Connection, address: NodeAddress, transfer_id: str, now_ns: int) -> bool:
    """Give a file up; return False where it is complete and stays."""
    found = find(connection, address, transfer_id)
    if found is None:
        return True
    if found.state is State.COMPLETE:
        return False
    change(connection, address, transfer_id, {"state": State.WITHDRAWN, "updated_ns": now_ns, "have": b""})
    return True


def change(connection: Connection, address: NodeAddress, transfer_id: str, values: dict[str, Any]) -> None:
    """Give columns of a node's row new values; nothing happens where the node has no such row."""
    connection.execute(update(transfer).where(_one(address, transfer_id)).values(values))


def open_count(connection: Connection, address: NodeAddress) -> int:
    """Return how many files of a node are being received."""
    statement = select(func.count()).select_from(transfer).where(_of(address), transfer.c.state == State.RECEIVING)
    return int(connection.execute(statement).scalar_one())


def lost(connection: Connection, address: NodeAddress, hashes: Iterable[str]) -> list[str]:
    """Return those of the hashes of which this site has no complete file here."""
    asked = list(hashes)
    complete_here = and_(_at(address), transfer.c.state == State.COMPLETE, transfer.c.sha256.in_(asked))
    have = set(connection.execute(select(transfer.c.sha256).where(complete_here)).scalars())
    return [sha256 for sha256 in asked if sha256 not in have]


def group(connection: Connection, region: str, site: str, group_id: str) -> list[Transfer]:
    """Return the files of one group of a site, whatever their state, the earliest offered first."""
    where = and_(transfer.c.region == region, transfer.c.site == site, transfer.c.group_id == group_id)
    return [
        transfer_of(row) for row in connection.execute(select(transfer).where(where).order_by(transfer.c.offered_ns))
    ]


def completed(connection: Connection, region: str, since_ns: int) -> list[Transfer]:
    """Return the files that became complete at or after an instant, the earliest first."""
    where = and_(transfer.c.region == region, transfer.c.state == State.COMPLETE, transfer.c.completed_ns >= since_ns)
    statement = select(transfer).where(where).order_by(transfer.c.completed_ns)
    return [transfer_of(row) for row in connection.execute(statement)]


def abandoned(connection: Connection, region: str, before_ns: int) -> list[Transfer]:
    """Return files that are being received and of which nothing was heard since then."""
    stale = and_(transfer.c.state == State.RECEIVING, transfer.c.updated_ns < before_ns, transfer.c.region == region)
    return [transfer_of(row) for row in connection.execute(select(transfer).where(stale))]


def receiving_ids(connection: Connection) -> set[str]:
    """Return the names of all transfers under way, for the sweep of files that belong to none."""
    return set(connection.execute(select(transfer.c.transfer_id).where(transfer.c.state == State.RECEIVING)).scalars())


def _has_whole(connection: Connection, address: NodeAddress, sha256: str) -> bool:
    there = and_(
        _at(address), transfer.c.sha256 == sha256, transfer.c.state == State.COMPLETE, transfer.c.code != ERASED
    )
    return connection.execute(select(transfer.c.transfer_id).where(there).limit(1)).one_or_none() is not None


def _is_other_cut(known: Row[Any], facts: FileFacts) -> bool:
    """Whether an unfinished file is offered with other chunk hashes than before: what is there fits no longer."""
    return known.state == State.RECEIVING and (known.manifest_sha256, known.size_bytes) != (
        facts.manifest_sha256,
        facts.size_bytes,
    )


def _fresh(facts: FileFacts, now_ns: int) -> dict[str, Any]:
    return {
        "sha256": facts.sha256,
        "size_bytes": facts.size_bytes,
        "manifest_sha256": facts.manifest_sha256,
        "kind": facts.kind,
        "name": facts.name,
        "group_id": facts.group_id,
        "is_preview": facts.is_preview,
        "state": State.RECEIVING,
        "code": "",
        "chunk_hashes": b"",
        "have": b"",
        "corrupt": "{}",
        "updated_ns": now_ns,
        "completed_ns": 0,
    }


def transfer_of(row: Row[Any]) -> Transfer:
    """Return a row of the table of transfers."""
    facts = FileFacts(
        row.sha256, row.size_bytes, row.manifest_sha256, FileKind(row.kind), row.name, row.group_id, row.is_preview
    )
    return Transfer(
        row.transfer_id,
        NodeAddress(row.region, row.site, row.node),
        facts,
        State(row.state),
        row.code,
        row.chunk_hashes,
        row.have,
        row.updated_ns,
        row.completed_ns,
    )


def _at(address: NodeAddress) -> ColumnElement[bool]:
    return and_(transfer.c.region == address.region, transfer.c.site == address.site)


def _of(address: NodeAddress) -> ColumnElement[bool]:
    return and_(_at(address), transfer.c.node == address.node)


def _one(address: NodeAddress, transfer_id: str) -> ColumnElement[bool]:
    return and_(_of(address), transfer.c.transfer_id == transfer_id)


def _same(facts: FileFacts) -> ColumnElement[bool]:
    return and_(transfer.c.sha256 == facts.sha256, transfer.c.group_id == facts.group_id)
