"""What nodes may fetch from the hub: rows of the care store, and the step that puts a file there."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, select, update
from telemed.topics import NodeAddress
from telemed.transfer import FileKind

from cloud_hub.store.blobs import Blobs
from cloud_hub.store.dialect import insert_new
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import blob
from cloud_hub.store.schema import release as table
from cloud_hub.store.transfers import add_blob


@dataclass(frozen=True, slots=True)
class Released:
    """A file that a node may fetch."""

    sha256: str
    size_bytes: int
    chunk_hashes: bytes
    kind: FileKind
    name: str
    released_ns: int
    held_ns: int
    """When the node first said that it has it whole; 0 = not yet."""


async def publish(
    care: Database,
    blobs: Blobs,
    source: Path,
    to: Iterable[NodeAddress],
    what: tuple[FileKind, str],
    also: Callable[[Connection, str], None] | None = None,
) -> str:
    """Copy a file into the blob folder and release it to nodes; return its hash.  Twice is harmless.

    Args:
        care: the care store.
        blobs: the blob folder.
        source: the file, e.g. a signed bundle; may be deleted afterwards.
        to: the nodes that may fetch it.
        what: its kind, and its name for people.
        also: writes, given the hash, what belongs into the same transaction, such as who did it.

    Raises:
        OSError: the file cannot be read or kept.
        StoreFailure: the rows were not committed.
    """
    sha256, size_bytes, hashes = await asyncio.to_thread(blobs.keep, source)
    nodes, now_ns = list(to), time.time_ns()

    def note(connection: Connection) -> None:
        add_blob(connection, sha256, size_bytes, hashes, now_ns)
        for address in nodes:
            allow(connection, address, sha256, what, now_ns)
        if also is not None:
            also(connection, sha256)

    await care.write(note)
    return sha256


def allow(connection: Connection, address: NodeAddress, sha256: str, what: tuple[FileKind, str], now_ns: int) -> None:
    """Let a node fetch a blob; harmless when it may already."""
    kind, name = what
    row = (address.region, address.site, address.node, sha256, str(kind), name, now_ns, 0)
    insert_new(connection, table, [row], ["sha256"])


def take_back(connection: Connection, address: NodeAddress, sha256: str) -> None:
    """Let a node fetch a blob no more; what it has already, it has."""
    connection.execute(delete(table).where(_of(address), table.c.sha256 == sha256))


def released_to(connection: Connection, address: NodeAddress) -> list[Released]:
    """Return what a node may fetch, the earliest released first."""
    return [_released(row) for row in connection.execute(_select().where(_of(address)).order_by(table.c.released_ns))]


def find(connection: Connection, address: NodeAddress, sha256: str) -> Released | None:
    """Return a file that this node may fetch, None where it may not or there is none."""
    row = connection.execute(_select().where(_of(address), table.c.sha256 == sha256)).one_or_none()
    return None if row is None else _released(row)


def note_held(connection: Connection, address: NodeAddress, hashes: Iterable[str], now_ns: int) -> None:
    """Note what a node says it has whole; the first time counts."""
    new = and_(_of(address), table.c.sha256.in_(list(hashes)), table.c.held_ns == 0)
    connection.execute(update(table).where(new).values(held_ns=now_ns))


def _select() -> Any:
    return select(table, blob.c.size_bytes, blob.c.chunk_hashes).join(blob, blob.c.sha256 == table.c.sha256)


def _released(row: Row[Any]) -> Released:
    return Released(
        row.sha256, row.size_bytes, row.chunk_hashes, FileKind(row.kind), row.name, row.released_ns, row.held_ns
    )


def _of(address: NodeAddress) -> ColumnElement[bool]:
    return and_(table.c.region == address.region, table.c.site == address.site, table.c.node == address.node)
