"""How far the hub has what was measured at a site and at each of its beds: pure.

A node tells times on its own clock.  They are moved to the hub's by when the message arrived, so that a node whose
clock is wrong does not claim an hour that is not there; of a silent node the state is that of when it was last heard.
"""

from collections.abc import Collection, Iterable

from telemed import screen
from telemed.errors import Code
from telemed.stuck import stuck_views
from telemed.v1 import uplink_pb2

from cloud_hub.web.views import ms

CONCERNS_ALL = frozenset({Code.STORE_FULL, Code.STORE_NEARLY_FULL})
"""Codes that concern every bed of a node; all others name the bed or device."""


def on_hub_clock_ns(told_ns: int, presence: uplink_pb2.Presence, received_ns: int) -> int:
    """Return a time that a node told on its own clock as the hub's clock has it; 0 stays 0, and none is ahead."""
    if not told_ns:
        return 0
    return received_ns - max(0, presence.at_unix_ns - told_ns)


def bed_sync(key: str, devices: Collection[str], presence: uplink_pb2.Presence, received_ns: int) -> screen.BedSync:
    """Return how far the hub has what the devices at a bed measured.

    Args:
        key: key of the bed on screens, which ends in its code.
        devices: those that stand there now.
        presence: what their node told last.
        received_ns: when it arrived, hub clock.
    """
    behind = [row for row in presence.behind if row.device in devices]
    oldest_ns = min((row.oldest_unix_ns for row in behind), default=presence.at_unix_ns + 1)
    caught_up_ns = on_hub_clock_ns(oldest_ns - 1, presence, received_ns)
    return screen.BedSync(
        bed_key=key,
        caught_up_to_ms=ms(caught_up_ns) if presence.tells_behind else None,
        waiting=screen.WaitingView(vitals=sum(row.numerics for row in behind), waves=sum(row.waves for row in behind)),
        stuck=stuck_views(_stuck_at(key.rpartition(":")[2], devices, presence.stuck)),
        as_of_ms=ms(received_ns),
    )


def _stuck_at(bed: str, devices: Collection[str], stuck: Iterable[uplink_pb2.Stuck]) -> Iterable[tuple[str, str]]:
    """Yield what is stuck at a bed: what names it or one of its devices, and what concerns the whole node."""
    for one in stuck:
        named = one.what.partition(" ")[0].partition("/")[0]
        if one.code in CONCERNS_ALL or named == bed or named in devices:
            yield one.code, one.what
