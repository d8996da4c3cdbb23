"""Times that a node stamped before it knew the hub's clock, put right once the clock of that boot is known.

A record without a known offset claims nothing (reliability 2.6): a node whose battery is flat may have believed a day
long past.  Its CLOCK_BOOTTIME never jumps, so that one record of the same boot with a good offset tells when all
others of that boot were made, whether they came before it or come after.  The corrected time stands in `measured_ns`,
the correction beside it in `shift_ns`, and the node's own time stays in `wall_ns` as it came.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, func, select, update
from telemed.topics import NodeAddress
from telemed.wire import HOLDOVER_MS, OFFSET_UNKNOWN_MS, Stamp

from cloud_hub.store import dialect
from cloud_hub.store.schema import boot_clock, record, samples_stream
from cloud_hub.store.streams import Incoming

MOST_AT_ONCE = 500
"""Records moved in one transaction, which holds up the writer."""
SLACK_NS = 50_000_000
DRIFT_PARTS = 10_000
"""A clock that is right may drift by one part in so many since the moment that the offset is of."""
_NS_PER_MS = 1_000_000
_KEY = ("region", "site", "node", "boot")


@dataclass(frozen=True, slots=True)
class Moved:
    """A record whose time was corrected; `shift_ns` was added to the time that it came with."""

    stream_id: int
    epoch: str
    seq: int
    shift_ns: int


class Boot(NamedTuple):
    """One start of one node's machine."""

    region: str
    site: str
    node: str
    boot: int


def is_unknown(stamp: Stamp) -> bool:
    """Whether a record's wall clock is only what the node itself believed."""
    return stamp.offset_error_ms == OFFSET_UNKNOWN_MS and stamp.mono_ns > 0


def shift_ns(row_times: tuple[int, int, int], ahead_ns: int) -> int:
    """Return by how much a measurement time is to be corrected (pure).

    Args:
        row_times: the record's wall_ns, mono_ns and measured_ns as they came.
        ahead_ns: hub's clock minus the node's CLOCK_BOOTTIME.

    A time that is nearer to the truth than to the node's clock is the device's own, and right.
    """
    wall_ns, mono_ns, measured_ns = row_times
    true_ns = mono_ns + ahead_ns
    return true_ns - wall_ns if abs(measured_ns - wall_ns) <= abs(measured_ns - true_ns) else 0


def ahead_ns(connection: Connection, boots: Collection[Boot]) -> dict[Boot, int]:
    """Return the hub's clock minus the node's CLOCK_BOOTTIME, of those boots of which it is known."""
    b = boot_clock.c
    found: dict[Boot, int] = {}
    for boot in boots:
        is_it = (b.region == boot.region, b.site == boot.site, b.node == boot.node, b.boot == boot.boot)
        known = connection.execute(select(b.ahead_ns).where(*is_it)).scalar_one_or_none()
        if known is not None:
            found[boot] = known
    return found


class BootClocks:
    """Learns the clocks of boots as records come, and corrects what is stored; used by the writer thread alone."""

    def __init__(self) -> None:
        self._known: dict[int, NodeAddress] = {}
        """Boots whose clock is in the table; two nodes with the same number take turns here, which only costs time."""
        self.is_due = True
        """Whether there may be something to correct: at the start nobody knows."""
        self._is_more_left = False

    def forget(self) -> None:
        """Drop what is remembered, after a transaction that did not commit."""
        self._known.clear()
        self.is_due = True

    def learn(self, connection: Connection, fresh: Iterable[Incoming]) -> None:
        """Keep the clock of each boot that a record among these tells for the first time."""
        for incoming in fresh:
            stamp = incoming.record.stamp
            if stamp.offset_error_ms >= HOLDOVER_MS:
                self.is_due = self.is_due or is_unknown(stamp)
            # A kernel that tells no boot has number 0 at each of them: what one of them shows is not true of the next.
            elif stamp.boot and stamp.mono_ns and self._known.get(stamp.boot) != incoming.address:
                address = incoming.address
                ahead_ns = stamp.wall_ns + stamp.offset_ms * _NS_PER_MS - stamp.mono_ns
                name = (address.region, address.site, address.node, stamp.boot)
                row = (*name, ahead_ns, stamp.offset_error_ms, stamp.mono_ns)
                dialect.insert_new(connection, boot_clock, [row], _KEY)
                self._known[stamp.boot] = address
                self.is_due = True

    def correct(self, connection: Connection) -> list[Moved]:
        """Correct what is not looked at yet and can be, at most MOST_AT_ONCE records; return them.

        Each is corrected once: what was looked at is marked in the same transaction.  `corrected` after the commit.
        """
        self._is_more_left = False
        moved: list[Moved] = []
        for clock in _clocks_asked_for(connection):
            _mark_right(connection, clock)
            moved += _move(connection, clock, MOST_AT_ONCE - len(moved))
            if len(moved) >= MOST_AT_ONCE:
                self._is_more_left = True
                break
        return moved

    def corrected(self) -> None:
        """Called after the commit of what `correct` wrote."""
        self.is_due = self._is_more_left


def _clocks_asked_for(connection: Connection) -> list[Row[Any]]:
    """Return the known clocks of boots of which something is not looked at yet, with the stream."""
    s, r, b = samples_stream.c, record.c, boot_clock.c
    waiting = select(r.stream_id, r.boot).where(r.shift_ns.is_(None)).distinct().subquery()
    is_of = and_(b.region == s.region, b.site == s.site, b.node == s.node, b.boot == waiting.c.boot)
    query = (
        select(waiting.c.stream_id, b.boot, b.ahead_ns, b.error_ms, b.mono_ns)
        .join(samples_stream, s.id == waiting.c.stream_id)
        .join(boot_clock, is_of)
        .order_by(waiting.c.stream_id)
    )
    return list(connection.execute(query))


def _waiting(clock: Row[Any]) -> Any:
    r = record.c
    return and_(r.shift_ns.is_(None), r.boot == clock.boot, r.stream_id == clock.stream_id)


def _mark_right(connection: Connection, clock: Row[Any]) -> None:
    """Mark those whose wall clock is as right as the correction would be."""
    r = record.c
    allowed_ns = clock.error_ms * _NS_PER_MS + SLACK_NS
    drift_ns = func.abs(r.mono_ns - clock.mono_ns) / DRIFT_PARTS
    is_right = func.abs(r.mono_ns + clock.ahead_ns - r.wall_ns) <= allowed_ns + drift_ns
    connection.execute(update(record).where(_waiting(clock), is_right).values(shift_ns=0))


def _move(connection: Connection, clock: Row[Any], limit: int) -> Iterator[Moved]:
    r = record.c
    query: Select[Any] = select(r.epoch, r.seq, r.edge_day, r.wall_ns, r.mono_ns, r.measured_ns)
    for row in connection.execute(query.where(_waiting(clock)).limit(limit)).fetchall():
        by_ns = shift_ns((row.wall_ns, row.mono_ns, row.measured_ns), clock.ahead_ns)
        is_it = (r.stream_id == clock.stream_id, r.epoch == row.epoch, r.seq == row.seq, r.edge_day == row.edge_day)
        values = {"measured_ns": row.measured_ns + by_ns, "shift_ns": by_ns}
        connection.execute(update(record).where(*is_it).values(values))
        yield Moved(clock.stream_id, row.epoch, row.seq, by_ns)
