"""HL7 DTM, pure: `YYYY[MM[DD[HH[MM[SS[.S{1,4}]]]]]][+/-ZZZZ]` to nanoseconds since the epoch and back."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_DTM = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d\d)(?:(?P<day>\d\d)(?:(?P<hour>\d\d)(?:(?P<minute>\d\d)"
    r"(?:(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?)?)?)?)?(?P<zone>[+-]\d{4})?",
    re.ASCII,
)
_RESOLUTION_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
SECOND_NS = 1_000_000_000
LATEST_S = 7_258_118_400
"""2200-01-01: later times are read as this, so that they fit every store; they are far in the future anyway."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stamp:
    """A point in time as a device wrote it."""

    at_ns: int
    resolution_ms: int
    """How coarse it was written; the true time lies within this after `at_ns`."""
    has_zone: bool
    """False: it had no offset and the site's zone was taken."""


def read(text: str, site_zone: tzinfo) -> Stamp | None:
    """Return the time in `text`, None where it is empty, coarser than a day or no time at all."""
    match = _DTM.fullmatch(text.strip())
    if match is None or match["day"] is None:
        return None
    parts = {name: int(match[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")}
    zone = _offset(match["zone"]) if match["zone"] else site_zone
    if zone is None or parts["second"] > 59:
        return None
    fraction = (match["fraction"] or "").ljust(9, "0")
    try:
        moment = datetime(
            parts["year"],
            parts["month"],
            parts["day"],
            parts["hour"],
            parts["minute"],
            parts["second"],
            tzinfo=zone,
        )
        at_s = (moment - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    if at_s < 0:
        return None
    at_ns = min(at_s, LATEST_S) * SECOND_NS + int(fraction)
    return Stamp(at_ns, _resolution_ms(match), match["zone"] is not None)


def write(at_ns: int, zone: tzinfo) -> str:
    """Return `at_ns` as DTM with milliseconds and offset."""
    moment = datetime.fromtimestamp(at_ns // SECOND_NS, zone)
    return f"{moment:%Y%m%d%H%M%S}.{at_ns % SECOND_NS // 1_000_000:03d}{moment:%z}"


def _offset(text: str) -> timezone | None:
    minutes = int(text[1:3]) * 60 + int(text[3:5])
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _resolution_ms(match: re.Match[str]) -> int:
    if match["fraction"]:
        return (100, 10, 1)[min(len(match["fraction"]), 3) - 1]
    written = (ms for name, ms in _RESOLUTION_MS.items() if match[name] is not None)
    return next(written, _RESOLUTION_MS["day"])
