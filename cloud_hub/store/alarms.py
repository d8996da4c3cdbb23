"""Alarms: each step as received, and a head per alarm folded from its steps in the same transaction."""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, insert, or_, select, update
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub.care import alarms
from cloud_hub.care.alarms import Alarm
from cloud_hub.store import schema
from cloud_hub.store.schema import alarm as head
from cloud_hub.store.schema import alarm_step as step

_CHANGING_NOTHING = frozenset({alarm_pb2.PHASE_UPDATE, alarm_pb2.PHASE_SEEN, alarm_pb2.PHASE_ACCEPTED})
"""Steps that leave the head's flags as they are: an alarm that stands for hours has thousands of updates, and folding
them all for each one would cost more than everything else."""

# Built once: a thousand sites that come back together bring thousands of steps, and to build these for each costs more
# than to run them (1.1 to 1.5 ms a step, 0.3 to 0.4 so).
_HEAD = select(head).where(head.c.alarm_id == bindparam("alarm_id"))
_PHASE = select(step.c.phase).where(
    step.c.alarm_id == bindparam("alarm_id"), step.c.alarm_seq == bindparam("alarm_seq")
)
_STEPS = (
    select(step.c.body, step.c.received_ns).where(step.c.alarm_id == bindparam("alarm_id")).order_by(step.c.alarm_seq)
)
_ASKED = (
    select(schema.event.c.body)
    .where(
        schema.event.c.site == bindparam("site"),
        schema.event.c.aggregate_type == "alarm",
        schema.event.c.aggregate_id == bindparam("alarm_id"),
        schema.event.c.refused.is_(False),
    )
    .order_by(schema.event.c.site_seq)
)
_OF_CONDITION = (
    select(head)
    .where(
        head.c.site == bindparam("site"),
        head.c.condition == bindparam("condition"),
        or_(head.c.is_active, head.c.updated_ns >= bindparam("since_ns")),
    )
    .order_by(head.c.onset_ns)
)
_ADD_STEP, _ADD_HEAD = insert(step), insert(head)
_CHANGE_HEAD = update(head).where(head.c.alarm_id == bindparam("of_alarm"))


def take_step(connection: Connection, address: NodeAddress, event: alarm_pb2.AlarmEvent, received_ns: int) -> bool:
    """Keep one step and fold the head anew; False where the step was known already (alarm_id, alarm_seq).

    A step of an alarm that another node owns is refused: nothing is kept, and False is returned.
    """
    owner = connection.execute(_HEAD, {"alarm_id": event.alarm_id}).first()
    if owner is not None and (owner.site, owner.node) != (address.site, address.node):
        return False
    key = {"alarm_id": event.alarm_id, "alarm_seq": event.alarm_seq}
    if connection.execute(_PHASE, key).first() is not None:
        return False
    body = event.SerializeToString()
    values = {"phase": event.phase, "at_ns": event.at_unix_ns, "received_ns": received_ns, "body": body}
    connection.execute(_ADD_STEP, key | values)
    if owner is not None and event.alarm_seq == owner.last_seq + 1 and event.phase in _CHANGING_NOTHING:
        _touch_head(connection, event, received_ns)
        return True
    folded = alarms.fold((address.region, address.site, address.node), _steps(connection, event.alarm_id))
    _save_head(connection, folded, received_ns, is_new=owner is None)
    return True


def alarm_of(connection: Connection, region: str, alarm_id: str) -> Alarm | None:
    """Return an alarm of this region with all its steps and what was asked at the hub; the caller checks the site."""
    row = connection.execute(select(head).where(head.c.region == region, head.c.alarm_id == alarm_id)).first()
    return _alarm(connection, row) if row else None


def recent(
    connection: Connection, region: str, sites: Collection[str] | None, since_ns: int, limit: int
) -> list[Alarm]:
    """Return the alarms that stand or moved since then, at most `limit`; those that stand first, then the newest.

    However many ended today, none that stands or is latched is left out for them.
    """
    stands = or_(head.c.is_active, head.c.is_latched)
    query = select(head).where(head.c.region == region, or_(stands, head.c.updated_ns >= since_ns))
    if sites is not None:
        query = query.where(head.c.site.in_(sorted(sites)))
    first_standing = case((stands, 0), else_=1)
    rows = connection.execute(query.order_by(first_standing, head.c.updated_ns.desc()).limit(limit)).all()
    return [_alarm(connection, row) for row in rows]


def of_person(connection: Connection, region: str, person_id: str, after: str, limit: int) -> list[Alarm]:
    """Return at most `limit` alarms that were raised for a person, with an id over `after`, by id."""
    mine = (head.c.region == region, head.c.person_id == person_id, head.c.alarm_id > after)
    rows = connection.execute(select(head).where(*mine).order_by(head.c.alarm_id).limit(limit)).all()
    return [_alarm(connection, row) for row in rows]


def of_condition(connection: Connection, site: str, condition: str, since_ns: int) -> list[Alarm]:
    """Return the alarms of one condition at a site that stand or moved since then, oldest first."""
    rows = connection.execute(_OF_CONDITION, {"site": site, "condition": condition, "since_ns": since_ns}).all()
    return [_alarm(connection, row) for row in rows]


def steps_of(connection: Connection, alarm_id: str) -> list[alarm_pb2.AlarmEvent]:
    """Return the steps of an alarm, in order."""
    return [event for event, _received_ns in _steps(connection, alarm_id)]


def fold_anew(connection: Connection, alarm_id: str, now_ns: int) -> None:
    """Make the head of an alarm anew, after its steps were corrected."""
    owner = connection.execute(_HEAD, {"alarm_id": alarm_id}).one()
    folded = alarms.fold((owner.region, owner.site, owner.node), _steps(connection, alarm_id))
    _save_head(connection, folded, now_ns, is_new=False)


def _alarm(connection: Connection, row: Row[Any]) -> Alarm:
    folded = alarms.fold((row.region, row.site, row.node), _steps(connection, row.alarm_id))
    return alarms.with_asked(folded, (alarms.asked_by(event) for event in _asked(connection, row.site, row.alarm_id)))


def _steps(connection: Connection, alarm_id: str) -> list[tuple[alarm_pb2.AlarmEvent, int]]:
    rows = connection.execute(_STEPS, {"alarm_id": alarm_id})
    return [(alarm_pb2.AlarmEvent.FromString(row.body), row.received_ns) for row in rows]


def _asked(connection: Connection, site: str, alarm_id: str) -> Iterable[event_pb2.Event]:
    bodies = connection.execute(_ASKED, {"site": site, "alarm_id": alarm_id}).scalars()
    return [event_pb2.Event.FromString(body) for body in bodies]


def _touch_head(connection: Connection, event: alarm_pb2.AlarmEvent, received_ns: int) -> None:
    values = {"priority": event.priority, "last_seq": event.alarm_seq, "updated_ns": received_ns}
    connection.execute(_CHANGE_HEAD, {"of_alarm": event.alarm_id} | values)


def _save_head(connection: Connection, alarm: Alarm, received_ns: int, *, is_new: bool) -> None:
    first, newest = alarm.first, alarm.newest
    values = {
        "bed": first.bed[:20],
        "device": first.device[:40],
        "person_id": first.person_id[:36],
        "condition": first.condition[:40],
        "technical": first.technical,
        "priority": newest.priority,
        "onset_ns": first.onset_unix_ns,
        "is_active": alarm.is_active,
        "is_latched": alarm.is_latched,
        "is_resolved": alarm.is_resolved,
        "last_seq": alarm.steps[-1].alarm_seq,
        "updated_ns": received_ns,
    }
    if is_new:
        key = {"alarm_id": alarm.alarm_id, "region": alarm.region, "site": alarm.site, "node": alarm.node}
        connection.execute(_ADD_HEAD, key | values)
    else:
        connection.execute(_CHANGE_HEAD, {"of_alarm": alarm.alarm_id} | values)
