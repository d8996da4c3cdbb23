"""Looking through the hub's audit trail and those of the nodes together, newest first."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, literal, or_, select
from telemed.audit import Entry

from cloud_hub.store.schema import audit, edge_audit, person

PATIENT = "Patient/"
HUB = ""
"""Trail of what stands in the hub's own."""
Position = tuple[int, str, int, str]
"""Time, trail, number and hash: events are in descending order of it."""


@dataclass(frozen=True, slots=True)
class Event:
    """An entry, and where it stands."""

    entry: Entry
    trail: str
    n: int
    hash: str
    node: str = ""
    """Of a node's trail: which node, as site/node."""

    @property
    def position(self) -> Position:
        """Where it comes in a list."""
        return (self.entry.at_ns, self.trail, self.n, self.hash)


@dataclass(frozen=True, slots=True)
class Filter:
    """What is looked for; None = whatever."""

    region: str
    sites: frozenset[str] | None = None
    """What these sites wrote, and what is about their persons."""
    persons: Collection[str] | None = None
    actors: Collection[str] | None = None
    actions: Collection[str] | None = None
    from_ns: int = 0
    to_ns: int = 1 << 62
    """Before this time."""


def page(connection: Connection, wanted: Filter, count: int, before: Position | None) -> list[Event]:
    """Return the newest events that come after a position, at most `count`."""
    found = [_of_hub(row) for row in connection.execute(_hub(wanted, before).limit(count))]
    found += [_of_node(row) for row in connection.execute(_nodes(wanted, before).limit(count))]
    return sorted(found, key=lambda one: one.position, reverse=True)[:count]


def one(connection: Connection, wanted: Filter, trail: str, n: int, hash_: str) -> Event | None:
    """Return one event, None where there is none within what is looked for.

    Args:
        connection: to read from.
        wanted: scope.
        trail: empty for the hub's own.
        n: its number.
        hash_: beginning of its hash.
    """
    if trail == HUB:
        begins = audit.c.hash.startswith(hash_, autoescape=True)
        row = connection.execute(_hub(wanted, None).where(audit.c.id == n, begins)).first()
        return None if row is None else _of_hub(row)
    c = edge_audit.c
    query = _nodes(wanted, None).where(c.trail == trail, c.n == n, c.hash.startswith(hash_, autoescape=True))
    row = connection.execute(query).first()
    return None if row is None else _of_node(row)


def _hub(wanted: Filter, before: Position | None) -> Select[Any]:
    c = audit.c
    where = [_matches(wanted, c), c.region == wanted.region]
    if wanted.sites is not None:
        where.append(or_(c.site.in_(wanted.sites), c.object.in_(_persons_at(wanted))))
    if before is not None:
        # The hub's own has the first name of all: at the same time it comes after those of the nodes.
        at_ns, trail, n, _hash = before
        where.append(or_(c.at_ns < at_ns, and_(c.at_ns == at_ns, literal(trail != HUB) | (c.id < n))))
    return select(audit).where(*where).order_by(c.at_ns.desc(), c.id.desc())


def _nodes(wanted: Filter, before: Position | None) -> Select[Any]:
    c = edge_audit.c
    where = [_matches(wanted, c), c.region == wanted.region]
    if wanted.sites is not None:
        where.append(or_(c.site.in_(wanted.sites), c.object.in_(_persons_at(wanted))))
    if before is not None:
        at_ns, trail, n, hash_ = before
        later = or_(c.trail < trail, and_(c.trail == trail, or_(c.n < n, and_(c.n == n, c.hash < hash_))))
        where.append(or_(c.at_ns < at_ns, and_(c.at_ns == at_ns, later)))
    return select(edge_audit).where(*where).order_by(c.at_ns.desc(), c.trail.desc(), c.n.desc(), c.hash.desc())


def _matches(wanted: Filter, c: Any) -> ColumnElement[bool]:
    where: list[ColumnElement[bool]] = [c.at_ns >= wanted.from_ns, c.at_ns < wanted.to_ns]
    if wanted.persons is not None:
        where.append(c.object.in_([PATIENT + one for one in wanted.persons]))
    for column, values in ((c.actor, wanted.actors), (c.action, wanted.actions)):
        if values is not None:
            where.append(column.in_(values))
    return and_(*where)


def _persons_at(wanted: Filter) -> Select[Any]:
    sites = wanted.sites or ()
    return select(literal(PATIENT) + person.c.person_id).where(
        person.c.region == wanted.region, person.c.site.in_(sites)
    )


def _of_hub(row: Row[Any]) -> Event:
    entry = Entry(row.at_ns, row.actor, row.role, row.action, row.object, row.result, row.region, row.site)
    return Event(entry, HUB, row.id, row.hash)


def _of_node(row: Row[Any]) -> Event:
    entry = Entry(row.at_ns, row.actor, row.role, row.action, row.object, row.result, row.region, row.site)
    return Event(entry, row.trail, row.n, row.hash, f"{row.site}/{row.node}")
