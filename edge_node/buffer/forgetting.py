"""Copies of what the hub has about persons who were erased: they go at the next clean-up, not when their time is over.

What the hub does not have yet is sent first, as it is: the hub empties it when it comes.  Measurements name nobody, and
went with their time before anybody may be erased.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog
from google.protobuf.message import DecodeError
from telemed import erasure
from telemed.errors import PayloadUnreadable
from telemed.numbers import Run, epoch_text, runs
from telemed.v1 import alarm_pb2, event_pb2
from telemed.wire import Kind, Record

from edge_node.buffer import eventlog, outbox
from edge_node.buffer.file import LogFile
from edge_node.buffer.outbox import Batch, StreamState
from edge_node.buffer.schema import ALARM, CARE

CHUNK_RECORDS = 300
SELECT_AFTER = f"SELECT {outbox.COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Traces:
    """What a record is known by to be about somebody who was erased."""

    numbers: frozenset[int]
    """Of the events that erased them."""
    persons: frozenset[str]
    events: frozenset[str]
    things: frozenset[str]
    """Alarms and referrals that were theirs."""

    def has(self, record: Record) -> bool:
        """Return whether a record is about one of them; of one that cannot be read nobody knows."""
        try:
            if record.kind == Kind.ALARM_EVENT:
                step = alarm_pb2.AlarmEvent.FromString(record.body())
                return step.person_id in self.persons or step.alarm_id in self.things
            if record.kind != Kind.EVENT:
                return False
            event = event_pb2.Event.FromString(record.body())
        except (PayloadUnreadable, DecodeError):
            return False
        is_known = event.event_id in self.events or event.aggregate_id in self.things
        return is_known or erasure.is_about(event, self.persons)


class Forgetting:
    """Deletes the copies; used on the event loop alone."""

    def __init__(self, files: Mapping[str, LogFile]) -> None:
        """Do nothing yet.

        Args:
            files: of the store.
        """
        self._files = files
        self._reached = -1
        """Up to which event the log was looked through."""
        self._done: frozenset[int] = frozenset()
        """Events of erasures of which nothing is left here."""
        self._is_open = False

    async def round(self) -> int:
        """Delete what the hub has of it; return how many records went.

        Raises:
            BufferFailure: a file cannot be read or written; the next round tries again.
        """
        reached = await self._files[CARE].read(eventlog.cursor)
        if reached == self._reached and not self._is_open:
            return 0
        traces = await self._files[CARE].read(partial(_traces, done=self._done))
        count, is_open = 0, False
        for name in (ALARM, CARE) if traces.numbers else ():
            file = self._files[name]
            for state in [state for streams in file.streams.values() for state in streams.values()]:
                found = await _found(file, state, traces)
                is_open |= any(seq > state.acked for seq in found)
                count += await _delete(file, state, runs(seq for seq in found if seq <= state.acked))
            # Else the words would stay in the write-ahead log.
            await file.shrink()
        if count:
            log.info("buffer.copies-forgotten", records=count)
        self._reached, self._is_open = reached, is_open
        self._done |= frozenset() if is_open else traces.numbers
        return count


def _traces(connection: sqlite3.Connection, done: frozenset[int]) -> Traces:
    """Return what was about those whose erasure is not done with."""
    log_ = eventlog.ordered_events(connection, "")
    erased = [row for row in log_ if eventlog.is_erasure(row) and row.site_seq not in done]
    about = [left.event for left in eventlog.left_by(erased, log_) if left is not None]
    return Traces(
        frozenset(row.site_seq for row in erased),
        frozenset(row.event.aggregate_id for row in erased),
        frozenset(event.event_id for event in about),
        frozenset(event.aggregate_id for event in about if event.aggregate_type in ("alarm", "referral")),
    )


async def _found(file: LogFile, state: StreamState, traces: Traces) -> list[int]:
    """Return the numbers of a stream's records that are about them, in order."""
    found = list[int]()
    last: int | None = 0
    while last is not None:
        part, last = await file.read(partial(_look, state=state, after=last, traces=traces))
        found += part
    return found


def _look(
    connection: sqlite3.Connection, state: StreamState, after: int, traces: Traces
) -> tuple[list[int], int | None]:
    """Return such numbers among the next records, and the last one looked at; None = there are no more."""
    where = (state.stream, epoch_text(state.epoch), after, CHUNK_RECORDS)
    records = [outbox.record_of(row) for row in connection.execute(SELECT_AFTER, where)]
    last = records[-1].seq if len(records) == CHUNK_RECORDS else None
    return [record.seq for record in records if traces.has(record)], last


async def _delete(file: LogFile, state: StreamState, which: Iterable[Run]) -> int:
    found = list(which)
    if not found:
        return 0

    def work(batch: Batch) -> int:
        # The log alone would not say any more how far the stream has come.
        outbox.save(batch, [state])
        with outbox.freeing(batch), outbox.overwriting(batch.connection):
            return sum(outbox.delete_run(batch.connection, state.key, run) for run in found)

    count = await file.write(work, may_use_reserve=True)
    file.recent.forget(state.key, found)
    return count
