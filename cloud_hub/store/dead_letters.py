"""What could not be used: kept as it came, counted for the watermark, offered for another try (reliability 2.7)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, select, update
from telemed.topics import NodeAddress


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One thing that could not be used."""

    address: NodeAddress
    reason: str
    raw: bytes
    stream: str = ""
    """Empty where the identity of the record is unknown or cannot be believed."""
    epoch: str = ""
    seq: int = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the raw bytes, in hex."""
        return hashlib.sha256(self.raw).hexdigest()


def bury(connection: Connection, table: Table, letters: Sequence[DeadLetter], now_ns: int) -> list[DeadLetter]:
    """Store dead letters; one that is there already is counted once more.  Return the new ones."""
    fresh = []
    for letter in letters:
        seen = connection.execute(update(table).where(same(table, letter)).values(n=table.c.n + 1))
        if seen.rowcount == 0:
            row = {**_identity(letter), "reason": letter.reason, "raw": letter.raw, "first_seen_ns": now_ns, "n": 1}
            connection.execute(table.insert().values(row))
            fresh.append(letter)
    return fresh


def same(table: Table, letter: DeadLetter) -> ColumnElement[bool]:
    """Choose the row of a dead letter."""
    return and_(*(table.c[name] == value for name, value in _identity(letter).items()))


def digests(connection: Connection, table: Table, address: NodeAddress, stream: str, epoch: str, seq: int) -> set[str]:
    """Return the digests of what was buried under one identity."""
    c = table.c
    found = connection.execute(
        select(c.digest).where(
            c.region == address.region,
            c.site == address.site,
            c.node == address.node,
            c.stream == stream,
            c.epoch == epoch,
            c.seq == seq,
        )
    )
    return set(found.scalars())


def _identity(letter: DeadLetter) -> dict[str, str | int]:
    return {
        "region": letter.address.region,
        "site": letter.address.site,
        "node": letter.address.node,
        "stream": letter.stream,
        "epoch": letter.epoch,
        "seq": letter.seq,
        "digest": letter.digest,
    }
