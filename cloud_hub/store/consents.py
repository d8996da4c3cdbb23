"""Who agreed to what, as the ordered events made it: one row a person, purpose and grantee.  Plain functions."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, insert, select, update
from telemed.consent import Purpose, grantee_of
from telemed.v1 import event_pb2

from cloud_hub.store.schema import consent as table

Where = tuple[str, str]
"""Region and site."""


def note(connection: Connection, where: Where, event: event_pb2.Event, now_ns: int) -> None:
    """Keep what an event that was taken says; called once for each, in their order."""
    if event.WhichOneof("body") == "consent_given":
        _give(connection, where, event, now_ns)
        return
    body = event.consent_withdrawn
    mine = [table.c.person_id == body.person_id, table.c.purpose == body.purpose]
    grantee = grantee_of(body)
    if grantee:
        mine.append(table.c.grantee == grantee)
    ended = {"is_given": False, "updated_ns": now_ns}
    if connection.execute(update(table).where(*mine).values(ended)).rowcount == 0:
        # A "no" that was never preceded by a "yes" is kept too: it was asked and answered.
        _insert(connection, where, (body.person_id, body.purpose, grantee), {**ended, "until_ns": 0})


def permits(connection: Connection, person_id: str, purpose: Purpose, now_ns: int, grantee: str = "") -> bool:
    """True where a person agrees now; where nothing was ever recorded they do not."""
    mine = (table.c.person_id == person_id, table.c.grantee == grantee)
    query = select(table.c.person_id).where(*mine, *_given(purpose, now_ns))
    return connection.execute(query.limit(1)).first() is not None


def agreeing(connection: Connection, region: str, purpose: Purpose, now_ns: int, grantee: str = "") -> frozenset[str]:
    """Return the persons of a region who agree now."""
    mine = (table.c.region == region, table.c.grantee == grantee)
    return _persons(connection, select(table.c.person_id).where(*mine, *_given(purpose, now_ns)))


def refusing(connection: Connection, region: str, purpose: Purpose) -> frozenset[str]:
    """Return the persons of a region who said no, not those who were never asked."""
    mine = (table.c.region == region, table.c.purpose == purpose.value, table.c.is_given.is_(False))
    return _persons(connection, select(table.c.person_id).where(*mine))


def asked(connection: Connection, region: str, from_id: str, limit: int) -> list[str]:
    """Return the persons of a region who were ever asked about something, by id from one on, at most so many."""
    query = select(table.c.person_id).where(table.c.region == region, table.c.person_id >= from_id).distinct()
    return list(connection.execute(query.order_by(table.c.person_id).limit(limit)).scalars())


def _given(purpose: Purpose, now_ns: int) -> tuple[ColumnElement[bool], ...]:
    lasting = (table.c.until_ns == 0) | (table.c.until_ns > now_ns)
    return table.c.purpose == purpose.value, table.c.is_given.is_(True), lasting


def _persons(connection: Connection, query: Select[Any]) -> frozenset[str]:
    return frozenset(connection.execute(query).scalars())


def _give(connection: Connection, where: Where, event: event_pb2.Event, now_ns: int) -> None:
    body = event.consent_given
    key = (body.person_id, body.purpose, grantee_of(body))
    values = {"is_given": True, "until_ns": body.until_unix_ns, "updated_ns": now_ns}
    mine = (table.c.person_id == key[0], table.c.purpose == key[1], table.c.grantee == key[2])
    if connection.execute(update(table).where(*mine).values(values)).rowcount == 0:
        _insert(connection, where, key, values)


def _insert(connection: Connection, where: Where, key: tuple[str, str, str], values: Mapping[str, object]) -> None:
    named = dict(zip(("region", "site", "person_id", "purpose", "grantee"), (*where, *key), strict=True))
    connection.execute(insert(table).values(**named, **values))
