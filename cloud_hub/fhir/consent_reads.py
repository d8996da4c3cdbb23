"""Read and search of Consents, one person at a time; each function runs in a reader thread, within one scope."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from cloud_hub.access.rights import Principal
from cloud_hub.access.treating import opens
from cloud_hub.desk.consents import standings_of
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.fhir import parameters, record
from cloud_hub.fhir.parameters import Span, Token, Values
from cloud_hub.fhir.record import FoundConsent
from cloud_hub.store import consents as store
from cloud_hub.store import persons
from cloud_hub.store.persons import Person

PERSONS_LIMIT = 50
"""Persons whose consents one page is made of at most, each folded from the site's log; a search may name so many."""
_ID = re.compile(r"([A-Za-z0-9.\-]{1,40})-C[1-9](?:-[0-9a-f]{8})?")
ID_CHARS = 36
_LAST = "~"
"""Sorts after every id."""


@dataclass(frozen=True, slots=True)
class ConsentSearch:
    """A search for Consents, read from its parameters."""

    persons: frozenset[str] | None
    """Whose, by patient and by id; None where nobody was named: of everybody within scope."""
    statuses: list[list[Token]]
    categories: list[list[Token]]
    ids: list[list[Token]]
    dates: list[Span]
    count: int
    after: tuple[str, str]
    """Person and id after which the page begins."""

    @classmethod
    def read(cls, values: Values, utc_offset: timedelta) -> "ConsentSearch":
        """Return the search that these parameters mean.

        Raises:
            BadRequest: one cannot be understood, or too many persons are named.
        """
        parameters.check("Consent", values)
        ids = parameters.tokens(values, "_id")
        named = parameters.references(values, ("patient",), "Patient")
        named += [{person_of(token.code) or "" for token in either} for either in ids]
        wanted = frozenset(set.intersection(*named)) - {""} if named else None
        if wanted is not None and len(wanted) > PERSONS_LIMIT:
            raise BadRequest(f"consents of {PERSONS_LIMIT} persons at most are searched at once", ["patient"])
        person_id, fhir_id = parameters.cursor(values, 2) or ("", "")
        return cls(
            persons=wanted,
            statuses=parameters.tokens(values, "status"),
            categories=parameters.tokens(values, "category"),
            ids=ids,
            dates=parameters.spans(values, "date", utc_offset),
            count=parameters.count(values),
            after=(person_id[:ID_CHARS], fhir_id),
        )

    def wants(self, found: FoundConsent) -> bool:
        """True where everything is met but whose it is."""
        return (
            _fits(self.statuses, [("", found.status)])
            and _fits(self.categories, found.categories)
            and _fits(self.ids, [("", found.fhir_id)])
            and all(span.holds(found.at_ns) for span in self.dates)
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Consents by person and id."""

    consents: list[FoundConsent]
    seen: list[str]
    """Whose were looked at: who was named and is within scope, whatever they agreed to, or whose were found."""
    following: tuple[str, str] | None
    """Person and id after which the next page begins; None where there is none."""


def person_of(fhir_id: str) -> str | None:
    """Return whose consent an id names; None where it names none."""
    match = _ID.fullmatch(fhir_id)
    return match[1] if match else None


def of_person(connection: Connection, person: Person, now_ns: int) -> list[FoundConsent]:
    """Return where a person stands on every purpose that they were ever asked about (care store)."""
    standings = standings_of(connection, person)
    return [
        one
        for purpose, standing in standings.items()
        for one in record.consent(person.person_id, purpose, standing, now_ns)
    ]


def consent(connection: Connection, principal: Principal, fhir_id: str, now_ns: int) -> FoundConsent:
    """Return one Consent within scope (care store).

    Raises:
        NotFound: no such id, or not within scope.
    """
    found = _person(connection, principal, person_of(fhir_id) or "")
    for one in of_person(connection, found, now_ns) if found is not None else ():
        if one.fhir_id == fhir_id:
            return one
    raise NotFound("no such Consent")


def consents(connection: Connection, principal: Principal, search: ConsentSearch, now_ns: int) -> Page:
    """Return a page of Consents within scope (care store); where nobody is named it may end short and go on."""
    found, seen, sent = list[FoundConsent](), list[str](), 0
    asked = _asked(connection, principal, search)
    for person_id in asked[:PERSONS_LIMIT]:
        person = _person(connection, principal, person_id)
        if person is None:
            continue
        of_them = sorted(of_person(connection, person, now_ns), key=lambda one: one.fhir_id)
        fit = [one for one in of_them if search.wants(one) and (person_id, one.fhir_id) > search.after]
        if fit or search.persons is not None:
            seen.append(person_id)
        room = search.count - len(found)
        if fit and room:
            found, sent = found + fit[:room], len(seen)
        if len(fit) > room:
            # Whoever comes after the last that is sent is looked at anew for the next page, and noted there.
            last = found[-1].fhir_id
            return Page(found, seen[:sent], (person_of(last) or "", last))
    following = (asked[PERSONS_LIMIT - 1], _LAST) if len(asked) > PERSONS_LIMIT else None
    return Page(found, seen, following)


def _asked(connection: Connection, principal: Principal, search: ConsentSearch) -> list[str]:
    """Return whose consents to look at, by id; one more than PERSONS_LIMIT where there are more."""
    begin = search.after[0]
    if search.persons is not None:
        return sorted(one for one in search.persons if one >= begin)
    return store.asked(connection, principal.region, begin, PERSONS_LIMIT + 1)


def _person(connection: Connection, principal: Principal, person_id: str) -> Person | None:
    found = persons.person(connection, principal.region, person_id) if person_id else None
    return found if found is not None and opens(connection, principal, found.site, person_id) else None


def _fits(asked: Iterable[list[Token]], held: Iterable[tuple[str, str]]) -> bool:
    found = list(held)
    return all(any(token.fits(coding) for token in either for coding in found) for either in asked)
