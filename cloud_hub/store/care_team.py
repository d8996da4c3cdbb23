"""Who is related to whom: care teams, and persons with an open episode or task.  Plain functions on a connection."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, insert, select, update
from telemed.consent import Purpose
from telemed.referral import OPEN
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.store import consents, schema
from cloud_hub.store.accounts import Account, persons_of_caregiver

_OPEN_STATES = sorted(map(str, OPEN))


@dataclass(frozen=True, slots=True)
class Membership:
    """That somebody is in a person's care team."""

    username: str
    added_by: str
    since_ns: int


def join(connection: Connection, where: tuple[str, str], person_id: str, member: Membership) -> bool:
    """Put somebody into a person's care team; False where they are in it already."""
    table = schema.care_team
    mine = (table.c.person_id == person_id, table.c.username == member.username, table.c.to_ns.is_(None))
    if connection.execute(select(table.c.id).where(*mine)).first() is not None:
        return False
    connection.execute(
        insert(table).values(
            region=where[0],
            site=where[1],
            person_id=person_id,
            username=member.username,
            added_by=member.added_by,
            since_ns=member.since_ns,
            to_ns=None,
        )
    )
    return True


def leave(connection: Connection, person_id: str, username: str, now_ns: int) -> bool:
    """Take somebody out of a person's care team; the row stays with its end.  False where they were not in it."""
    table = schema.care_team
    mine = (table.c.person_id == person_id, table.c.username == username, table.c.to_ns.is_(None))
    return connection.execute(update(table).where(*mine).values(to_ns=now_ns)).rowcount > 0


def members(connection: Connection, person_id: str) -> list[Membership]:
    """Return who is in a person's care team now, longest first."""
    table = schema.care_team
    query = select(table).where(table.c.person_id == person_id, table.c.to_ns.is_(None)).order_by(table.c.since_ns)
    return [Membership(row.username, row.added_by, row.since_ns) for row in connection.execute(query)]


def cared_for(connection: Connection, region: str, username: str, sites: Collection[str]) -> frozenset[str]:
    """Return the persons at these sites in whose care team somebody is."""
    table = schema.care_team
    mine = (table.c.region == region, table.c.username == username, table.c.to_ns.is_(None))
    query = select(table.c.person_id).where(*mine, table.c.site.in_(sorted(sites)))
    return frozenset(connection.execute(query).scalars())


def own_persons(connection: Connection, region: str, account: Account, now_ns: int) -> frozenset[str]:
    """Return whom somebody may see who sees only their own: related to them, and with an open episode.

    Family sees a person who agreed to it (clinical 9.4 C5); care workers see whom they look after.
    """
    related = cared_for(connection, region, account.username, account.sites)
    if account.role is Role.CAREGIVER:
        related |= persons_of_caregiver(connection, region, account.username, account.sites)
        related &= consents.agreeing(connection, region, Purpose.FAMILY, now_ns, account.username)
    table = schema.bed_stay
    query = select(table.c.person_id).where(*_lies(region), table.c.person_id.in_(sorted(related)))
    return frozenset(connection.execute(query).scalars()) if related else related


def under_care(connection: Connection, region: str) -> frozenset[str]:
    """Return the persons of a region with an open episode (a stay) or an open task (a referral)."""
    table = schema.referral_head
    query = select(table.c.person_id).where(table.c.region == region, table.c.state.in_(_OPEN_STATES))
    lying = select(schema.bed_stay.c.person_id).where(*_lies(region))
    return frozenset(connection.execute(lying).scalars()) | frozenset(connection.execute(query).scalars())


def is_under_care(connection: Connection, region: str, person_id: str) -> bool:
    """True where one person has an open episode or task; asks for no more than that person's rows."""
    stay, head = schema.bed_stay, schema.referral_head
    lies = select(stay.c.id).where(*_lies(region), stay.c.person_id == person_id)
    mine = (head.c.region == region, head.c.person_id == person_id)
    referred = select(head.c.referral_id).where(*mine, head.c.state.in_(_OPEN_STATES))
    return any(connection.execute(query.limit(1)).first() is not None for query in (lies, referred))


def note_referral(connection: Connection, where: tuple[str, str], event: event_pb2.Event, now_ns: int) -> None:
    """Keep whom a referral is about and how far it is; called for each event of a referral that was taken."""
    table, key = schema.referral_head, event.aggregate_id
    mine = (table.c.region == where[0], table.c.referral_id == key)
    if event.WhichOneof("body") == "referral_moved":
        values = {"state": event.referral_moved.to_state, "updated_ns": now_ns}
        connection.execute(update(table).where(*mine).values(values))
        return
    values = {"person_id": event.referral_submitted.person_id, "state": "SUBMITTED", "updated_ns": now_ns}
    if connection.execute(update(table).where(*mine).values(values)).rowcount == 0:
        connection.execute(insert(table).values(region=where[0], site=where[1], referral_id=key, **values))


def _lies(region: str) -> tuple[ColumnElement[bool], ...]:
    return schema.bed_stay.c.region == region, schema.bed_stay.c.to_ns.is_(None)


def last_referral_ns(connection: Connection, region: str, person_id: str) -> int | None:
    """Return when a referral about a person last moved; None where there never was one."""
    c = schema.referral_head.c
    query = select(func.max(c.updated_ns)).where(c.region == region, c.person_id == person_id)
    found: int | None = connection.execute(query).scalar()
    return found


def referrals_of(connection: Connection, region: str, person_id: str) -> list[tuple[str, str]]:
    """Return site and id of the referrals that are about a person."""
    table = schema.referral_head
    query = select(table.c.site, table.c.referral_id).where(table.c.region == region, table.c.person_id == person_id)
    return [(row.site, row.referral_id) for row in connection.execute(query.order_by(table.c.referral_id))]
