"""The event log of each site (decision 5): proposals are ordered here, refused ones kept with the reason.

Everything runs inside the caller's transaction, in the one writer thread, so that numbers have no holes.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select
from telemed import consent
from telemed.errors import Code
from telemed.roles import REGIONAL
from telemed.v1 import event_pb2

from cloud_hub.care import referral
from cloud_hub.care.conflicts import RULES, Origin, Wins
from cloud_hub.care.referral import Ordered
from cloud_hub.store import accounts, care_team, consents, erasure, persons
from cloud_hub.store.schema import event as table

LONGEST_ID = 64


class Scope(Protocol):
    """Where an event belongs; a `NodeAddress` is one."""

    @property
    def region(self) -> str:
        """Region of the site."""

    @property
    def site(self) -> str:
        """Site whose log it is."""


@dataclass(frozen=True, slots=True)
class Place:
    """A site of a region, where no node is meant."""

    region: str
    site: str


def take_proposal(
    connection: Connection, scope: Scope, event: event_pb2.Event, received_ns: int
) -> event_pb2.OrderedEvent:
    """Order an event that an edge proposes; what it changes is changed in the same transaction.

    Idempotent on event_id: the answer of the first time is given again.  An event that may not be taken is kept
    with `refused` and its reason, so that its author sees what happened instead.
    """
    return _take(connection, scope, event, received_ns, Origin.EDGE)


def append_hub_event(
    connection: Connection, scope: Scope, event: event_pb2.Event, now_ns: int
) -> event_pb2.OrderedEvent:
    """Order an event born at the hub; judged by the same rules as an edge's."""
    return _take(connection, scope, event, now_ns, Origin.HUB)


def events_after(connection: Connection, site: str, after: int, limit: int) -> list[event_pb2.OrderedEvent]:
    """Return at most `limit` events of the site with a number over `after`, in order."""
    query = select(table).where(table.c.site == site, table.c.site_seq > after).order_by(table.c.site_seq).limit(limit)
    return [_ordered(row).ordered for row in connection.execute(query)]


def head(connection: Connection, site: str) -> int:
    """Return the last number given out for the site, 0 if none."""
    return connection.execute(select(func.max(table.c.site_seq)).where(table.c.site == site)).scalar() or 0


def of_aggregate(connection: Connection, scope: Scope, aggregate_type: str, aggregate_id: str) -> list[Ordered]:
    """Return the events of one aggregate in their order, refused ones among them."""
    query = select(table).where(*_aggregate(scope, aggregate_type, aggregate_id)).order_by(table.c.site_seq)
    return [_ordered(row) for row in connection.execute(query)]


def of_type(
    connection: Connection, region: str, aggregate_type: str, since_ns: int = 0, site: str | None = None
) -> dict[tuple[str, str], list[Ordered]]:
    """Return the events of all aggregates of a type by (site, aggregate id), those with an event since then.

    Of one site, or of all the region where none is named.
    """
    chosen = [table.c.region == region, table.c.aggregate_type == aggregate_type]
    if site is not None:
        chosen.append(table.c.site == site)
    recent = select(table.c.site, table.c.aggregate_id).where(*chosen, table.c.received_ns >= since_ns).distinct()
    found: dict[tuple[str, str], list[Ordered]] = {
        (row.site, row.aggregate_id): [] for row in connection.execute(recent)
    }
    for row in connection.execute(select(table).where(*chosen).order_by(table.c.site, table.c.site_seq)):
        if (row.site, row.aggregate_id) in found:
            found[row.site, row.aggregate_id].append(_ordered(row))
    return found


def site_of(connection: Connection, region: str, aggregate_type: str, aggregate_id: str) -> str | None:
    """Return the site whose log holds this aggregate; None where there is none.  Not for beds and devices."""
    query = select(table.c.site).where(
        table.c.region == region, table.c.aggregate_type == aggregate_type, table.c.aggregate_id == aggregate_id
    )
    return connection.execute(query.limit(1)).scalar()


def version(connection: Connection, scope: Scope, aggregate_type: str, aggregate_id: str) -> int:
    """Return the version of an aggregate, 0 where it does not exist."""
    query = select(func.max(table.c.version)).where(*_aggregate(scope, aggregate_type, aggregate_id))
    return connection.execute(query).scalar() or 0


def _take(
    connection: Connection, scope: Scope, event: event_pb2.Event, received_ns: int, origin: Origin
) -> event_pb2.OrderedEvent:
    known = connection.execute(select(table).where(table.c.event_id == event.event_id)).first()
    if known is not None:
        if known.site != scope.site:
            # Somebody else's event is neither shown to this site nor taken twice.
            left = erasure.left_of(connection, (scope.region, scope.site), event)
            return event_pb2.OrderedEvent(refused=True, refusal=Code.KEY_CONFLICT, event=left)
        return _ordered(known).ordered
    before = version(connection, scope, event.aggregate_type, event.aggregate_id)
    refusal = _refusal(connection, scope, event, before, origin)
    event = erasure.left_of(connection, (scope.region, scope.site), event)
    ordered = event_pb2.OrderedEvent(
        site_seq=head(connection, scope.site) + 1,
        version=before if refusal else before + 1,
        refused=refusal is not None,
        refusal=refusal or "",
        event=event,
    )
    connection.execute(insert(table).values(_row(scope, ordered, received_ns)))
    if refusal is None:
        _apply(connection, scope, event, received_ns)
    return ordered


def _refusal(connection: Connection, scope: Scope, event: event_pb2.Event, before: int, origin: Origin) -> Code | None:
    body = event.WhichOneof("body")
    rule = RULES.get(body) if body else None
    if rule is None or rule.aggregate_type != event.aggregate_type or not 0 < len(event.aggregate_id) <= LONGEST_ID:
        return Code.REFUSED_UNKNOWN_AGGREGATE
    if rule.origin not in (origin, Origin.EITHER):
        return Code.REFUSED_RIGHTS
    # A "no" said at an edge counts though its author's account ended before it came up; `judge` asks for the role.
    is_no = origin is Origin.EDGE and body == "consent_withdrawn"
    if not is_no and not _is_known_author(connection, scope, event.actor, body or ""):
        return Code.REFUSED_RIGHTS
    if event.aggregate_type == "referral":
        return referral.judge(_referral(connection, scope, event.aggregate_id), event)
    if event.aggregate_type == consent.AGGREGATE:
        refusal = consent.judge(event) or _of_a_stranger(connection, scope, event)
        if refusal is not None:
            return refusal
    if rule.wins is Wins.FIRST_AT_HUB and event.base_version != before:
        return Code.REFUSED_VERSION
    return None


def _is_known_author(connection: Connection, scope: Scope, actor: event_pb2.Actor, body: str) -> bool:
    """True where the author may be believed: a node speaks for its own set-up, a person needs a living account here."""
    if not actor.username or not actor.role or actor.role == "node":
        return not body.startswith(("referral", "alarm"))
    account = accounts.account_of(connection, actor.username)
    if account is None or account.disabled or account.role != actor.role:
        return False
    return scope.site in account.sites or (not account.sites and account.role in REGIONAL)


def _referral(connection: Connection, scope: Scope, referral_id: str) -> referral.Referral | None:
    return referral.fold(referral_id, of_aggregate(connection, scope, "referral", referral_id))


def _of_a_stranger(connection: Connection, scope: Scope, event: event_pb2.Event) -> Code | None:
    """A site speaks for its own persons alone."""
    found = persons.person(connection, scope.region, event.aggregate_id.partition("/")[0])
    return None if found is not None and found.site == scope.site else Code.REFUSED_UNKNOWN_AGGREGATE


def _apply(connection: Connection, scope: Scope, event: event_pb2.Event, received_ns: int) -> None:
    where, which = (scope.region, scope.site), event.aggregate_id
    match event.WhichOneof("body"):
        case "person_registered":
            persons.save_person(connection, where, which, event.person_registered, received_ns)
        case "person_erased":
            erasure.erase(connection, where, which, event.person_erased.emptied)
        case "bed_assigned":
            persons.assign_bed(connection, where, which, event.bed_assigned, event.event_id, event.at_unix_ns)
        case "bed_vacated":
            persons.vacate_bed(connection, where, which, event.bed_vacated.at_unix_ns or event.at_unix_ns)
        case "device_placed":
            persons.place_device(connection, where, which, event.device_placed, event.at_unix_ns)
        case "referral_submitted" | "referral_moved":
            care_team.note_referral(connection, where, event, received_ns)
        case "consent_given" | "consent_withdrawn":
            consents.note(connection, where, event, received_ns)
        case "node_described":
            persons.describe_node(connection, where, which, event.node_described)


def _aggregate(scope: Scope, aggregate_type: str, aggregate_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.region == scope.region,
        table.c.site == scope.site,
        table.c.aggregate_type == aggregate_type,
        table.c.aggregate_id == aggregate_id,
    )


def _row(scope: Scope, ordered: event_pb2.OrderedEvent, received_ns: int) -> dict[str, object]:
    event = ordered.event
    return {
        "region": scope.region,
        "site": scope.site,
        "site_seq": ordered.site_seq,
        "event_id": event.event_id,
        "aggregate_type": event.aggregate_type[:20],
        "aggregate_id": event.aggregate_id[:LONGEST_ID],
        "version": ordered.version,
        "refused": ordered.refused,
        "refusal": ordered.refusal,
        "at_ns": event.at_unix_ns,
        "received_ns": received_ns,
        "author": event.actor.username[:64],
        "body": event.SerializeToString(),
    }


def _ordered(row: Row[Any]) -> Ordered:
    ordered = event_pb2.OrderedEvent(
        site_seq=row.site_seq,
        version=row.version,
        refused=row.refused,
        refusal=row.refusal,
        event=event_pb2.Event.FromString(row.body),
    )
    return Ordered(ordered, row.received_ns)
