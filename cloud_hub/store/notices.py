"""Notices to the operator in the care database: plain functions on a connection."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update
from telemed.topics import NodeAddress

from cloud_hub.store.schema import notice


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing about one node that somebody must look at; never about a person."""

    address: NodeAddress
    code: str
    """Code of telemed.errors; its words stand in telemed.stuck."""
    since_ns: int
    last_ns: int
    times: int
    """How often it happened since."""
    hub_schema: int
    """Newest record schema that the hub could read when it happened last."""


def standing(connection: Connection, region: str) -> list[Notice]:
    """Return the notices of a region, the oldest first."""
    rows = connection.execute(select(notice).where(notice.c.region == region).order_by(notice.c.since_ns))
    return [
        Notice(
            NodeAddress(row.region, row.site, row.node), row.code, row.since_ns, row.last_ns, row.times, row.hub_schema
        )
        for row in rows
    ]


def keep(connection: Connection, notices: Iterable[Notice]) -> None:
    """Insert notices, or bring those that are there up to date."""
    for one in notices:
        values = {
            "since_ns": one.since_ns,
            "last_ns": one.last_ns,
            "times": one.times,
            "hub_schema": one.hub_schema,
        }
        if connection.execute(update(notice).where(_same(one)).values(values)).rowcount == 0:
            address = {"region": one.address.region, "site": one.address.site, "node": one.address.node}
            connection.execute(insert(notice).values(**address, code=one.code, **values))


def drop(connection: Connection, notices: Iterable[Notice]) -> None:
    """Delete notices that are over; that they were stays in the audit trail."""
    for one in notices:
        connection.execute(delete(notice).where(_same(one)))


def _same(one: Notice) -> ColumnElement[bool]:
    return and_(
        notice.c.region == one.address.region,
        notice.c.site == one.address.site,
        notice.c.node == one.address.node,
        notice.c.code == one.code,
    )
