"""Looks at every number that still has to go to the hub; a damaged or vanished record is declared, not waited for."""

import sqlite3
from functools import partial

import structlog
from telemed.numbers import Run, epoch_text, runs
from telemed.shed import Reason
from telemed.wire import is_sound

from edge_node.buffer import outbox, tombstone
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.file import LogFile
from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.buffer.tombstone import GivenUp

CHUNK_RECORDS = 300
SELECT_AFTER = f"SELECT {outbox.COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608

log = structlog.get_logger(__name__)


async def scrub(file: LogFile, clock: NodeClock) -> int:
    """Declare what is damaged or gone of the unsent records of a file; return how many there were.

    Nothing else may delete records meanwhile.

    Raises:
        BufferFailure: the file cannot be read or written.
    """
    waiting = [state for streams in file.streams.values() for state in streams.values() if state.waiting > 0]
    return sum([await _scrub_stream(file, clock, state) for state in waiting])


async def _scrub_stream(file: LogFile, clock: NodeClock, state: StreamState) -> int:
    damaged: list[int] = []
    last = state.acked
    while last < state.next_seq - 1:
        found, last = await file.read(partial(_look, key=state.key, after=last))
        damaged += found
        if not last:
            break
    if damaged:
        await _give_up(file, clock, state.key, runs(damaged))
    # A row that bears another name since is under none of its numbers.
    look = partial(outbox.undeclared, key=state.key, first=state.acked + 1, last=state.next_seq - 1)
    vanished = await file.read(look)
    if vanished:
        await _give_up(file, clock, state.key, vanished)
    return len(damaged) + sum(last - first + 1 for first, last in vanished)


async def _give_up(file: LogFile, clock: NodeClock, key: StreamKey, numbers: list[Run]) -> None:
    log.error("buffer.rows-damaged", stream=key.stream, runs=len(numbers))
    given_up, stamp = GivenUp(key, numbers, Reason.DAMAGED, file.state(key).acked), clock.stamp()
    await file.write(lambda batch: tombstone.shed(batch, stamp, given_up), may_use_reserve=True)


def _look(connection: sqlite3.Connection, key: StreamKey, after: int) -> tuple[list[int], int]:
    """Return the numbers of damaged records among the next ones, and the last one looked at; 0 = there are no more."""
    where = (key.stream, epoch_text(key.epoch), after, CHUNK_RECORDS)
    damaged, last = [], 0
    for row in connection.execute(SELECT_AFTER, where):
        last = row[2]
        record = outbox.record_of(row)
        if not is_sound(record) and not outbox.is_locked(record):
            damaged.append(last)
    return damaged, last
