"""Persons, beds, devices and nodes as the ordered events made them; every read demands a region and sites."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, insert, or_, select, update
from telemed.v1 import event_pb2

from cloud_hub.care.places import Place, Stay
from cloud_hub.store import schema

Where = tuple[str, str]
"""Region and site."""
_AT_ONCE = 500
"""Persons named in one statement."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person known at a site."""

    person_id: str
    region: str
    site: str
    family_name: str
    given_name: str
    name_en: str
    gender: str
    birth_date: str
    identifiers: tuple[tuple[str, str], ...]
    """Assigning authority and value."""
    phone: str
    caregiver: str
    caregiver_calls: str
    allergies: str
    note: str
    updated_ns: int


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a node."""

    region: str
    site: str
    node: str
    device: str
    eui64: str
    model: str
    family: str
    has_camera: bool
    updated_ns: int


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it described itself."""

    region: str
    site: str
    node: str
    name_zh: str
    name_en: str
    phone: str
    is_home: bool
    beds: tuple[tuple[str, str], ...]
    """Bed code and label, in the order of the wall."""
    limits: dict[str, tuple[str, str]]
    """Low and high alarm limit by measure; empty text where there is none."""
    last_arrival_ns: int


def save_person(
    connection: Connection, where: Where, person_id: str, body: event_pb2.PersonRegistered, now_ns: int
) -> None:
    """Insert or replace what is known of a person; never moves a person to another site."""
    identifiers = [{"system": one.system, "value": one.value} for one in body.identifiers]
    values = {
        "family_name": body.family_name[:80],
        "given_name": body.given_name[:80],
        "name_en": body.name_en[:160],
        "gender": body.gender or "unknown",
        "birth_date": body.birth_date[:10],
        "identifiers": json.dumps(identifiers, ensure_ascii=False),
        "phone": body.phone[:40],
        "caregiver": body.caregiver[:64],
        "caregiver_calls": body.caregiver_calls[:40],
        "allergies": body.allergies,
        "note": body.note,
        "updated_ns": now_ns,
    }
    key = {"person_id": person_id, "region": where[0], "site": where[1]}
    _upsert(connection, schema.person, key, values)


def assign_bed(
    connection: Connection, where: Where, bed: str, body: event_pb2.BedAssigned, event_id: str, at_ns: int = 0
) -> None:
    """Begin a stay; whoever lay in the bed, and the bed where this person lay, end at the same instant.

    Dated back to before the stay that it ends had begun, it begins at `at_ns`, when it was done: what was measured
    of the one who lies there is not given to another.
    """
    table, from_ns = schema.bed_stay, body.from_unix_ns or at_ns
    mine = (table.c.region == where[0], table.c.site == where[1], table.c.to_ns.is_(None))
    ended = or_(table.c.bed == bed, table.c.person_id == body.person_id)
    began_ns = connection.execute(select(func.max(table.c.from_ns)).where(*mine, ended)).scalar()
    if began_ns is not None and from_ns <= began_ns:
        from_ns = max(at_ns, began_ns)
    for clause in (table.c.bed == bed, table.c.person_id == body.person_id):
        _end(connection, table, where, clause, from_ns)
    connection.execute(
        insert(table).values(
            region=where[0],
            site=where[1],
            bed=bed,
            person_id=body.person_id,
            from_ns=from_ns,
            to_ns=None,
            episode_class=body.episode_class or "CHRONIC",
            event_id=event_id,
        )
    )


def vacate_bed(connection: Connection, where: Where, bed: str, at_ns: int) -> None:
    """End the stay in this bed; harmless where nobody lies there."""
    _end(connection, schema.bed_stay, where, schema.bed_stay.c.bed == bed, at_ns)


def place_device(connection: Connection, where: Where, device: str, body: event_pb2.DevicePlaced, at_ns: int) -> None:
    """Note what a device is, and where it stands from now on."""
    key = {"region": where[0], "site": where[1], "node": body.node, "device": device}
    values = {
        "eui64": body.eui64[:16],
        "model": body.model[:120],
        "family": body.family[:40],
        "has_camera": body.has_camera,
        "updated_ns": at_ns,
    }
    _upsert(connection, schema.device, key, values)
    table = schema.device_place
    mine = (table.c.node == body.node) & (table.c.device == device)
    present = connection.execute(
        select(table.c.bed).where(table.c.region == where[0], table.c.site == where[1], mine, table.c.to_ns.is_(None))
    ).scalar()
    if present == body.bed:
        return
    _end(connection, table, where, mine, at_ns)
    if body.bed:
        connection.execute(insert(table).values(**key, bed=body.bed, from_ns=at_ns, to_ns=None))


def describe_node(connection: Connection, where: Where, node: str, body: event_pb2.NodeDescribed) -> None:
    """Insert or replace what the hub must know to draw a site."""
    beds = [{"bed": one.bed, "label": one.label} for one in body.beds]
    values = {
        "name_zh": body.name_zh[:80],
        "name_en": body.name_en[:80],
        "phone": body.phone[:40],
        "is_home": body.home,
        "beds": json.dumps(beds, ensure_ascii=False),
        "limits": json.dumps([{"measure": one.measure, "low": one.low, "high": one.high} for one in body.limits]),
    }
    _upsert(connection, schema.node, {"region": where[0], "site": where[1], "node": node}, values)


def note_arrivals(connection: Connection, arrivals: dict[tuple[str, str, str], int]) -> None:
    """Keep when each node (region, site, node) was last heard: a restarted hub then knows since when it is silent."""
    table = schema.node
    for (region, site, name), at_ns in arrivals.items():
        mine = (table.c.region == region) & (table.c.site == site) & (table.c.node == name)
        connection.execute(update(table).where(mine).values(last_arrival_ns=at_ns))


def person(connection: Connection, region: str, person_id: str) -> Person | None:
    """Return a person of this region; the caller checks the site."""
    table = schema.person
    query = select(table).where(table.c.region == region, table.c.person_id == person_id)
    row = connection.execute(query).first()
    return _person(row) if row else None


def persons_named(connection: Connection, region: str, person_ids: Collection[str]) -> dict[str, Person]:
    """Return those of these persons that this region knows, by id; the caller checks the sites."""
    table, found, wanted = schema.person, dict[str, Person](), sorted(person_ids)
    for first in range(0, len(wanted), _AT_ONCE):
        is_one = table.c.person_id.in_(wanted[first : first + _AT_ONCE])
        query = select(table).where(table.c.region == region, is_one)
        found |= {row.person_id: _person(row) for row in connection.execute(query)}
    return found


def persons_after(
    connection: Connection, region: str, sites: Collection[str] | None, after: str, limit: int, identifier: str = ""
) -> list[Person]:
    """Return at most `limit` persons with an id over `after`, by id; of this identifier alone if one is named."""
    table = schema.person
    query = select(table).where(*_within(table, region, sites), table.c.person_id > after)
    if identifier:
        query = query.where(table.c.identifiers.contains(json.dumps(identifier, ensure_ascii=False), autoescape=True))
    return [_person(row) for row in connection.execute(query.order_by(table.c.person_id).limit(limit))]


def stays(connection: Connection, region: str, sites: Collection[str] | None, *, since_ns: int = 0) -> list[Stay]:
    """Return the stays that had not ended at `since_ns`, oldest first."""
    to_ns = schema.bed_stay.c.to_ns
    return _stays(connection, *_within(schema.bed_stay, region, sites), to_ns.is_(None) | (to_ns > since_ns))


def open_stays(connection: Connection, region: str, sites: Collection[str] | None) -> list[Stay]:
    """Return the stays that last, oldest first; those that have ended are not gone through for it."""
    return _stays(connection, *_within(schema.bed_stay, region, sites), schema.bed_stay.c.to_ns.is_(None))


def _stays(connection: Connection, *where: ColumnElement[bool]) -> list[Stay]:
    table = schema.bed_stay
    query = select(table).where(*where).order_by(table.c.from_ns, table.c.id)
    return [
        Stay(row.site, row.bed, row.person_id, row.from_ns, row.to_ns, row.episode_class)
        for row in connection.execute(query)
    ]


def places(connection: Connection, region: str, sites: Collection[str] | None, *, since_ns: int = 0) -> list[Place]:
    """Return where devices stood, those places that had not ended at `since_ns`, oldest first."""
    table = schema.device_place
    lasting = table.c.to_ns.is_(None) | (table.c.to_ns > since_ns)
    query = select(table).where(*_within(table, region, sites), lasting).order_by(table.c.from_ns, table.c.id)
    return [Place(row.site, row.node, row.device, row.bed, row.from_ns, row.to_ns) for row in connection.execute(query)]


def devices(connection: Connection, region: str, sites: Collection[str] | None) -> list[Device]:
    """Return the devices of these sites (None = all of the region)."""
    table = schema.device
    query = select(table).where(*_within(table, region, sites)).order_by(table.c.site, table.c.node, table.c.device)
    return [
        Device(
            row.region,
            row.site,
            row.node,
            row.device,
            row.eui64,
            row.model,
            row.family,
            row.has_camera,
            row.updated_ns,
        )
        for row in connection.execute(query)
    ]


def nodes(connection: Connection, region: str, sites: Collection[str] | None) -> list[Node]:
    """Return the nodes of these sites (None = all of the region)."""
    table = schema.node
    query = select(table).where(*_within(table, region, sites)).order_by(table.c.site, table.c.node)
    return [_node(row) for row in connection.execute(query)]


def _within(table: Table, region: str, sites: Collection[str] | None) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = [table.c.region == region]
    if sites is not None:
        clauses.append(table.c.site.in_(sorted(sites)))
    return clauses


def _end(connection: Connection, table: Table, where: Where, clause: ColumnElement[bool], at_ns: int) -> None:
    mine = (table.c.region == where[0]) & (table.c.site == where[1]) & table.c.to_ns.is_(None) & clause
    connection.execute(update(table).where(mine).values(to_ns=at_ns))


def _upsert(connection: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    mine = [table.c[name] == value for name, value in key.items()]
    if connection.execute(update(table).where(*mine).values(values)).rowcount == 0:
        connection.execute(insert(table).values(**key, **values))


def _person(row: Row[Any]) -> Person:
    return Person(
        person_id=row.person_id,
        region=row.region,
        site=row.site,
        family_name=row.family_name,
        given_name=row.given_name,
        name_en=row.name_en,
        gender=row.gender,
        birth_date=row.birth_date,
        identifiers=tuple((one["system"], one["value"]) for one in json.loads(row.identifiers)),
        phone=row.phone,
        caregiver=row.caregiver,
        caregiver_calls=row.caregiver_calls,
        allergies=row.allergies,
        note=row.note,
        updated_ns=row.updated_ns,
    )


def _node(row: Row[Any]) -> Node:
    beds = tuple((one["bed"], one["label"]) for one in json.loads(row.beds))
    limits = {one["measure"]: (one["low"], one["high"]) for one in json.loads(row.limits)}
    return Node(
        region=row.region,
        site=row.site,
        node=row.node,
        name_zh=row.name_zh,
        name_en=row.name_en,
        phone=row.phone,
        is_home=row.is_home,
        beds=beds,
        limits=limits,
        last_arrival_ns=row.last_arrival_ns,
    )
