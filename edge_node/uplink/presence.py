"""Clock offset, link state and the presence message (pure)."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from telemed.topics import STORED, Up
from telemed.v1 import uplink_pb2

from edge_node.buffer.store import Waiting

OFFSET_WINDOW_S = 300
"""Round trips older than this say nothing about a drifting clock."""
WEAK_ROUND_TRIP_MS = 1000
WEAK_LAG_NS = 10 * 10**9
"""A hub that answers while vitals wait longer than this is behind a weak link."""

ON_ITS_WAY_NS = {up: (75 if up is Up.WAVES else 3) * 10**9 for up in STORED}
"""A record younger than this is not waiting but travelling: two rounds of receipts, and the block that waves go in."""

LinkState = Literal["live", "weak", "lost", "never"]


@dataclass(frozen=True, slots=True)
class LinkView:
    """How things stand with the hub, for screens and alarms."""

    state: LinkState
    since_ns: int
    """Wall clock of the last change of state."""
    last_hub_ns: int
    """When the hub was last heard, wall clock; 0 = never in this run."""
    caught_up_to_ns: int
    """Everything that came in up to here is at the hub."""
    hub_offset_ms: int | None
    """Hub's clock minus that of the node's machine; None = unknown."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One measured round trip."""

    at_ns: int
    """CLOCK_BOOTTIME when its answer came."""
    round_trip_ns: int
    ahead_ns: int
    """Hub's clock minus CLOCK_BOOTTIME, which is not moved when somebody sets the wall clock."""


@dataclass(slots=True)
class OffsetEstimate:
    """The offset to the hub from the quickest of the recent round trips (decision 4)."""

    trips: deque[RoundTrip] = field(default_factory=deque)

    def take(self, message: uplink_pb2.HubPresence, boottime_ns: int) -> None:
        """Take in a hub presence that arrived at this reading of CLOCK_BOOTTIME."""
        round_trip_ns = boottime_ns - message.echo_boottime_ns - message.held_ns
        if not message.echo_boottime_ns or round_trip_ns < 0:
            return
        ahead_ns = message.hub_unix_ns + round_trip_ns // 2 - boottime_ns
        self.trips.append(RoundTrip(boottime_ns, round_trip_ns, ahead_ns))
        while boottime_ns - self.trips[0].at_ns > OFFSET_WINDOW_S * 10**9:
            self.trips.popleft()

    def best(self) -> RoundTrip | None:
        """Return the quickest recent round trip; its half is the bound of the offset's error."""
        return min(self.trips, key=lambda trip: trip.round_trip_ns, default=None)

    def last_round_trip_ms(self) -> float:
        """Return the latest round trip; 0 while none is known."""
        return self.trips[-1].round_trip_ns / 1e6 if self.trips else 0.0


def link_state(heard_ago_s: float | None, silence_after_s: float, round_trip_ms: float, lag_ns: int) -> LinkState:
    """Return the state of the link from how long ago the hub was heard and how far vitals lag behind."""
    if heard_ago_s is None:
        return "never"
    if heard_ago_s > silence_after_s:
        return "lost"
    return "weak" if round_trip_ms > WEAK_ROUND_TRIP_MS or lag_ns > WEAK_LAG_NS else "live"


def caught_up_to_ns(waiting: Mapping[Up, Waiting], now_ns: int) -> int:
    """Return up to when everything that came in is at the hub, but for waves that are merely on their way."""
    told = {up: each for up, each in waiting.items() if up is not Up.WAVES} | {
        up: each for up, each in held_up(waiting, now_ns).items() if up is Up.WAVES
    }
    oldest = [each.oldest_ns for each in told.values() if each.records]
    return min(oldest) - 1 if oldest else now_ns


def held_up(waiting: Mapping[Up, Waiting], now_ns: int) -> dict[Up, Waiting]:
    """Return what people are told waits: nothing of a class whose oldest record is merely on its way.

    Receipts come about once a second, so that a link in the best of health always has a few records in flight.
    """
    nothing = Waiting(0, 0)
    return {up: each if now_ns - each.oldest_ns > ON_ITS_WAY_NS[up] else nothing for up, each in waiting.items()}


def waiting_messages(waiting: Mapping[Up, Waiting]) -> list[uplink_pb2.Waiting]:
    """Return what waits as it stands in the presence message."""
    return [
        uplink_pb2.Waiting(stream_class=up.value, records=each.records, oldest_unix_ns=each.oldest_ns)
        for up, each in waiting.items()
    ]
