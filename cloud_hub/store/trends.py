"""Minute roll-ups of valid numerics: folded in memory, written every 5 to 20 s behind a durable cursor.

Each set is folded exactly once, so late data simply joins its minute.  The rows and the cursor (up to which arrival
all sets are in them) change in one transaction; after a crash what came after the cursor is folded again from the
stored records.  Minutes of sets whose time is corrected, or that came again because they had vanished, are made anew
from the records.  Values keep the sender's decimals.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import Connection, delete, select
from telemed.measures import MEASURES, is_number
from telemed.v1 import sample_pb2
from telemed.wire import Kind

from cloud_hub.store import dialect
from cloud_hub.store.boot_clocks import BootClocks, Moved
from cloud_hub.store.samples import (
    StoredRecord,
    last_arrival,
    minute_set,
    numeric_set,
    record_by_key,
    records_after,
    records_between,
)
from cloud_hub.store.schema import trend, trend_cursor

_NS_PER_MINUTE = 60 * 1_000_000_000
_LATEST_NS = 2**63 - 1
_LATEST_MINUTE = _LATEST_NS // _NS_PER_MINUTE
_VALUE_CHARS = 24
_MOST_COUNTED = 2**31 - 1
"""What the column holds: no sum of counts may keep all minutes from being written."""
_TEXTS_REMEMBERED = 4096
_RECORDS_AT_ONCE = 1000
_SOONEST_S, _LATEST_S = 5.0, 20.0
_MINUTES_PER_S = 250
"""Minutes of streams, of some eight measures each, that are written in a second of waiting at most."""
_SPAN_APART = 10
"""Minutes that are no further apart are read in one go."""
_REPEATED_NS = 60 * _NS_PER_MINUTE
"""So long after its own time a value may stand in a set once more, as decision 8 has it."""
_MOST_IN_A_SPAN = 200_000
_ZERO = Decimal(0)
_VALID = sample_pb2.QUALITY_VALID
_KEY = ("stream_id", "minute", "measure")
_JOINED = {
    "n": f"CASE WHEN trend.n > {_MOST_COUNTED} - excluded.n THEN {_MOST_COUNTED} ELSE trend.n + excluded.n END",
    "low": "CASE WHEN CAST(excluded.low AS NUMERIC) < CAST(trend.low AS NUMERIC) THEN excluded.low ELSE trend.low END",
    "high": "CASE WHEN CAST(excluded.high AS NUMERIC) > CAST(trend.high AS NUMERIC) "
    "THEN excluded.high ELSE trend.high END",
    "last": "CASE WHEN excluded.last_ns >= trend.last_ns THEN excluded.last ELSE trend.last END",
    "last_ns": "CASE WHEN excluded.last_ns > trend.last_ns THEN excluded.last_ns ELSE trend.last_ns END",
}
"""How what is folded joins a row: in the database, as reading thousands of rows takes turns with the event loop."""

Minute = tuple[int, int]
"""Stream, minutes since 1970."""
Source = sample_pb2.NumericSet | sample_pb2.MinuteSet
"""What minutes are made of: sets, and what a node that ran short of room left of them."""
KINDS = (Kind.NUMERIC_SET, Kind.MINUTE_SET)
Pair = tuple[int, Source]
"""Stream, one of its sets."""


class TrendRow(NamedTuple):
    """One minute of one measure of one stream: a row of the table, in its order."""

    stream_id: int
    minute: int
    measure: str
    n: int
    low: str
    high: str
    last: str
    last_ns: int


@dataclass(slots=True)
class _Fold:
    """What some values add to a minute; changed in place, because every value of every set comes by here."""

    n: int
    low: str
    high: str
    last: str
    last_ns: int

    def take(self, text: str, at_ns: int) -> None:
        """Take one more value; one that is no number is left out."""
        if text not in (self.low, self.high):
            number = _number(text)
            if number is None:
                return
            if number < _order(self.low):
                self.low = text
            elif number > _order(self.high):
                self.high = text
        self.n += 1
        if at_ns >= self.last_ns:
            self.last, self.last_ns = text, at_ns


_Folded = dict[Minute, dict[str, _Fold]]
"""What some sets add to minutes, by measure."""


class Trends:
    """Folds sets into minutes; used by the writer thread alone."""

    def __init__(self) -> None:
        self._staged: list[Pair] = []
        """Sets of the transaction under way."""
        self._folded: _Folded = {}
        """What committed sets add to the minutes as they are written."""
        self.clocks = BootClocks()
        self._is_written_through = False
        """The transaction under way writes all minutes itself."""

    @property
    def minutes(self) -> int:
        """How many minutes of streams wait to be written; may be asked by any thread."""
        return len(self._folded)

    def stage(self, sets: Iterable[Pair]) -> None:
        """Take the sets that a transaction stores; `kept` or `forget` says what became of it."""
        self._staged.extend(sets)

    def kept(self) -> None:
        """Fold what was staged; called after the commit."""
        if self._is_written_through:
            self._folded.clear()
            self._is_written_through = False
        else:
            _fold_into(self._folded, self._staged)
        self._staged.clear()

    def forget(self) -> None:
        """Drop what was staged; called after a transaction that did not commit."""
        self._staged.clear()
        self._is_written_through = False
        self.clocks.forget()

    def heal(self, connection: Connection, again: Iterable[Pair]) -> None:
        """Make the minutes anew of sets that this transaction stores again: they may be counted there already.

        Everything else is written with them, staged or folded, so that the cursor can go past them.
        """
        folded = {key: {name: replace(fold) for name, fold in some.items()} for key, some in self._folded.items()}
        _fold_into(folded, self._staged)
        _join(connection, folded)
        healed: _Folded = {}
        _fold_into(healed, again)
        remake(connection, set(healed))
        self._is_written_through = True

    def catch_up(self, connection: Connection) -> None:
        """Fold and write what was stored, but not folded, when the hub ended; once, before the first `stage`."""
        after = connection.execute(select(trend_cursor.c.arrival)).scalar_one_or_none() or 0
        while found := records_after(connection, after, KINDS, _RECORDS_AT_ONCE):
            sets = [(stored.stream_id, _source(stored)) for _, stored in found]
            _fold_into(self._folded, [(stream_id, sample) for stream_id, sample in sets if sample is not None])
            after = found[-1][0]
        self.write(connection)

    def write(self, connection: Connection) -> None:
        """Write what is folded, and up to which arrival that is; `written` after the commit.

        Times that can be corrected are, and their minutes made anew.
        """
        moved = self.clocks.correct(connection) if self.clocks.is_due else []
        if self._folded or moved:
            _join(connection, self._folded)
        remake(connection, _minutes_of(connection, moved))

    def written(self) -> None:
        """Start anew; called after the commit of what `write` wrote."""
        self._folded.clear()
        self.clocks.corrected()


def remake(connection: Connection, minutes: Collection[Minute]) -> None:
    """Make minutes anew from the stored records, and nothing else; what is not written yet must be, before."""
    folded: _Folded = {}
    for stream_id, first, last in _spans(minutes):
        until_ns = (last + 1) * _NS_PER_MINUTE + _REPEATED_NS
        after = first * _NS_PER_MINUTE
        for stored in records_between(connection, [stream_id], after, until_ns, _MOST_IN_A_SPAN):
            sample = _source(stored)
            _fold_into(folded, [(stream_id, sample)] if sample is not None else [])
    c = trend.c
    for stream_id, minute in minutes:
        connection.execute(delete(trend).where(c.stream_id == stream_id, c.minute == minute))
    rows = _rows({key: some for key, some in folded.items() if key in minutes})
    dialect.upsert(connection, trend, TrendRow._fields, rows, _KEY)


def write_after_s(minutes: int) -> float:
    """Return how long after the last writing so many minutes of streams are written.

    While a minute lasts each writing writes the same rows anew: where there are many of them, it is done less often.
    """
    return min(_LATEST_S, max(_SOONEST_S, minutes / _MINUTES_PER_S))


def trend_rows(connection: Connection, stream_ids: Sequence[int], from_minute: int, to_minute: int) -> list[TrendRow]:
    """Return the minutes in [from_minute, to_minute) of these streams, by minute, measure, stream."""
    c = trend.c
    query = (
        select(trend)
        .where(c.stream_id.in_(list(stream_ids)), c.minute >= from_minute, c.minute < to_minute)
        .order_by(c.minute, c.measure, c.stream_id)
    )
    return [TrendRow(*row) for row in connection.execute(query)]


def _join(connection: Connection, folded: _Folded) -> None:
    dialect.upsert(connection, trend, TrendRow._fields, _rows(folded), _KEY, _JOINED)
    dialect.upsert(connection, trend_cursor, ("id", "arrival"), [(1, last_arrival(connection))], ("id",))


def _rows(folded: _Folded) -> list[dialect.Row]:
    return [
        (*key, measure, min(fold.n, _MOST_COUNTED), fold.low, fold.high, fold.last, fold.last_ns)
        for key, some in folded.items()
        for measure, fold in some.items()
    ]


def _spans(minutes: Iterable[Minute]) -> list[tuple[int, int, int]]:
    """Return stretches (stream, first, last minute) that hold these minutes and no long time between them."""
    spans: list[tuple[int, int, int]] = []
    for stream_id, minute in sorted(minutes):
        last = spans[-1] if spans else None
        if last is not None and last[0] == stream_id and minute - last[2] <= _SPAN_APART:
            spans[-1] = (stream_id, last[1], minute)
        else:
            spans.append((stream_id, minute, minute))
    return spans


def _minutes_of(connection: Connection, moved: Iterable[Moved]) -> set[Minute]:
    """Return the minutes in which sets were that have another time now, and those in which they are."""
    touched: _Folded = {}
    for each in moved:
        stored = record_by_key(connection, each.stream_id, int(each.epoch, 16), each.seq)
        if stored is None or not each.shift_ns:
            continue
        as_it_came = replace(stored, shift_ns=0)
        for sample in (_source(stored), _source(as_it_came)):
            _fold_into(touched, [(each.stream_id, sample)] if sample is not None else [])
    return set(touched)


def _fold_into(folded: _Folded, pairs: Iterable[Pair]) -> None:
    """Join the usable values of sets to their minutes; none of a test, none whose person is in doubt (decision 30)."""
    # Every value of every bed of the region comes by here: what is asked of each is asked as seldom as can be.
    for stream_id, sample in pairs:
        if sample.origin == sample_pb2.ORIGIN_TEST or sample.assignment == sample_pb2.ASSIGNMENT_UNASSIGNED:
            continue
        if type(sample) is sample_pb2.MinuteSet:
            _fold_minute(folded, stream_id, sample)
            continue
        set_ns, key, some = sample.measured_at_unix_ns, (stream_id, -1), dict[str, _Fold]()
        for value in sample.values:
            if value.quality != _VALID:
                continue
            at_ns, measure, text = value.measured_at_unix_ns or set_ns, value.measure, value.value
            minute = at_ns // _NS_PER_MINUTE
            if minute != key[1]:
                key = (stream_id, minute)
                some = folded.get(key) or {}
            if (known := some.get(measure)) is not None:
                known.take(text, at_ns)
            elif measure in MEASURES and at_ns <= _LATEST_NS and _number(text) is not None:
                some[measure] = _Fold(1, text, text, text, at_ns)
                folded[key] = some


def _fold_minute(folded: _Folded, stream_id: int, sample: sample_pb2.MinuteSet) -> None:
    """Join what a node left of a minute; its median stands for the last value."""
    minute = sample.minute_unix_ns // _NS_PER_MINUTE
    for value in sample.values:
        texts = (value.low, value.high, value.median)
        if value.measure not in MEASURES or any(_number(text) is None for text in texts) or minute > _LATEST_MINUTE:
            continue
        at_ns = min(value.last_unix_ns, _LATEST_NS)
        fold = folded.setdefault((stream_id, minute), {}).setdefault(value.measure, _Fold(0, *texts, at_ns))
        fold.take(value.low, 0)
        fold.take(value.high, 0)
        fold.take(value.median, at_ns)
        fold.n += value.n - 3


def _source(stored: StoredRecord) -> Source | None:
    return numeric_set(stored) or minute_set(stored)


@lru_cache(_TEXTS_REMEMBERED)
def _number(text: str) -> Decimal | None:
    """Return the number that a value is, None if it is none or too long to keep."""
    is_usable = len(text) <= _VALUE_CHARS and is_number(text)
    return Decimal(text) if is_usable else None


def _order(text: str) -> Decimal:
    return _number(text) or _ZERO
