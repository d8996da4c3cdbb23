"""Which rows may go, and whether new ones may still come (pure; reliability 2.5, decision 27)."""

HOUR_NS = 3600 * 10**9
GRACE_HOURS = 24
"""Acknowledged rows are kept this long for a hub that is restored from its backup."""
TRIM_SHARE = 0.70
"""Of the limit: above it history shrinks to the grace copy."""
SHED_GRACE_SHARE = 0.80
"""Of the limit: above it the grace copy goes too."""
REFUSE_SHARE = 0.95
"""Of the limit: above it measurements are refused; the rest is for alarms and events."""
LAST_HOUR = 1


def keep_hours(used_share: float, keep_sent_hours: float) -> float:
    """Return how many hours acknowledged rows may stay, by how much of the disk limit is used."""
    if used_share > SHED_GRACE_SHARE:
        return LAST_HOUR
    if used_share > TRIM_SHARE:
        return min(GRACE_HOURS, keep_sent_hours)
    return keep_sent_hours


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
