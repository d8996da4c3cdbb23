"""Taking a person out of the care database: their entry, and every word about them in the log.

Plain functions on a connection, in one transaction.  The audit trail stays: it names ids alone, and a chain with
holes proves nothing.  Stays and alarms stay as counts that point at nobody.
"""

from sqlalchemy import ColumnElement, Connection, delete, or_, select, update
from telemed import erasure
from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub.store import schema
from cloud_hub.store.schema import event as log

Where = tuple[str, str]
"""Region and site."""
_NOTHING = dict.fromkeys(
    (
        "family_name",
        "given_name",
        "name_en",
        "birth_date",
        "phone",
        "caregiver",
        "caregiver_calls",
        "allergies",
        "note",
    ),
    "",
)


def erase(connection: Connection, where: Where, person_id: str) -> int:
    """Take a person out; return how many events were emptied.  Harmless twice."""
    person = schema.person
    mine = (person.c.region == where[0], person.c.person_id == person_id)
    connection.execute(update(person).where(*mine).values(**_NOTHING, identifiers="[]"))
    connection.execute(delete(schema.care_team).where(schema.care_team.c.person_id == person_id))
    connection.execute(delete(schema.consent).where(schema.consent.c.person_id == person_id))
    _empty_alarms(connection, where, person_id)
    return _empty_events(connection, where, person_id)


def left_of(connection: Connection, region: str, event: event_pb2.Event) -> event_pb2.Event:
    """Return what may be kept of an event that comes now: of one about a person who was erased, no word."""
    person_id = _person_of(connection, region, event)
    if not person_id or not _is_erased(connection, region, person_id):
        return event
    left = event_pb2.Event()
    left.CopyFrom(event)
    erasure.redact(left)
    return left


def _empty_alarms(connection: Connection, where: Where, person_id: str) -> None:
    """Take what people said, and the values, out of the alarms raised for a person; that there was one stays."""
    head, step = schema.alarm, schema.alarm_step
    own = select(head.c.alarm_id).where(head.c.region == where[0], head.c.person_id == person_id)
    rows = connection.execute(select(step).where(step.c.alarm_id.in_(own))).all()
    for row in rows:
        body = alarm_pb2.AlarmEvent.FromString(row.body)
        for name in ("note", "value", "text_zh", "text_en"):
            body.ClearField(name)
        mine = (step.c.alarm_id == row.alarm_id, step.c.alarm_seq == row.alarm_seq)
        connection.execute(update(step).where(*mine).values(body=body.SerializeToString()))


def _empty_events(connection: Connection, where: Where, person_id: str) -> int:
    head, here = schema.alarm, (log.c.region == where[0], log.c.site == where[1])
    referrals = select(schema.referral_head.c.referral_id).where(schema.referral_head.c.person_id == person_id)
    alarms = select(head.c.alarm_id).where(head.c.region == where[0], head.c.person_id == person_id)
    about = or_(
        log.c.aggregate_id == person_id,
        log.c.aggregate_id.startswith(f"{person_id}/", autoescape=True),
        log.c.aggregate_id.in_(referrals),
        log.c.aggregate_id.in_(alarms),
    )
    found = _events(connection, *here, about)
    found |= _refused_about(_events(connection, *here, log.c.refused.is_(True)), person_id)
    for event_id, event in found.items():
        erasure.redact(event)
        emptied = update(log).where(log.c.event_id == event_id).values(body=event.SerializeToString())
        connection.execute(emptied)
    return len(found)


def _refused_about(refused: dict[str, event_pb2.Event], person_id: str) -> dict[str, event_pb2.Event]:
    """Return those about a person: no referral came of them, so that their bodies alone say whom they are about."""
    own = {event_id: event for event_id, event in refused.items() if erasure.is_about(event, person_id)}
    referrals = {event.aggregate_id for event in own.values() if event.aggregate_type == "referral"}
    steps = {event_id: event for event_id, event in refused.items() if event.aggregate_id in referrals}
    return own | steps


def _events(connection: Connection, *where: ColumnElement[bool]) -> dict[str, event_pb2.Event]:
    rows = connection.execute(select(log.c.event_id, log.c.body).where(*where))
    return {row.event_id: event_pb2.Event.FromString(row.body) for row in rows}


def _is_erased(connection: Connection, region: str, person_id: str) -> bool:
    of_person = (log.c.aggregate_type == "person", log.c.aggregate_id == person_id)
    taken = _events(connection, log.c.region == region, *of_person, log.c.refused.is_(False))
    return any(event.WhichOneof("body") == "person_erased" for event in taken.values())


def _person_of(connection: Connection, region: str, event: event_pb2.Event) -> str:
    """Return whom an event speaks of; empty where it is nobody, or not known."""
    query = None
    match event.WhichOneof("body"):
        case "person_registered":
            return event.aggregate_id
        case "consent_given" | "consent_withdrawn":
            return event.aggregate_id.partition("/")[0]
        case "referral_submitted":
            return event.referral_submitted.person_id
        case "referral_moved":
            c = schema.referral_head.c
            query = select(c.person_id).where(c.region == region, c.referral_id == event.aggregate_id)
        case "alarm_action":
            c = schema.alarm.c
            query = select(c.person_id).where(c.region == region, c.alarm_id == event.aggregate_id)
    return "" if query is None else connection.execute(query).scalar() or ""
