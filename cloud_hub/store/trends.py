"""Minute roll-ups of valid numerics, made in the transaction that stores the set they come from.

Each set is folded exactly once, so late data simply joins its minute.  Values keep the sender's decimals.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection, select
from telemed.measures import MEASURES
from telemed.v1 import sample_pb2

from cloud_hub.store import dialect
from cloud_hub.store.schema import trend

_NS_PER_MINUTE = 60 * 1_000_000_000
_REMEMBERED = 4096
_LATEST_NS = 2**63 - 1
_VALUE_CHARS = 24
_TEXTS_REMEMBERED = 4096
_ZERO = Decimal(0)
_KEY = ("stream_id", "measure", "minute")

Minute = tuple[int, str, int]
"""Stream, measure, minutes since 1970."""
_Seen = tuple[int, str]
"""Measurement time in ns, value as sent."""


class TrendRow(NamedTuple):
    """One minute of one measure of one stream: a row of the table, in its order."""

    stream_id: int
    measure: str
    minute: int
    n: int
    low: str
    high: str
    last: str
    last_ns: int


class Trends:
    """Folds sets into minutes; used by the writer thread alone."""

    def __init__(self) -> None:
        self._remembered: OrderedDict[Minute, TrendRow] = OrderedDict()

    def forget(self) -> None:
        """Drop what is remembered; called after a transaction that did not commit."""
        self._remembered.clear()

    def add(self, connection: Connection, sets: Iterable[tuple[int, sample_pb2.NumericSet]]) -> None:
        """Fold (stream id, set) pairs that are new into their minutes."""
        seen: dict[Minute, list[_Seen]] = {}
        for stream_id, sample in sets:
            _gather(seen, stream_id, sample)
        new = {key: _row(key, values) for key, values in seen.items()}
        known = self._known(connection, new)
        changed = {key: _joined(known[key], row) if key in known else row for key, row in new.items()}
        dialect.upsert(connection, trend, TrendRow._fields, list(changed.values()), _KEY)
        self._remember(changed)

    def _known(self, connection: Connection, keys: Collection[Minute]) -> dict[Minute, TrendRow]:
        """Return the minutes that exist; those not remembered are looked up in one statement."""
        known = {key: self._remembered[key] for key in keys if key in self._remembered}
        missing = [key for key in keys if key not in known]
        if missing:
            c = trend.c
            streams, minutes = {key[0] for key in missing}, {key[2] for key in missing}
            query = select(trend).where(c.stream_id.in_(streams), c.minute.in_(minutes))
            for row in connection.execute(query):
                known.setdefault((row[0], row[1], row[2]), TrendRow(*row))
        return known

    def _remember(self, rows: dict[Minute, TrendRow]) -> None:
        for key, row in rows.items():
            self._remembered[key] = row
            self._remembered.move_to_end(key)
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)


def trend_rows(connection: Connection, stream_ids: Sequence[int], from_minute: int, to_minute: int) -> list[TrendRow]:
    """Return the minutes in [from_minute, to_minute) of these streams, by minute, measure, stream."""
    c = trend.c
    query = (
        select(trend)
        .where(c.stream_id.in_(list(stream_ids)), c.minute >= from_minute, c.minute < to_minute)
        .order_by(c.minute, c.measure, c.stream_id)
    )
    return [TrendRow(*row) for row in connection.execute(query)]


def _gather(seen: dict[Minute, list[_Seen]], stream_id: int, sample: sample_pb2.NumericSet) -> None:
    """Put the usable values of a set to their minutes; none of a test, none whose person is in doubt (decision 30)."""
    if sample.origin == sample_pb2.ORIGIN_TEST or sample.assignment == sample_pb2.ASSIGNMENT_UNASSIGNED:
        return
    set_ns = sample.measured_at_unix_ns
    for value in sample.values:
        measure, text = value.measure, value.value
        if value.quality != sample_pb2.QUALITY_VALID or measure not in MEASURES or _number(text) is None:
            continue
        at_ns = value.measured_at_unix_ns or set_ns
        if at_ns <= _LATEST_NS:
            key = (stream_id, measure, at_ns // _NS_PER_MINUTE)
            if key in seen:
                seen[key].append((at_ns, text))
            else:
                seen[key] = [(at_ns, text)]


def _row(key: Minute, values: Sequence[_Seen]) -> TrendRow:
    """Return the minute of these values, given in the order of their arrival."""
    last_ns, last = max(reversed(values), key=itemgetter(0))
    texts = dict.fromkeys(text for _, text in values)
    low, high = (last, last) if len(texts) == 1 else (min(texts, key=_order), max(texts, key=_order))
    return TrendRow(*key, len(values), low, high, last, last_ns)


def _joined(old: TrendRow, new: TrendRow) -> TrendRow:
    last = new if new.last_ns >= old.last_ns else old
    low = old.low if old.low == new.low else min(old.low, new.low, key=_order)
    high = old.high if old.high == new.high else max(old.high, new.high, key=_order)
    return TrendRow(*old[:3], old.n + new.n, low, high, last.last, last.last_ns)


@lru_cache(_TEXTS_REMEMBERED)
def _number(text: str) -> Decimal | None:
    """Return the number that a value is, None if it is none or too long to keep."""
    try:
        number = Decimal(text) if len(text) <= _VALUE_CHARS else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _order(text: str) -> Decimal:
    return _number(text) or _ZERO
