"""Taking a person out of the care database: their entry, and every word about them in the log.

Plain functions on a connection, in one transaction.  The audit trail stays: it names ids alone, and a chain with
holes proves nothing.  Stays and alarms stay as counts that point at nobody.
"""

from sqlalchemy import Connection, delete, or_, select, update
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
    referrals = select(schema.referral_head.c.referral_id).where(schema.referral_head.c.person_id == person_id)
    about = or_(
        log.c.aggregate_id == person_id,
        log.c.aggregate_id.startswith(f"{person_id}/", autoescape=True),
        log.c.aggregate_id.in_(referrals),
    )
    here = (log.c.region == where[0], log.c.site == where[1])
    rows = connection.execute(select(log.c.event_id, log.c.body).where(*here, about)).all()
    for row in rows:
        event = event_pb2.Event.FromString(row.body)
        erasure.redact(event)
        emptied = update(log).where(log.c.event_id == row.event_id).values(body=event.SerializeToString())
        connection.execute(emptied)
    return len(rows)
