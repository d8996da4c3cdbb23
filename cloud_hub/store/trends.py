"""Minute roll-ups of valid numerics, made in the transaction that stores the set they come from.

Each set is folded exactly once, so late data simply joins its minute.  Values keep the sender's decimals.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sqlalchemy import Connection, select
from telemed.measures import MEASURES
from telemed.v1 import sample_pb2

from cloud_hub.store import dialect
from cloud_hub.store.schema import trend

_NS_PER_MINUTE = 60 * 1_000_000_000
_REMEMBERED = 4096
_LATEST_NS = 2**63 - 1
_VALUE_CHARS = 24
_KEY = ("stream_id", "measure", "minute")

Minute = tuple[int, str, int]
"""Stream, measure, minutes since 1970."""


@dataclass(frozen=True, slots=True)
class TrendRow:
    """One minute of one measure of one stream."""

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
        new: dict[Minute, TrendRow] = {}
        for stream_id, sample in sets:
            for row in _minutes(stream_id, sample):
                key = (row.stream_id, row.measure, row.minute)
                new[key] = _joined(new[key], row) if key in new else row
        known = self._known(connection, new)
        changed = {key: _joined(known[key], row) if key in known else row for key, row in new.items()}
        rows = [
            dict(zip(TrendRow.__slots__, (*key, row.n, row.low, row.high, row.last, row.last_ns), strict=True))
            for key, row in changed.items()
        ]
        dialect.upsert(connection, trend, rows, _KEY)
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


def _minutes(stream_id: int, sample: sample_pb2.NumericSet) -> Iterable[TrendRow]:
    for value in sample.values:
        if value.quality != sample_pb2.QUALITY_VALID or value.measure not in MEASURES or not _is_number(value.value):
            continue
        at_ns = value.measured_at_unix_ns or sample.measured_at_unix_ns
        minute = at_ns // _NS_PER_MINUTE
        if at_ns <= _LATEST_NS:
            yield TrendRow(stream_id, value.measure, minute, 1, value.value, value.value, value.value, at_ns)


def _joined(old: TrendRow, new: TrendRow) -> TrendRow:
    last = new if new.last_ns >= old.last_ns else old
    return TrendRow(
        stream_id=old.stream_id,
        measure=old.measure,
        minute=old.minute,
        n=old.n + new.n,
        low=min(old.low, new.low, key=Decimal),
        high=max(old.high, new.high, key=Decimal),
        last=last.last,
        last_ns=last.last_ns,
    )


def _is_number(text: str) -> bool:
    try:
        return len(text) <= _VALUE_CHARS and Decimal(text).is_finite()
    except InvalidOperation:
        return False
