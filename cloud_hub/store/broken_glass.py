"""Records opened by breaking the glass, who is told of it, and what the review said: functions on a connection."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from cloud_hub.store.schema import break_glass as table
from cloud_hub.store.schema import break_notice


@dataclass(frozen=True, slots=True)
class Broken:
    """One record opened by one person for a while."""

    break_id: str
    region: str
    site: str
    person_id: str
    username: str
    role: str
    reason_code: str
    text: str
    opened_ns: int
    until_ns: int
    due_ns: int
    """When the review must be done."""
    is_renewed: bool = False
    reviewed_by: str = ""
    """Empty while the review is owed."""
    verdict: str = ""
    review_text: str = ""


def save(connection: Connection, broken: Broken, told: Iterable[str]) -> None:
    """Insert an opening, and that these accounts are to be told of it."""
    values = {
        "break_id": broken.break_id,
        "region": broken.region,
        "site": broken.site,
        "person_id": broken.person_id,
        "username": broken.username,
        "role": broken.role,
        "reason_code": broken.reason_code,
        "text": broken.text,
        "opened_ns": broken.opened_ns,
        "until_ns": broken.until_ns,
        "due_ns": broken.due_ns,
    }
    connection.execute(insert(table).values(values))
    rows = [{"break_id": broken.break_id, "username": username} for username in told]
    if rows:
        connection.execute(insert(break_notice), rows)


def broken(connection: Connection, region: str, break_id: str) -> Broken | None:
    """Return an opening; None where there is none."""
    row = connection.execute(select(table).where(table.c.region == region, table.c.break_id == break_id)).first()
    return None if row is None else _broken(row)


def open_of(connection: Connection, username: str, now_ns: int) -> list[Broken]:
    """Return what somebody has open now, oldest first."""
    mine = (table.c.username == username, table.c.until_ns > now_ns)
    return [_broken(row) for row in connection.execute(select(table).where(*mine).order_by(table.c.opened_ns))]


def extend(connection: Connection, break_id: str, until_ns: int) -> bool:
    """Renew an opening; False where it was renewed before."""
    mine = (table.c.break_id == break_id, table.c.is_renewed.is_(False))
    return connection.execute(update(table).where(*mine).values(until_ns=until_ns, is_renewed=True)).rowcount == 1


def end(connection: Connection, break_id: str, now_ns: int) -> None:
    """End an opening before its time."""
    connection.execute(
        update(table).where(table.c.break_id == break_id, table.c.until_ns > now_ns).values(until_ns=now_ns)
    )


def owed(connection: Connection, region: str, sites: Collection[str] | None) -> list[Broken]:
    """Return the openings of these sites (None = all of the region) whose review is owed, most urgent first."""
    mine: list[ColumnElement[bool]] = [table.c.region == region, table.c.reviewed_by == ""]
    if sites is not None:
        mine.append(table.c.site.in_(sorted(sites)))
    return [_broken(row) for row in connection.execute(select(table).where(*mine).order_by(table.c.due_ns))]


def review(connection: Connection, break_id: str, reviewed_by: str, verdict: str, text: str, now_ns: int) -> bool:
    """Note a review; False where there was one already."""
    mine = (table.c.break_id == break_id, table.c.reviewed_by == "")
    values = {"reviewed_by": reviewed_by, "verdict": verdict, "review_text": text, "reviewed_ns": now_ns}
    return connection.execute(update(table).where(*mine).values(values)).rowcount == 1


def unseen_by(connection: Connection, username: str) -> list[Broken]:
    """Return the openings of which somebody is to be told and has not seen it yet, newest first."""
    told = (break_notice.c.username == username, break_notice.c.seen_ns.is_(None))
    query = select(table).join(break_notice, break_notice.c.break_id == table.c.break_id).where(*told)
    return [_broken(row) for row in connection.execute(query.order_by(table.c.opened_ns.desc()))]


def saw(connection: Connection, break_id: str, username: str, now_ns: int) -> None:
    """Note that somebody has seen of an opening."""
    mine = (break_notice.c.break_id == break_id, break_notice.c.username == username, break_notice.c.seen_ns.is_(None))
    connection.execute(update(break_notice).where(*mine).values(seen_ns=now_ns))


def _broken(row: Row[Any]) -> Broken:
    return Broken(
        break_id=row.break_id,
        region=row.region,
        site=row.site,
        person_id=row.person_id,
        username=row.username,
        role=row.role,
        reason_code=row.reason_code,
        text=row.text,
        opened_ns=row.opened_ns,
        until_ns=row.until_ns,
        due_ns=row.due_ns,
        is_renewed=row.is_renewed,
        reviewed_by=row.reviewed_by,
        verdict=row.verdict,
        review_text=row.review_text,
    )
