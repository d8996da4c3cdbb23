"""The rows of what comes down: released by the hub, being fetched, here."""

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from telemed.transfer import LIST_LIMIT, ChunkSet, FileKind, chunk_count


class Fetched(StrEnum):
    """Where a released file stands."""

    WANTED = "wanted"
    PAUSED = "paused"  # with a code that says why
    HERE = "here"  # whole, verified and synced
    REFUSED = "refused"  # arrived damaged too often; asked for again when it is released anew
    DISCARDED = "discarded"  # by the node; not fetched again


@dataclass(frozen=True, slots=True)
class Release:
    """A file that the hub has for this node."""

    sha256: str
    size_bytes: int
    manifest_sha256: str
    kind: FileKind
    name: str
    state: Fetched
    code: str
    chunk_hashes: bytes
    """Empty until they were fetched."""
    have: bytes
    """Bitmap of the chunks that are synced to disk here."""

    @property
    def chunks(self) -> ChunkSet:
        """The chunks that are synced to disk here, as a set of the caller's own."""
        return ChunkSet(chunk_count(self.size_bytes), self.have)


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as the hub's list names it."""

    sha256: str
    size_bytes: int
    manifest_sha256: str
    kind: FileKind
    name: str


def take_list(connection: sqlite3.Connection, listed: Iterable[Listed]) -> None:
    """Take in what the hub has for this node; what is no longer listed and not here yet is forgotten."""
    now_ns = time.time_ns()
    named = list(listed)
    for each in named:
        connection.execute(
            "INSERT INTO released (sha256, size_bytes, manifest_sha256, chunk_hashes, have, kind, name, state, code, "
            "listed_ns, changed_ns) VALUES (?, ?, ?, x'', x'', ?, ?, ?, '', ?, ?) "
            "ON CONFLICT (sha256) DO UPDATE SET listed_ns = excluded.listed_ns, name = excluded.name",
            (each.sha256, each.size_bytes, each.manifest_sha256, each.kind, each.name, Fetched.WANTED, now_ns, now_ns),
        )
    kept = {each.sha256 for each in named}
    for release in releases(connection):
        if release.sha256 not in kept and release.state is not Fetched.HERE:
            connection.execute("DELETE FROM released WHERE sha256 = ?", (release.sha256,))


def releases(connection: sqlite3.Connection) -> list[Release]:
    """Return all released files, the earliest first."""
    return [
        Release(
            row["sha256"],
            row["size_bytes"],
            row["manifest_sha256"],
            FileKind(row["kind"]),
            row["name"],
            Fetched(row["state"]),
            row["code"],
            row["chunk_hashes"],
            row["have"],
        )
        for row in connection.execute("SELECT * FROM released ORDER BY rowid")
    ]


def find(connection: sqlite3.Connection, sha256: str) -> Release | None:
    """Return a released file, None where there is none of that hash."""
    return next((each for each in releases(connection) if each.sha256 == sha256), None)


def held(connection: sqlite3.Connection) -> list[str]:
    """Return the hashes of files that are here whole."""
    found = connection.execute(
        "SELECT sha256 FROM released WHERE state = ? ORDER BY changed_ns DESC LIMIT ?", (Fetched.HERE, LIST_LIMIT)
    )
    return [row["sha256"] for row in found]


def note(connection: sqlite3.Connection, sha256: str, values: dict[str, Any]) -> None:
    """Give columns of a released file new values."""
    pairs = ", ".join(f"{name} = ?" for name in values)
    connection.execute(
        f"UPDATE released SET {pairs}, changed_ns = ? WHERE sha256 = ?",  # noqa: S608 - names of our own schema
        (*values.values(), time.time_ns(), sha256),
    )


def add_chunks(connection: sqlite3.Connection, sha256: str, chunks: Iterable[int]) -> ChunkSet | None:
    """Note chunks that are synced to disk, and return all of them; None where the file is no longer wanted."""
    release = find(connection, sha256)
    if release is None:
        return None
    have = release.chunks
    for index in chunks:
        have.add(index)
    note(connection, sha256, {"have": have.pack()})
    return have


def needed(connection: sqlite3.Connection) -> set[str]:
    """Return the hashes of files whose content must stay, half-way or whole."""
    gone = (Fetched.REFUSED, Fetched.DISCARDED)
    return {each.sha256 for each in releases(connection) if each.state not in gone}
