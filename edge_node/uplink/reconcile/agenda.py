"""When to compare, and what: pure; hours are those of the site's zone."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from telemed.numbers import Run
from telemed.reconcile import BLOCK_RECORDS

NS = 10**9


@dataclass(frozen=True, slots=True)
class Night:
    """When a node compares: its hour, and its own minute in the stretch after it."""

    hour: int
    spread_minutes: int
    node: str
    zone: ZoneInfo

    @property
    def minute(self) -> int:
        """Minutes after the hour: the same every night, and spread over the nodes."""
        return zlib.crc32(self.node.encode()) % self.spread_minutes if self.spread_minutes else 0

    def slot_ns(self, day: datetime) -> int:
        """Return when it is time in the night of a local date."""
        at = datetime(day.year, day.month, day.day, self.hour, tzinfo=self.zone) + timedelta(minutes=self.minute)
        return int(at.timestamp()) * NS

    def due_ns(self, last_ns: int, now_ns: int) -> int:
        """Return when to compare next; not after `now_ns` where a night was missed since the last comparison.

        Args:
            last_ns: when the last comparison ended; of a node that never compared, when it was first started.
            now_ns: the node's clock.
        """
        today = datetime.fromtimestamp(now_ns / NS, self.zone)
        # A night's minute may lie in the next day.
        slots = [self.slot_ns(today + timedelta(days=days)) for days in (-2, -1, 0, 1, 2)]
        newest = max(slot for slot in slots if slot <= now_ns)
        if last_ns < newest or last_ns > now_ns:
            # What ended in the future was dated by a clock that was wrong.
            return newest
        return min(slot for slot in slots if slot > now_ns)

    def number(self, now_ns: int) -> int:
        """Return a number that goes up by one with every local date."""
        return datetime.fromtimestamp(now_ns / NS, self.zone).toordinal()


def chosen(found: Iterable[Run], recent_from: int, night: int, nights: int) -> list[Run]:
    """Return the blocks to compare in a night: all recent ones, and of the older ones each in one night of `nights`.

    Args:
        found: blocks that the node holds something of.
        recent_from: first recent number; 0 = none is.
        night: number of the night.
        nights: 1 = all of them every night.
    """
    return [
        (first, last)
        for first, last in found
        if (recent_from and last >= recent_from) or (first - 1) // BLOCK_RECORDS % nights == night % nights
    ]
