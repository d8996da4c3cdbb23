"""Reads the trends of a bed out of the two stores; late data has long joined its minute."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection
from telemed import screen
from telemed.measures import MEASURES

from cloud_hub.care.places import Place
from cloud_hub.desk.silence import CONDITION
from cloud_hub.store import alarms, persons, samples, shed, trends
from cloud_hub.store.schema import samples_shed
from cloud_hub.store.trends import TrendRow

NS_PER_MINUTE = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, in ns, and its step in seconds."""

    from_ns: int
    to_ns: int
    step_s: int


def read_gaps(
    connection: Connection, region: str, site: str, bed: str, window: Window
) -> tuple[list[Place], list[tuple[int, int]]]:
    """Return the devices that stood at the bed in the window, and the times without contact to its site (ms)."""
    places = [
        place
        for place in persons.places(connection, region, [site], since_ns=window.from_ns)
        if place.bed == bed and place.from_ns < window.to_ns
    ]
    gaps = []
    for alarm in alarms.of_condition(connection, site, CONDITION, window.from_ns):
        end_ns = window.to_ns if alarm.is_active else alarm.steps[-1].at_unix_ns
        begin_ns = max(alarm.first.onset_unix_ns, window.from_ns)
        if begin_ns < end_ns:
            gaps.append((begin_ns // 10**6, min(end_ns, window.to_ns) // 10**6))
    return places, gaps


def read_trends(connection: Connection, site: str, places: list[Place], window: Window) -> list[screen.Trend]:
    """Return the trends of the devices at these places, each only while it stood there."""
    by_device = {(place.node, place.device): place for place in places}
    if not by_device:
        return []
    streams = {
        stream.id: by_device[stream.address.node, stream.device]
        for stream in samples.streams_of(connection, site, [place.device for place in places])
        if (stream.address.node, stream.device) in by_device and stream.kind in ("numeric", "minute")
    }
    rows = trends.trend_rows(
        connection, list(streams), window.from_ns // NS_PER_MINUTE, window.to_ns // NS_PER_MINUTE + 1
    )
    kept = [row for row in rows if row.last_ns >= max(streams[row.stream_id].from_ns, window.from_ns)]
    return [_trend(measure, kept, window.step_s) for measure in MEASURES if any(row.measure == measure for row in kept)]


def read_given_up(connection: Connection, site: str, places: list[Place], window: Window) -> list[screen.GivenUp]:
    """Return the stretches of which the nodes of these devices gave values up because their disk was full.

    Stretches of one kind that follow each other within a minute are one.
    """
    found: list[screen.GivenUp] = []
    for place in places:
        streams = [
            stream.id
            for stream in samples.streams_of(connection, site, [place.device])
            if stream.address.node == place.node and stream.kind == "numeric"
        ]
        from_ns, to_ns = max(place.from_ns, window.from_ns), min(place.to_ns or window.to_ns, window.to_ns)
        for first_ns, last_ns, has_minutes in shed.given_up(connection, samples_shed, streams, from_ns, to_ns):
            begin_ms, end_ms = max(first_ns, from_ns) // 10**6, min(last_ns, to_ns) // 10**6
            found.append(screen.GivenUp(from_ms=begin_ms, to_ms=end_ms, has_minutes=has_minutes))
    return _joined(found)


def _joined(stretches: list[screen.GivenUp]) -> list[screen.GivenUp]:
    joined: list[screen.GivenUp] = []
    for each in sorted(stretches, key=lambda one: (one.has_minutes, one.from_ms)):
        last = joined[-1] if joined and joined[-1].has_minutes == each.has_minutes else None
        if last is not None and each.from_ms <= last.to_ms + NS_PER_MINUTE // 10**6:
            joined[-1] = last.model_copy(update={"to_ms": max(last.to_ms, each.to_ms)})
        else:
            joined.append(each)
    return sorted(joined, key=lambda one: one.from_ms)


def _trend(measure: str, rows: Iterable[TrendRow], step_s: int) -> screen.Trend:
    step_min = step_s // 60
    steps: dict[int, list[TrendRow]] = {}
    for row in rows:
        if row.measure == measure:
            steps.setdefault(row.minute // step_min * step_min, []).append(row)
    points = [
        screen.TrendPoint(
            at_ms=minute * 60_000,
            low=min(float(row.low) for row in found),
            high=max(float(row.high) for row in found),
            last=float(max(found, key=lambda row: row.last_ns).last),
        )
        for minute, found in sorted(steps.items())
    ]
    return screen.Trend(measure=measure, unit=MEASURES[measure].unit, step_s=step_s, points=points)
