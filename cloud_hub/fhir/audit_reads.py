"""Search and read of AuditEvents within one scope; each function runs in a reader thread."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

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
    subtypes: list[list[Token]]
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
            subtypes=parameters.tokens(values, "subtype"),
            outcomes=parameters.tokens(values, "outcome"),
            ids=parameters.tokens(values, "_id"),
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
        subtypes = [(audit_event.ACTION, event.entry.action), *((system, code) for system, code, _ in kind.subtypes)]
        return (
            all(span.holds(event.entry.at_ns) for span in self.dates)
            and _fits(self.types, [(kind.system, kind.code)])
            and _fits(self.subtypes, subtypes)
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
    return Filter(scope.region, scope.sites, persons, actors, None, from_ns, to_ns)


def _position(values: Values) -> Position | None:
    found = parameters.cursor(values, 4)
    if found is None:
        return None
    at_ns, trail, n, hash_ = found
    if not (at_ns.isdecimal() and n.isdecimal() and max(len(at_ns), len(n)) <= 18 + 1):
        raise BadRequest("the page link is damaged", ["_cursor"])
    return int(at_ns), trail[:32], int(n), hash_[:64]


def _fits(wanted: Iterable[list[Token]], codings: list[tuple[str, str]]) -> bool:
    return all(any(token.fits(coding) for token in alternatives for coding in codings) for alternatives in wanted)
