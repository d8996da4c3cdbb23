"""How much of a kind may be sent today, and at which hours (pure; hours and days are those of the site's zone)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from telemed.errors import Code

DAY_MINUTES = 24 * 60
NO_LIMIT_BYTES = 1 << 62


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the day, in minutes after midnight; from is inside, to is not; to at or before from is the next day."""

    from_minute: int
    to_minute: int

    @classmethod
    def parse(cls, text: str) -> "Window":
        """Return the window that a text like "22:00-06:00" or "00:00-24:00" means.

        Raises:
            ValueError: it means none.
        """
        first, _, last = text.partition("-")
        window = cls(_minute(first), _minute(last))
        if window.from_minute == DAY_MINUTES:
            raise ValueError(f"{text!r}: a window cannot begin at 24:00")
        return window

    def on(self, day: date, zone: ZoneInfo) -> tuple[float, float]:
        """Return when the window that begins on this day opens and closes, in seconds since the epoch."""
        wraps = self.to_minute <= self.from_minute
        return _instant_s(day, self.from_minute, zone), _instant_s(
            day + timedelta(days=1) if wraps else day, self.to_minute, zone
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be sent of one kind."""

    bytes_per_day: int | None = None
    """None = as much as there is."""
    windows: tuple[Window, ...] = ()
    """None = at any hour."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be sent now."""

    most_bytes: int
    """0 = nothing."""
    code: str = ""
    """Why nothing: BUDGET_USED or OUTSIDE_HOURS."""
    resume_s: float = 0.0
    """When it goes on by itself, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What asks: how many bytes at least it needs to go on, and whether it may wait."""

    least_bytes: int
    is_urgent: bool = False


def judge(rule: Rule, wish: Wish, used_bytes: int, now_s: float, zone: ZoneInfo) -> Verdict:
    """Return what of a kind may be sent now, given what was sent of it today.

    What is urgent ignores hours and budget, but what it sends is counted: others wait for it.
    """
    if wish.is_urgent:
        return Verdict(NO_LIMIT_BYTES)
    opens_s = next_open_s(rule.windows, now_s, zone)
    if opens_s > now_s:
        return Verdict(0, Code.OUTSIDE_HOURS, opens_s)
    left_bytes = NO_LIMIT_BYTES if rule.bytes_per_day is None else rule.bytes_per_day - used_bytes
    if left_bytes < wish.least_bytes:
        tomorrow_s = _instant_s(day_of(now_s, zone) + timedelta(days=1), 0, zone)
        return Verdict(0, Code.BUDGET_USED, next_open_s(rule.windows, tomorrow_s, zone))
    return Verdict(left_bytes)


def next_open_s(windows: Sequence[Window], from_s: float, zone: ZoneInfo) -> float:
    """Return the first instant from `from_s` on that lies in a window; `from_s` itself where it does."""
    if not windows:
        return from_s
    later = []
    for opens_s, closes_s in _openings(windows, day_of(from_s, zone), zone):
        if opens_s <= from_s < closes_s:
            return from_s
        if opens_s > from_s and closes_s > opens_s:
            later.append(opens_s)
    return min(later)


def day_of(at_s: float, zone: ZoneInfo) -> date:
    """Return the site's date at an instant; a budget begins anew with it."""
    return datetime.fromtimestamp(at_s, zone).date()


def _openings(windows: Sequence[Window], day: date, zone: ZoneInfo) -> Iterator[tuple[float, float]]:
    # From the day before, whose window may reach into this one, to where even a window that falls into the hour
    # that is left out when clocks go forward opens again.
    for ahead in range(-1, 4):
        for window in windows:
            yield window.on(day + timedelta(days=ahead), zone)


def _instant_s(day: date, minute: int, zone: ZoneInfo) -> float:
    if minute == DAY_MINUTES:
        day, minute = day + timedelta(days=1), 0
    return datetime.combine(day, time(minute // 60, minute % 60), zone).timestamp()


def _minute(text: str) -> int:
    hours, colon, minutes = text.strip().partition(":")
    if not (colon and hours.isdecimal() and len(minutes) == 2 and minutes.isdecimal()):
        raise ValueError(f"{text!r} is no time of day (HH:MM)")
    minute = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or minute > DAY_MINUTES:
        raise ValueError(f"{text!r} is no time of day (HH:MM)")
    return minute
