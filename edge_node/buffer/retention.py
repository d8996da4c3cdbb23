"""From how full a store what may go, and how long the room lasts (pure; reliability 2.5, decision 27)."""

from telemed.topics import Up

HOUR_NS = 3600 * 10**9
GRACE_HOURS = 24
"""Acknowledged rows are kept this long after that for a hub that is restored from its backup (`grace`)."""
TRIM_SHARE = 0.70
"""Of the room: above it the history of acknowledged waves shrinks to the grace copy."""
WARN_SHARE = 0.70
"""Of the room, held by what cannot go without loss: above it people are told."""
COPIES_SHARE, COPIES_UNTIL_SHARE = 0.80, 0.78
"""Of the room: above it acknowledged rows go, oldest first, until so much is left."""
SHED_SHARE, SHED_UNTIL_SHARE = 0.85, 0.84
"""Of the room: above it what was not sent is thinned or given up, in the order of `shedding`, until so much is left."""
RESERVE_SHARE = 0.05
"""Of the room: for alarms, care and declarations alone."""


def keep_hours(up: Up, used_share: float, keep_sent_hours: float) -> float:
    """Return how long acknowledged rows of a class may stay as history, by how much of the room is used.

    Alarms and events keep their full time however full the disk is.
    """
    limit_hours = GRACE_HOURS if up is Up.WAVES and used_share > TRIM_SHARE else keep_sent_hours
    return min(limit_hours, keep_sent_hours)


def cutoff_ns(now_ns: int, hours: float) -> int:
    """Return the time before which acknowledged rows go."""
    return now_ns - int(hours * HOUR_NS)


def hours_left(room_bytes: int, written_bytes: int, over_s: float) -> float | None:
    """Return how long the room lasts if the measured rate goes on; None where too little was measured."""
    if over_s < 30 or written_bytes <= 0:
        return None
    return max(0, room_bytes) / (written_bytes / over_s) / 3600
