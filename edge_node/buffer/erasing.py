"""Erases for good what a device measured in a stretch of time: the rows go, then their keys, then the key of the keys.

Deleted rows stay on the blocks of a disk until something else is written there, and what a flash disk does with a block
nobody knows.  So the keys of those days are given up: what others have under them is sealed anew, the keys are
forgotten, and the keyring is wrapped by a new key while the one that opens its earlier copies is destroyed.  Killed at
any moment it leaves rows that are whole or gone; asked again it goes on, and only its return says that all is done.
"""

import sqlite3
from functools import partial
from typing import NamedTuple

from telemed.numbers import epoch_text

from edge_node.buffer import envelope, outbox
from edge_node.buffer.file import LogFile
from edge_node.buffer.keyring import KEPT_SCOPE, Place
from edge_node.buffer.outbox import Batch, StreamState
from edge_node.buffer.sealing import FALLBACK, day_of
from edge_node.buffer.trend import MINUTE_NS

CHUNK_ROWS = 500
SELECT_STILL_NEEDED = "SELECT count(*) FROM log WHERE stream = ? AND epoch = ? AND seq > ? AND wall_ns BETWEEN ? AND ?"
DELETE_ROWS = (
    "DELETE FROM log WHERE rowid IN (SELECT rowid FROM log "
    "WHERE stream = ? AND epoch = ? AND wall_ns BETWEEN ? AND ? LIMIT ?)"
)
DELETE_MINUTES = "DELETE FROM minutes WHERE device = ? AND minute BETWEEN ? AND ?"
DELETE_OLD_TREND = "DELETE FROM trend WHERE device = ? AND minute BETWEEN ? AND ?"
SELECT_LOG_KEYS = (
    f"SELECT DISTINCT substr(payload, 1, {envelope.PREFIX_BYTES}) FROM log "  # noqa: S608
    "WHERE stream = ? AND epoch = ? AND wall_ns BETWEEN ? AND ?"
)
SELECT_MINUTE_KEYS = (
    f"SELECT DISTINCT substr(body, 1, {envelope.PREFIX_BYTES}) FROM minutes "  # noqa: S608
    "WHERE device = ? AND minute BETWEEN ? AND ?"
)
SELECT_KEPT_KEYS = (
    f"SELECT DISTINCT substr(raw, 1, {envelope.PREFIX_BYTES}) FROM kept "  # noqa: S608
    "WHERE is_sealed IS NOT 0 AND at_ns BETWEEN ? AND ?"
)
DELETE_KEPT = "DELETE FROM kept WHERE at_ns BETWEEN ? AND ?"


class Stretch(NamedTuple):
    """What a device measured between two times, both included, by the node's clock."""

    device: str
    from_ns: int
    to_ns: int

    @property
    def places(self) -> list[Place]:
        """What shares a key with any of it; messages that were kept as they came name no device."""
        # Where a full disk took no new key, that of the day before was used, or the one of last resort; see `key_ids`.
        days = range(day_of(self.from_ns) - 1, day_of(self.to_ns) + 1)
        return [FALLBACK, *(Place(scope, day) for day in days for scope in (self.device, KEPT_SCOPE))]

    @property
    def minutes(self) -> tuple[str, int, int]:
        """Return device, first and last minute, as the trends are asked for them."""
        return self.device, self.from_ns // MINUTE_NS, self.to_ns // MINUTE_NS

    def states(self, file: LogFile) -> list[StreamState]:
        """Return the streams of the device."""
        own = f"{self.device}/"
        return [state for each in file.streams.values() for state in each.values() if state.stream.startswith(own)]


async def unsent(file: LogFile, stretch: Stretch) -> int:
    """Return how many records of it the hub does not have yet; raises BufferFailure."""
    return sum([await file.read(partial(_unsent, state=state, stretch=stretch)) for state in stretch.states(file)])


async def key_ids(file: LogFile, stretch: Stretch) -> set[int]:
    """Return the ids of the keys that its rows stand under, whatever they were made for; raises BufferFailure."""
    return await file.read(partial(_key_ids, states=stretch.states(file), stretch=stretch))


async def delete(file: LogFile, stretch: Stretch) -> int:
    """Delete its rows; return how many records went; raises BufferFailure."""
    count = 0
    for state in stretch.states(file):
        while gone := await file.write(partial(_delete_some, state=state, stretch=stretch), may_use_reserve=True):
            count += gone
        file.recent.forget(state.key, [(1, state.next_seq)])
    await file.write(partial(_delete_rest, stretch=stretch), may_use_reserve=True)
    return count


def _unsent(connection: sqlite3.Connection, state: StreamState, stretch: Stretch) -> int:
    where = (state.stream, epoch_text(state.epoch), state.acked, stretch.from_ns, stretch.to_ns)
    return int(connection.execute(SELECT_STILL_NEEDED, where).fetchone()[0])


def _key_ids(connection: sqlite3.Connection, states: list[StreamState], stretch: Stretch) -> set[int]:
    span = (stretch.from_ns, stretch.to_ns)
    asked: list[tuple[str, tuple[str | int, ...]]] = [(SELECT_MINUTE_KEYS, stretch.minutes), (SELECT_KEPT_KEYS, span)]
    asked += [(SELECT_LOG_KEYS, (state.stream, epoch_text(state.epoch), *span)) for state in states]
    found = [prefix for query, where in asked for (prefix,) in connection.execute(query, where)]
    return {envelope.key_id_of(prefix) or 0 for prefix in found if isinstance(prefix, bytes)}


def _delete_some(batch: Batch, state: StreamState, stretch: Stretch) -> int:
    # The log alone would not say any more how far the stream has come.
    outbox.save(batch, [state])
    where = (state.stream, epoch_text(state.epoch), stretch.from_ns, stretch.to_ns, CHUNK_ROWS)
    with outbox.freeing(batch):
        return batch.connection.execute(DELETE_ROWS, where).rowcount


def _delete_rest(batch: Batch, stretch: Stretch) -> None:
    batch.connection.execute(DELETE_MINUTES, stretch.minutes)
    batch.connection.execute(DELETE_OLD_TREND, stretch.minutes)
    batch.connection.execute(DELETE_KEPT, (stretch.from_ns, stretch.to_ns))
