"""Taking a person out of the care database: their entry, and every word about them in the log.

Plain functions on a connection, in one transaction.  The audit trail stays: it names ids alone, and a chain with
holes proves nothing.  Stays and alarms stay as counts that point at nobody.

What comes later is emptied as it comes, where it can be seen whom it is about.  It cannot of a step of a referral that
comes before its submission, of what was said to an alarm that is not here yet, and of what cannot be read.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import ColumnElement, Connection, Select, and_, delete, exists, or_, select, update
from telemed import erasure
from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub.store import schema
from cloud_hub.store.schema import event as log

Where = tuple[str, str]
"""Region and site."""
_NAMELESS = (schema.person.c.identifiers == "[]", schema.person.c.family_name == "")
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


@dataclass(frozen=True, slots=True)
class Traces:
    """What a message is known by to be about one person."""

    person_id: str
    referrals: frozenset[str]
    alarms: frozenset[str]
    events: frozenset[str]
    """Ids of the events of the log that are about them."""

    def has(self, message: Message) -> bool:
        """Return whether an event, or a step of an alarm, is about them."""
        if isinstance(message, alarm_pb2.AlarmEvent):
            return message.person_id == self.person_id or message.alarm_id in self.alarms
        if not isinstance(message, event_pb2.Event):
            return False
        key = message.aggregate_id
        is_step = key in (self.referrals if message.aggregate_type == "referral" else self.alarms)
        return is_step or message.event_id in self.events or erasure.is_about(message, {self.person_id})


def traces(connection: Connection, where: Where, person_id: str) -> Traces:
    """Return what messages about a person are known by, before they are erased or after."""
    found = _about(connection, where, person_id)
    referrals = {event.aggregate_id for _, event in found if event.aggregate_type == "referral"}
    return Traces(
        person_id,
        frozenset(connection.execute(_referrals(person_id)).scalars()) | referrals,
        frozenset(connection.execute(_alarms(where, person_id)).scalars()),
        frozenset(event.event_id for _, event in found),
    )


def numbers_about(connection: Connection, where: Where, person_id: str) -> list[int]:
    """Return the numbers, in the site's log, of the events that an erasure of a person empties."""
    return sorted(number for number, _ in _about(connection, where, person_id))


def erase(connection: Connection, where: Where, person_id: str, numbers: Collection[int] = ()) -> int:
    """Take a person out; return how many events were emptied.  Harmless twice.

    Args:
        connection: the care store, in a transaction.
        where: region and site.
        person_id: who.
        numbers: what `numbers_about` returned in this transaction; none: they are searched for.
    """
    person = schema.person
    mine = (person.c.region == where[0], person.c.person_id == person_id)
    connection.execute(update(person).where(*mine).values(**_NOTHING, identifiers="[]"))
    connection.execute(delete(schema.care_team).where(schema.care_team.c.person_id == person_id))
    connection.execute(delete(schema.consent).where(schema.consent.c.person_id == person_id))
    opened = schema.break_glass
    mine = (opened.c.region == where[0], opened.c.person_id == person_id)
    connection.execute(update(opened).where(*mine).values(text="", review_text=""))
    _empty_alarms(connection, where, person_id)
    return _empty_events(connection, where, numbers or numbers_about(connection, where, person_id))


def left_of(connection: Connection, where: Where, event: event_pb2.Event) -> event_pb2.Event:
    """Return what may be kept of an event that comes now: of one about a person who was erased, no word."""
    if not is_any_erased(connection, where[0], _persons_of(connection, where, event)):
        return event
    left = event_pb2.Event()
    left.CopyFrom(event)
    erasure.redact(left)
    return left


def left_of_step(connection: Connection, where: Where, step: alarm_pb2.AlarmEvent) -> alarm_pb2.AlarmEvent:
    """Return what may be kept of a step of an alarm that comes now; one for nobody is about who lay there."""
    at_ns = step.onset_unix_ns
    persons = {step.person_id} if step.person_id else _lay_at(connection, where, step.bed, at_ns)
    if not is_any_erased(connection, where[0], persons):
        return step
    left = alarm_pb2.AlarmEvent()
    left.CopyFrom(step)
    erasure.redact_alarm(left)
    return left


def nameless(connection: Connection, person_ids: Collection[str]) -> frozenset[str]:
    """Return those of some persons who have no name: nobody else was erased, and they are few."""
    c = schema.person.c
    query = select(c.person_id).where(c.person_id.in_(sorted(person_ids)), *_NAMELESS)
    return frozenset(connection.execute(query).scalars()) if person_ids else frozenset()


def nameless_beds(connection: Connection, where: Where, beds: Collection[str], since_ns: int) -> frozenset[str]:
    """Return those of some beds of a site where somebody without a name lay since a time."""
    stay, person = schema.bed_stay.c, schema.person.c
    query = select(stay.bed).join(schema.person, person.person_id == stay.person_id)
    here = (stay.region == where[0], stay.site == where[1], stay.bed.in_(sorted(beds)))
    since = stay.to_ns.is_(None) | (stay.to_ns >= since_ns)
    return frozenset(connection.execute(query.where(*here, since, *_NAMELESS)).scalars()) if beds else frozenset()


def _empty_alarms(connection: Connection, where: Where, person_id: str) -> None:
    step = schema.alarm_step
    rows = connection.execute(select(step).where(step.c.alarm_id.in_(_alarms(where, person_id)))).all()
    for row in rows:
        body = alarm_pb2.AlarmEvent.FromString(row.body)
        erasure.redact_alarm(body)
        mine = (step.c.alarm_id == row.alarm_id, step.c.alarm_seq == row.alarm_seq)
        connection.execute(update(step).where(*mine).values(body=body.SerializeToString()))


def _empty_events(connection: Connection, where: Where, numbers: Collection[int]) -> int:
    for number in numbers:
        mine = (log.c.region == where[0], log.c.site == where[1], log.c.site_seq == number)
        for _, event in _events(connection, *mine):
            erasure.redact(event)
            connection.execute(update(log).where(*mine).values(body=event.SerializeToString()))
    return len(numbers)


def _referrals(person_id: str) -> Select[Any]:
    return select(schema.referral_head.c.referral_id).where(schema.referral_head.c.person_id == person_id)


def _alarms(where: Where, person_id: str) -> Select[Any]:
    """Choose the alarms raised for a person, and those for nobody at their bed while they lay there."""
    head, stay = schema.alarm.c, schema.bed_stay.c
    lay_there = and_(
        stay.person_id == person_id,
        stay.site == head.site,
        stay.bed == head.bed,
        stay.from_ns <= head.onset_ns,
        stay.to_ns.is_(None) | (stay.to_ns >= head.onset_ns),
    )
    of_nobody = and_(head.person_id == "", exists().where(lay_there))
    return select(head.alarm_id).where(head.region == where[0], or_(head.person_id == person_id, of_nobody))


def _about(connection: Connection, where: Where, person_id: str) -> list[tuple[int, event_pb2.Event]]:
    """Return number and event of what a site's log says about a person."""
    here = (log.c.region == where[0], log.c.site == where[1])
    about = or_(
        log.c.aggregate_id == person_id,
        log.c.aggregate_id.startswith(f"{person_id}/", autoescape=True),
        log.c.aggregate_id.in_(_referrals(person_id)),
        log.c.aggregate_id.in_(_alarms(where, person_id)),
    )
    found = dict(_events(connection, *here, about))
    found |= _refused_about(_events(connection, *here, log.c.refused.is_(True)), person_id)
    return list(found.items())


def _refused_about(refused: Iterable[tuple[int, event_pb2.Event]], person_id: str) -> dict[int, event_pb2.Event]:
    """Return those about a person: no referral came of them, so that their bodies alone say whom they are about."""
    rows = list(refused)
    own = [event for _, event in rows if erasure.is_about(event, {person_id})]
    referrals = {event.aggregate_id for event in own if event.aggregate_type == "referral"}
    return {
        number: event
        for number, event in rows
        if event.aggregate_id in referrals or erasure.is_about(event, {person_id})
    }


def _events(connection: Connection, *where: ColumnElement[bool]) -> list[tuple[int, event_pb2.Event]]:
    rows = connection.execute(select(log.c.site_seq, log.c.body).where(*where))
    return [(row.site_seq, event_pb2.Event.FromString(row.body)) for row in rows]


def is_any_erased(connection: Connection, region: str, person_ids: Collection[str]) -> bool:
    """True where somebody of them was erased."""
    # Nearly everybody has a name: their events need not be read for each thing that comes about them.
    found = nameless(connection, set(person_ids) - {""})
    if not found:
        return False
    of_persons = (log.c.aggregate_type == "person", log.c.aggregate_id.in_(sorted(found)))
    taken = _events(connection, log.c.region == region, *of_persons, log.c.refused.is_(False))
    return any(event.WhichOneof("body") == "person_erased" for _, event in taken)


def _persons_of(connection: Connection, where: Where, event: event_pb2.Event) -> Collection[str]:
    """Return whom an event may speak of; nobody where it is nobody, or not known."""
    match event.WhichOneof("body"):
        case "person_registered":
            return {event.aggregate_id}
        case "consent_given" | "consent_withdrawn":
            return {event.aggregate_id.partition("/")[0]}
        case "referral_submitted":
            return {event.referral_submitted.person_id}
        case "referral_moved":
            return _referred(connection, where, event.aggregate_id)
        case "alarm_action":
            return _alarmed(connection, where[0], event.aggregate_id)
    return ()


def _referred(connection: Connection, where: Where, referral_id: str) -> Collection[str]:
    """Return whom a referral is about: its head says so, or, where all of it was refused, its submissions."""
    c = schema.referral_head.c
    person_id = connection.execute(
        select(c.person_id).where(c.region == where[0], c.referral_id == referral_id)
    ).scalar()
    if person_id is not None:
        return {person_id}
    here = (log.c.region == where[0], log.c.site == where[1])
    found = _events(connection, *here, log.c.aggregate_type == "referral", log.c.aggregate_id == referral_id)
    return {event.referral_submitted.person_id for _, event in found}


def _alarmed(connection: Connection, region: str, alarm_id: str) -> Collection[str]:
    """Return for whom an alarm was raised; where it was for nobody, who lay there."""
    c = schema.alarm.c
    query = select(c.site, c.person_id, c.bed, c.onset_ns).where(c.region == region, c.alarm_id == alarm_id)
    head = connection.execute(query).first()
    if head is None or head.person_id:
        return {head.person_id} if head is not None else ()
    return _lay_at(connection, (region, head.site), head.bed, head.onset_ns)


def _lay_at(connection: Connection, where: Where, bed: str, at_ns: int) -> Collection[str]:
    c = schema.bed_stay.c
    here = (c.region == where[0], c.site == where[1], c.bed == bed)
    then = (c.from_ns <= at_ns, c.to_ns.is_(None) | (c.to_ns >= at_ns))
    return set(connection.execute(select(c.person_id).where(*here, *then)).scalars())
