"""Which rows may go, and whether new ones may still come (pure; reliability 2.5, decision 27)."""

from telemed.topics import Up

HOUR_NS = 3600 * 10**9
GRACE_HOURS = 24
"""Acknowledged rows are kept this long for a hub that is restored from its backup."""
TRIM_SHARE = 0.70
"""Of the limit: above it the history of waves shrinks to the grace copy."""
SHED_SHARE = 0.80
"""Of the limit: above it acknowledged waves go after an hour and numerics keep the grace copy alone."""
NEARLY_FULL_SHARE = 0.85
"""Of the limit: above it people are told, since shedding what may go did not help."""
REFUSE_SHARE = 0.95
"""Of the limit: above it measurements are refused; the rest is for alarms and events."""


def keep_hours(up: Up, used_share: float, keep_sent_hours: float) -> float:
    """Return how long acknowledged rows of a class may stay, by how much of the disk limit is used.

    Waves go first; alarms and events keep their full time however full the disk is.
    """
    limit_hours = keep_sent_hours
    if up is Up.WAVES and used_share > TRIM_SHARE:
        limit_hours = 1 if used_share > SHED_SHARE else GRACE_HOURS
    if up is Up.VITALS and used_share > SHED_SHARE:
        limit_hours = GRACE_HOURS
    return min(limit_hours, keep_sent_hours)


def cutoff_ns(now_ns: int, hours: float) -> int:
    """Return the time before which acknowledged rows go."""
    return now_ns - int(hours * HOUR_NS)


def takes_measurements(used_share: float) -> bool:
    """Whether measurements are still taken; alarms and events always are."""
    return used_share < REFUSE_SHARE


def hours_left(room_bytes: int, written_bytes: int, over_s: float) -> float | None:
    """Return how long the room lasts if the measured rate goes on; None where too little was measured."""
    if over_s < 30 or written_bytes <= 0:
        return None
    return max(0, room_bytes) / (written_bytes / over_s) / 3600
