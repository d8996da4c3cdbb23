"""The queue's rows: plain functions on a connection; those that change something run inside a transaction."""

import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any

from telemed.transfer import LIST_LIMIT, FileKind

from edge_node.samples.identifiers import uuid7
from edge_node.uplink.transfer.manifest import Manifest
from edge_node.uplink.transfer.parcel import Labels, Parcel
from edge_node.uplink.transfer.states import KEEPS_CONTENT, NEXT, UNFINISHED, State, Step

_COLUMNS = (
    "parcel_id, sha256, size_bytes, kind, name, group_id, is_preview, priority, is_urgent, queued_ns, state, code, "
    "resume_ns, durable_bytes, hub_id, changed_ns"
)
KEEP_ROWS_NS = 30 * 24 * 3600 * 10**9
"""How long a finished file is listed."""


def queue(connection: sqlite3.Connection, found: Manifest, labels: Labels) -> str:
    """Put a file into the queue and return its id; the same file in the same group is queued once.

    A file that was refused is tried again, one that was cancelled begins anew.
    """
    known = connection.execute(
        "SELECT parcel_id, state FROM parcel WHERE sha256 = ? AND group_id = ? AND state != ? ORDER BY queued_ns DESC",
        (found.sha256, labels.group, State.CANCELLED),
    ).fetchone()
    if known is not None:
        step(connection, known["parcel_id"], Step.AGAIN)
        _change(connection, known["parcel_id"], {"priority": labels.rank, "is_urgent": labels.is_urgent})
        return str(known["parcel_id"])
    parcel_id, now_ns = uuid7(), time.time_ns()
    values = {
        "parcel_id": parcel_id,
        "sha256": found.sha256,
        "size_bytes": found.size_bytes,
        "chunk_hashes": found.chunk_hashes,
        "kind": labels.kind,
        "name": labels.name,
        "group_id": labels.group,
        "is_preview": labels.is_preview,
        "priority": labels.rank,
        "is_urgent": labels.is_urgent,
        "queued_ns": now_ns,
        "state": State.WAITING,
        "code": "",
        "resume_ns": 0,
        "durable_bytes": 0,
        "hub_id": "",
        "is_withdrawn": 0,
        "changed_ns": now_ns,
    }
    names, marks = ", ".join(values), ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO parcel ({names}) VALUES ({marks})", tuple(values.values()))  # noqa: S608
    return parcel_id


def parcels(connection: sqlite3.Connection) -> list[Parcel]:
    """Return all files of the queue, the newest first."""
    return _parcels(connection.execute(f"SELECT {_COLUMNS} FROM parcel ORDER BY queued_ns DESC"))  # noqa: S608


def unfinished(connection: sqlite3.Connection) -> list[Parcel]:
    """Return the files that are still to be sent."""
    where = f"state IN ({_marks(UNFINISHED)})"
    return _parcels(connection.execute(f"SELECT {_COLUMNS} FROM parcel WHERE {where}", UNFINISHED))  # noqa: S608


def chunk_hashes(connection: sqlite3.Connection, parcel_id: str) -> bytes:
    """Return the chunk hashes of a file; empty where there is no such row."""
    row = connection.execute("SELECT chunk_hashes FROM parcel WHERE parcel_id = ?", (parcel_id,)).fetchone()
    return row["chunk_hashes"] if row else b""


def step(connection: sqlite3.Connection, parcel_id: str, what: Step, code: str = "", resume_ns: int = 0) -> bool:
    """Take a file one step on; return False, and change nothing, where it is not allowed in its state."""
    row = connection.execute("SELECT state, code, resume_ns FROM parcel WHERE parcel_id = ?", (parcel_id,)).fetchone()
    after = NEXT.get((State(row["state"]), what)) if row else None
    if after is None:
        return False
    if (row["state"], row["code"], row["resume_ns"]) != (after, code, resume_ns):
        _change(connection, parcel_id, {"state": after, "code": code, "resume_ns": resume_ns})
    if what in (Step.LOST, Step.AGAIN):
        _change(connection, parcel_id, {"durable_bytes": 0, "hub_id": ""})
    return True


def note_offered(connection: sqlite3.Connection, parcel_id: str, hub_id: str, durable_bytes: int) -> None:
    """Note what the hub has of a file by its answer to the offer."""
    _change(connection, parcel_id, {"hub_id": hub_id, "durable_bytes": durable_bytes})


def note_durable(connection: sqlite3.Connection, parcel_id: str, durable_bytes: int) -> None:
    """Note how much of a file the hub has told to be durable."""
    _change(connection, parcel_id, {"durable_bytes": durable_bytes})


def to_withdraw(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return id and hub's name of the files that were cancelled and of which the hub does not know it yet."""
    found = connection.execute(
        "SELECT parcel_id, hub_id FROM parcel WHERE state = ? AND hub_id != '' AND is_withdrawn = 0", (State.CANCELLED,)
    )
    return [(row["parcel_id"], row["hub_id"]) for row in found]


def note_withdrawn(connection: sqlite3.Connection, parcel_id: str) -> None:
    """Note that the hub knows that a file was cancelled."""
    _change(connection, parcel_id, {"is_withdrawn": 1})


def after_restart(connection: sqlite3.Connection) -> None:
    """Put right what a process that was killed left: nothing is being sent now."""
    for (parcel_id,) in connection.execute("SELECT parcel_id FROM parcel WHERE state = ?", (State.SENDING,)).fetchall():
        step(connection, parcel_id, Step.RESUME)


def sent_since(connection: sqlite3.Connection, since_ns: int) -> list[tuple[str, str]]:
    """Return id and hash of the newest files that the hub has and of which copies are still kept."""
    found = connection.execute(
        "SELECT parcel_id, sha256 FROM parcel WHERE state = ? AND changed_ns >= ? ORDER BY changed_ns DESC LIMIT ?",
        (State.DONE, since_ns, LIST_LIMIT),
    )
    return [(row["parcel_id"], row["sha256"]) for row in found]


def needed(connection: sqlite3.Connection, copies_since_ns: int) -> set[str]:
    """Return the hashes of content that must stay: what is not at the hub, and copies of what got there since then."""
    found = connection.execute(
        f"SELECT sha256 FROM parcel WHERE state IN ({_marks(KEEPS_CONTENT)}) OR (state = ? AND changed_ns >= ?)",  # noqa: S608
        (*KEEPS_CONTENT, State.DONE, copies_since_ns),
    )
    return {row["sha256"] for row in found}


def has_sent(connection: sqlite3.Connection, group: str, hashes: Iterable[str]) -> bool:
    """Return whether the hub has every one of these files of a group, as far as this queue knows."""
    asked = "SELECT 1 FROM parcel WHERE sha256 = ? AND group_id = ? AND state = ?"
    return all(connection.execute(asked, (each, group, State.DONE)).fetchone() for each in hashes)


def delete_old(connection: sqlite3.Connection, now_ns: int) -> None:
    """Delete rows that nobody needs any more."""
    connection.execute(
        "DELETE FROM parcel WHERE changed_ns < ? AND (state = ? OR (state = ? AND (hub_id = '' OR is_withdrawn = 1)))",
        (now_ns - KEEP_ROWS_NS, State.DONE, State.CANCELLED),
    )
    day = time.strftime("%Y-%m-%d", time.gmtime((now_ns - KEEP_ROWS_NS) / 10**9))
    connection.execute("DELETE FROM spent WHERE day < ?", (day,))


def spend(connection: sqlite3.Connection, day: str, amounts: Mapping[FileKind, int]) -> None:
    """Count bytes against the budgets of a day."""
    for kind, size_bytes in amounts.items():
        connection.execute(
            "INSERT INTO spent (day, kind, bytes) VALUES (?, ?, ?) "
            "ON CONFLICT (day, kind) DO UPDATE SET bytes = bytes + excluded.bytes",
            (day, kind, size_bytes),
        )


def spent(connection: sqlite3.Connection, day: str) -> dict[FileKind, int]:
    """Return the bytes counted against the budgets of a day."""
    found = connection.execute("SELECT kind, bytes FROM spent WHERE day = ?", (day,))
    return {FileKind(row["kind"]): int(row["bytes"]) for row in found}


def data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes whenever another connection has committed."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _change(connection: sqlite3.Connection, parcel_id: str, values: dict[str, Any]) -> None:
    values = {**values, "changed_ns": time.time_ns()}
    pairs = ", ".join(f"{name} = ?" for name in values)
    connection.execute(f"UPDATE parcel SET {pairs} WHERE parcel_id = ?", (*values.values(), parcel_id))  # noqa: S608


def _parcels(found: Iterable[sqlite3.Row]) -> list[Parcel]:
    return [
        Parcel(
            row["parcel_id"],
            row["sha256"],
            row["size_bytes"],
            Labels(
                FileKind(row["kind"]),
                row["name"],
                row["group_id"],
                bool(row["is_preview"]),
                row["priority"],
                bool(row["is_urgent"]),
            ),
            row["queued_ns"],
            State(row["state"]),
            row["code"],
            row["resume_ns"],
            row["durable_bytes"],
            row["hub_id"],
            row["changed_ns"],
        )
        for row in found
    ]


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
