"""Search and read of AuditEvents within one scope; each function runs in a reader thread."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection
from telemed.audit import HASH_CHARS, TRAIL_CHARS

from cloud_hub.access.rights import Principal
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.fhir import audit_event, parameters
from cloud_hub.fhir.parameters import Span, Token, Values
from cloud_hub.store import audit_search
from cloud_hub.store.audit_search import Event, Filter, Position

ROUNDS_LIMIT = 50
"""How often is looked on where few of the events match; then the page ends short, with a link to go on."""


@dataclass(frozen=True, slots=True)
class AuditSearch:
    """A search for AuditEvents, read from its parameters."""

    persons: list[set[str]]
    agents: list[set[str]]
    types: list[list[Token]]
    actions: list[frozenset[str]]
    outcomes: list[list[Token]]
    ids: list[list[Token]]
    dates: list[Span]
    count: int
    start: Position | None

    @classmethod
    def read(cls, values: Values, utc_offset: timedelta) -> "AuditSearch":
        """Return the search that these parameters mean.

        Raises:
            BadRequest: one cannot be understood.
        """
        parameters.check("AuditEvent", values)
        agents = [*parameters.all_of(values, "agent"), *parameters.all_of(values, "altid")]
        return cls(
            persons=parameters.references(values, ("patient", "entity"), "Patient"),
            agents=[{part.removeprefix("Practitioner/") for part in value.split(",")} for value in agents],
            types=parameters.tokens(values, "type"),
            actions=[
                frozenset[str]().union(*map(audit_event.actions_of, either))
                for either in parameters.tokens(values, "subtype")
            ],
            outcomes=parameters.tokens(values, "outcome"),
            ids=_ids(values),
            dates=parameters.spans(values, "date", utc_offset),
            count=parameters.count(values),
            start=_position(values),
        )

    @property
    def person_ids(self) -> set[str] | None:
        """Persons that meet all occurrences; None where none was named."""
        return set.intersection(*self.persons) if self.persons else None

    def wants(self, event: Event) -> bool:
        """True where everything is met that the store was not asked for."""
        kind = audit_event.kind_of(event.entry.action)
        return (
            all(span.holds(event.entry.at_ns) for span in self.dates)
            and _fits(self.types, [(kind.system, kind.code)])
            and _fits(self.outcomes, [("", audit_event.outcome_of(event))])
            and _fits(self.ids, [("", audit_event.id_of(event))])
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Events, newest first, and where the next page goes on; None where there is none."""

    events: list[Event]
    following: Position | None


def events(connection: Connection, principal: Principal, search: AuditSearch) -> Page:
    """Return a page of events within scope."""
    wanted, start, found = _filter(principal, search), search.start, list[Event]()
    if search.ids:
        return _by_id(connection, wanted, search)
    for _ in range(ROUNDS_LIMIT):
        some = audit_search.page(connection, wanted, search.count + 1, start)
        for event in some:
            if search.wants(event):
                if len(found) == search.count:
                    return Page(found, start)
                found.append(event)
            start = event.position
        if len(some) <= search.count:
            return Page(found, None)
    return Page(found, start)


def _by_id(connection: Connection, wanted: Filter, search: AuditSearch) -> Page:
    """Return a page of the events that ids name: each is looked up where it stands."""
    places = {audit_event.place_of(token.code) for token in search.ids[0]} - {None}
    some = [audit_search.one(connection, wanted, *place) for place in places if place is not None]
    fit = [one for one in some if one is not None and search.wants(one)]
    left = [one for one in fit if search.start is None or one.position < search.start]
    left.sort(key=lambda one: one.position, reverse=True)
    page = left[: search.count]
    return Page(page, page[-1].position if len(left) > len(page) else None)


def event(connection: Connection, principal: Principal, fhir_id: str) -> Event:
    """Return one event within scope.

    Raises:
        NotFound: no such id, or not within scope.
    """
    place = audit_event.place_of(fhir_id)
    found = None if place is None else audit_search.one(connection, _scope(principal), *place)
    if found is None:
        raise NotFound("no such event within scope")
    return found


def _scope(principal: Principal) -> Filter:
    # Whoever sees certain persons alone sees who looked at them, wherever that was written.
    sites = principal.sites if principal.persons is None else None
    return Filter(principal.region, sites, principal.persons)


def _filter(principal: Principal, search: AuditSearch) -> Filter:
    scope, asked = _scope(principal), search.person_ids
    allowed = scope.persons
    persons = asked if allowed is None else set(allowed) & asked if asked is not None else allowed
    actors = set.intersection(*search.agents) if search.agents else None
    from_ns, to_ns = parameters.bounds(search.dates)
    actions = frozenset.intersection(*search.actions) if search.actions else None
    return Filter(scope.region, scope.sites, persons, actors, actions, from_ns, to_ns)


def _ids(values: Values) -> list[list[Token]]:
    found = parameters.tokens(values, "_id")
    if sum(map(len, found)) > parameters.COUNT_LIMIT:
        raise BadRequest(f"_id is {parameters.COUNT_LIMIT} ids at most", ["_id"])
    return found


def _position(values: Values) -> Position | None:
    found = parameters.cursor(values, 4)
    if found is None:
        return None
    at_ns, n = parameters.whole(found[0]), parameters.whole(found[2])
    trail, hash_ = found[1][:TRAIL_CHARS], found[3][:HASH_CHARS]
    if at_ns is None or n is None or "\0" in trail + hash_:
        raise BadRequest("the page link is damaged", ["_cursor"])
    return at_ns, trail, n, hash_


def _fits(wanted: Iterable[list[Token]], codings: list[tuple[str, str]]) -> bool:
    return all(any(token.fits(coding) for token in alternatives for coding in codings) for alternatives in wanted)
