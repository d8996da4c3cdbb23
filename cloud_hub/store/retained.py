"""What is over its time in the two databases, and deleting what may be deleted.  Plain functions on a connection."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select, update
from telemed.wire import Kind

from cloud_hub.store import dialect
from cloud_hub.store.samples import last_arrival
from cloud_hub.store.schema import (
    alarm,
    audit,
    bed_stay,
    dicom_group,
    dicom_study,
    event,
    record,
    referral_head,
    samples_stream,
    trend,
)

CHUNK = 2000
"""Rows deleted in one transaction: the intake waits no longer than for one of its own."""
_WAVES = (int(Kind.WAVEFORM_SET), int(Kind.WAVE_ENVELOPE))
_NUMBERS = (int(Kind.NUMERIC_SET), int(Kind.MINUTE_SET))
Stretch = tuple[int, int]
"""Measured from this instant to before that one, ns."""


def wave_streams(connection: Connection, region: str) -> list[tuple[int, str, str]]:
    """Return id, site and node of the streams that hold waves."""
    c = samples_stream.c
    query = select(c.id, c.site, c.node).where(c.region == region, c.name.like("%/wave%")).order_by(c.id)
    return [(row.id, row.site, row.node) for row in connection.execute(query)]


def count_waves(
    connection: Connection, stream_id: int, stretches: Sequence[Stretch], before_ns: int
) -> tuple[int, int]:
    """Return how many records of waves of these stretches arrived before an instant, and their bytes."""
    n = size = 0
    for stretch in stretches:
        query = select(func.count(), func.coalesce(func.sum(func.length(record.c.payload)), 0))
        found = connection.execute(query.where(*_waves(stream_id, stretch, before_ns))).one()
        n, size = n + int(found[0]), size + int(found[1])
    return n, size


def delete_waves(connection: Connection, stream_id: int, stretch: Stretch, before_ns: int) -> int:
    """Delete at most `CHUNK` waves of a stretch that arrived before an instant; return how many, 0 at the end.

    The newest arrival of all stays whatever it is: SQLite would give its number to the next record, and what
    follows arrivals would pass that one over.
    """
    arrival = dialect.arrival(connection, record)
    oldest = select(arrival).where(*_waves(stream_id, stretch, before_ns), arrival < last_arrival(connection))
    chosen = [row[0] for row in connection.execute(oldest.order_by(arrival).limit(CHUNK))]
    if not chosen:
        return 0
    connection.execute(delete(record).where(record.c.stream_id == stream_id, arrival.in_(chosen)))
    return len(chosen)


def delete_measured(connection: Connection, stream_ids: Sequence[int], stretch: Stretch) -> int:
    """Delete at most `CHUNK` records, of whatever kind, that these streams measured in a stretch; return how many.

    What came under a clock that is not known yet stays: it may be of whoever lay there at another time.  The newest
    arrival of all is emptied instead: its number must not be given out again.
    """
    arrival = dialect.arrival(connection, record)
    c = record.c
    inside = (c.measured_ns >= stretch[0], c.measured_ns < stretch[1])
    where = (c.stream_id.in_(stream_ids), *inside, c.shift_ns.is_not(None))
    newest = last_arrival(connection)
    connection.execute(update(record).where(*where, arrival == newest).values(payload=b"", codec=0))
    chosen = [
        row[0]
        for row in connection.execute(select(arrival).where(*where, arrival < newest).order_by(arrival).limit(CHUNK))
    ]
    if chosen:
        connection.execute(delete(record).where(c.stream_id.in_(stream_ids), arrival.in_(chosen)))
    return len(chosen)


def delete_trends(connection: Connection, stream_ids: Sequence[int], stretch: Stretch) -> None:
    """Delete the minutes of these streams that begin in a stretch."""
    c, minute_ns = trend.c, 60 * 10**9
    inside = (c.minute >= stretch[0] // minute_ns, c.minute < stretch[1] // minute_ns + 1)
    connection.execute(delete(trend).where(c.stream_id.in_(stream_ids), *inside))


def streams_at(
    connection: Connection, site: str, devices: Collection[tuple[str, str]]
) -> dict[tuple[str, str], list[int]]:
    """Return the streams of these devices (node, device) of a site."""
    c, found = samples_stream.c, dict[tuple[str, str], list[int]]()
    for row in connection.execute(select(c.id, c.node, c.device).where(c.site == site)):
        if (row.node, row.device) in devices:
            found.setdefault((row.node, row.device), []).append(row.id)
    return found


def count_numbers(connection: Connection, region: str, before_ns: int) -> int:
    """Return how many records of measurements are older than an instant."""
    here = select(samples_stream.c.id).where(samples_stream.c.region == region)
    is_old = (record.c.measured_ns < before_ns, record.c.shift_ns.is_not(None))
    return _count(connection, record.c.stream_id.in_(here), record.c.kind.in_(_NUMBERS), *is_old)


def alarms_before(connection: Connection, region: str, before_ns: int) -> list[tuple[str, str, int, int]]:
    """Return site, node, begin and last change of the alarms that began before an instant."""
    c = alarm.c
    query = select(c.site, c.node, c.onset_ns, c.updated_ns).where(c.region == region, c.onset_ns < before_ns)
    return [tuple(row) for row in connection.execute(query)]


def count_alarms(connection: Connection, region: str, before_ns: int) -> int:
    """Return how many alarms were last changed before an instant."""
    return _count(connection, alarm.c.region == region, alarm.c.updated_ns < before_ns)


def count_studies(connection: Connection, region: str, before_ns: int) -> int:
    """Return to how many studies nothing was added since an instant."""
    return _count(connection, dicom_study.c.region == region, dicom_study.c.indexed_ns < before_ns)


def count_audit(connection: Connection, region: str, before_ns: int) -> int:
    """Return how many entries of the hub's trail are older than an instant."""
    return _count(connection, audit.c.region == region, audit.c.at_ns < before_ns)


def count_consults(connection: Connection, region: str, before_ns: int) -> int:
    """Return how many steps of consults are older than an instant."""
    c = event.c
    return _count(connection, c.region == region, c.aggregate_type == "consult", c.received_ns < before_ns)


def visitors_before(connection: Connection, region: str, before_ns: int) -> list[str]:
    """Return the persons who were visitors and nothing else, never referred or imaged, and left before an instant."""
    stay, other = bed_stay, bed_stay.alias("other")
    more = and_(other.c.person_id == stay.c.person_id, other.c.region == region)
    stays_on = other.c.to_ns.is_(None) | (other.c.to_ns >= before_ns) | (other.c.episode_class != "VISITOR")
    referred = exists().where(referral_head.c.person_id == stay.c.person_id, referral_head.c.region == region)
    group = dicom_group.c
    imaged = exists().where(group.person_id == stay.c.person_id, group.region == region, group.erased_ns.is_(None))
    is_visitor = (stay.c.region == region, stay.c.episode_class == "VISITOR")
    query = select(stay.c.person_id).where(*is_visitor, ~exists().where(more, stays_on), ~referred, ~imaged)
    return sorted(set(connection.execute(query).scalars()))


def _waves(stream_id: int, stretch: Stretch, before_ns: int) -> tuple[ColumnElement[bool], ...]:
    """Waves of a stretch by a clock that is known; a node may believe a day long past, but not have arrived then."""
    c = record.c
    inside = (c.measured_ns >= stretch[0], c.measured_ns < stretch[1])
    return c.stream_id == stream_id, c.kind.in_(_WAVES), *inside, c.received_ns < before_ns, c.shift_ns.is_not(None)


def _count(connection: Connection, *where: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).where(*where)).scalar_one())
