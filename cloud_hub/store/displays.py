"""Wall displays in the care database: plain functions on a connection."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from cloud_hub.store.schema import display as table


@dataclass(frozen=True, slots=True)
class Display:
    """A screen on a wall, of one site."""

    display_id: str
    region: str
    site: str
    name: str
    made_by: str
    made_ns: int
    paired_ns: int | None
    """None while its code waits to be typed."""


def make(connection: Connection, made: Display, code_hash: str, code_until_ns: int) -> None:
    """Insert a display that waits for its code."""
    connection.execute(
        insert(table).values(
            display_id=made.display_id,
            region=made.region,
            site=made.site,
            name=made.name,
            made_by=made.made_by,
            made_ns=made.made_ns,
            code_hash=code_hash,
            code_until_ns=code_until_ns,
        )
    )


def pair(connection: Connection, region: str, code_hash: str, now_ns: int) -> Display | None:
    """Spend a pairing code; None where there is none like it, it was used, or its time is over."""
    mine = (table.c.region == region, table.c.code_hash == code_hash, table.c.code_until_ns > now_ns)
    row = connection.execute(select(table).where(*mine, table.c.revoked_ns.is_(None))).first()
    if row is None:
        return None
    connection.execute(update(table).where(table.c.display_id == row.display_id).values(code_hash="", paired_ns=now_ns))
    return _display(row)


def display_of(connection: Connection, display_id: str) -> Display | None:
    """Return a display that has not been revoked; None where there is none."""
    mine = (table.c.display_id == display_id, table.c.revoked_ns.is_(None))
    row = connection.execute(select(table).where(*mine)).first()
    return None if row is None else _display(row)


def displays(connection: Connection, region: str, sites: Collection[str] | None) -> list[Display]:
    """Return the displays of these sites (None = all of the region) that have not been revoked, oldest first."""
    mine = [table.c.region == region, table.c.revoked_ns.is_(None)]
    if sites is not None:
        mine.append(table.c.site.in_(sorted(sites)))
    return [_display(row) for row in connection.execute(select(table).where(*mine).order_by(table.c.made_ns))]


def revoke(connection: Connection, display_id: str, now_ns: int) -> None:
    """End a display for good; its session is worth nothing from now on."""
    connection.execute(update(table).where(table.c.display_id == display_id).values(code_hash="", revoked_ns=now_ns))


def _display(row: Row[Any]) -> Display:
    return Display(row.display_id, row.region, row.site, row.name, row.made_by, row.made_ns, row.paired_ns)
