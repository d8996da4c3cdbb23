"""What the routes ask of the two stores: each function runs in a reader thread, within one scope."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from cloud_hub.access.rights import Principal
from cloud_hub.access.treating import Circle, circle_of, opens
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.fhir import codes, parameters, scan
from cloud_hub.fhir.observation import Draft, Source, locate
from cloud_hub.fhir.parameters import Span, Token, Values
from cloud_hub.fhir.patient import device_id, system_of
from cloud_hub.fhir.whereabouts import Whereabouts
from cloud_hub.store import persons
from cloud_hub.store.persons import Device, Person

PERSONS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Scene:
    """What must be known of a scope to say who and what an Observation is about."""

    whereabouts: Whereabouts
    device_ids: frozenset[str]
    """FHIR ids of the devices that nodes have described."""
    circle: Circle
    """Whose record is open to the one who asks."""

    def device_of(self, source: Source) -> str | None:
        """Return the FHIR id of the Device behind a stream; None where no node has described it."""
        found = device_id(source.site, source.node, source.device)
        return found if found in self.device_ids else None

    def shows(self, draft: Draft) -> bool:
        """True where a measurement is of a person whose record is open, or of nobody at a site within scope."""
        return self.circle.sees(draft.source.site, self.whereabouts.subject(draft))


@dataclass(frozen=True, slots=True)
class ObservationSearch:
    """A search for Observations, read from its parameters."""

    persons: list[set[str]]
    devices: list[set[str]]
    codes: list[list[Token]]
    combo_codes: list[list[Token]]
    categories: list[list[Token]]
    ids: list[list[Token]]
    dates: list[Span]
    updates: list[Span]
    count: int
    start: scan.Position | None

    @classmethod
    def read(cls, values: Values, utc_offset: timedelta) -> "ObservationSearch":
        """Return the search that these parameters mean.

        Raises:
            BadRequest: one cannot be understood.
        """
        parameters.check("Observation", values)
        start = parameters.number_cursor(values, 4)
        return cls(
            persons=parameters.references(values, ("patient", "subject"), "Patient"),
            devices=parameters.references(values, ("device",), "Device"),
            codes=parameters.tokens(values, "code"),
            combo_codes=parameters.tokens(values, "combo-code"),
            categories=parameters.tokens(values, "category"),
            ids=parameters.tokens(values, "_id"),
            dates=parameters.spans(values, "date", utc_offset),
            updates=parameters.spans(values, "_lastUpdated", utc_offset),
            count=parameters.count(values),
            start=None if start is None else (start[0], start[1], start[2], start[3]),
        )

    @property
    def person_ids(self) -> set[str] | None:
        """Persons that meet all occurrences of `patient`; None where none was named."""
        return set.intersection(*self.persons) if self.persons else None

    @property
    def is_about_vital_signs(self) -> bool:
        """False where a category is asked for that nothing here has."""
        return _fits(self.categories, [(codes.CATEGORY, codes.VITAL_SIGNS)])

    def wants(self, draft: Draft) -> bool:
        """True where everything but patient and device is met."""
        return (
            all(span.holds(draft.effective_ns) for span in self.dates)
            and all(span.holds(draft.received_ns) for span in self.updates)
            and _fits(self.codes, draft.codings)
            and (not self.combo_codes or _fits(self.combo_codes, draft.all_codings))
            and (not self.ids or _fits(self.ids, [("", draft.fhir_id)]))
        )


def scene(connection: Connection, principal: Principal, whereabouts: Whereabouts | None = None) -> Scene:
    """Return the scene of a principal's scope (care store); its stays and places as they are stored, or as given."""
    circle = circle_of(connection, principal)
    region, sites = principal.region, circle.sites
    if whereabouts is None:
        whereabouts = Whereabouts(persons.stays(connection, region, sites), persons.places(connection, region, sites))
    found = persons.devices(connection, region, sites)
    return Scene(whereabouts, frozenset(device_id(one.site, one.node, one.device) for one in found), circle)


def observations(connection: Connection, principal: Principal, around: Scene, search: ObservationSearch) -> scan.Page:
    """Return a page of Observations within scope, newest first (sample store)."""
    asked, allowed = search.person_ids, around.circle.named
    wanted = asked if allowed is None else set(allowed) & asked if asked is not None else set(allowed)
    if not search.is_about_vital_signs:
        return scan.Page((), None)
    windows = None if wanted is None else around.whereabouts.windows(wanted)
    stretches = []
    for source in scan.numeric_sources(connection, principal.region, around.circle.sites):
        stretch = _stretch(source, around, search, windows)
        if stretch is not None:
            stretches.append(stretch)

    def is_wanted(draft: Draft) -> bool:
        is_asked = wanted is None or around.whereabouts.subject(draft) in wanted
        return is_asked and around.shows(draft) and search.wants(draft)

    return scan.page(connection, stretches, is_wanted, search.count, search.start)


def observation(connection: Connection, principal: Principal, around: Scene, fhir_id: str) -> Draft:
    """Return one Observation within scope (sample store).

    Raises:
        NotFound: no such id, or not within scope.
    """
    try:
        stream_id, effective_ns = locate(fhir_id)
    except ValueError as error:
        raise NotFound("no such Observation") from error
    margin = scan.OWN_TIME_MARGIN_NS
    stretches = [
        scan.Stretch(source, effective_ns - margin, effective_ns + margin)
        for source in scan.numeric_sources(connection, principal.region, around.circle.sites)
        if source.stream_id == stream_id
    ]
    page = scan.page(connection, stretches, lambda draft: draft.fhir_id == fhir_id, 1, None)
    for draft in page.drafts:
        if around.shows(draft):
            return draft
    raise NotFound("no such Observation")


def patient(connection: Connection, principal: Principal, person_id: str) -> Person:
    """Return a person within scope (care store).

    Raises:
        NotFound: no such person, or not within scope.
    """
    found = persons.person(connection, principal.region, person_id)
    if found is None or not opens(connection, principal, found.site, found.person_id):
        raise NotFound("no such Patient")
    return found


def patients(
    connection: Connection, principal: Principal, values: Values, utc_offset: timedelta
) -> tuple[list[Person], str | None]:
    """Return a page of persons within scope by id, and the id after which the next page begins (care store).

    Raises:
        BadRequest: a parameter cannot be understood.
    """
    parameters.check("Patient", values)
    tests = _person_tests(values, utc_offset)
    count, after = parameters.count(values), (parameters.cursor(values, 1) or ("",))[0]
    found: list[Person] = []
    circle = circle_of(connection, principal)
    # The narrowest identifier asked for is looked for in SQL; what comes back is judged again below.
    hint = next((group[0].code for group in parameters.tokens(values, "identifier") if len(group) == 1), "")
    while True:
        chunk = persons.persons_after(connection, principal.region, circle.sites, after, PERSONS_AT_ONCE, hint)
        for person in chunk:
            if circle.sees(person.site, person.person_id) and all(test(person) for test in tests):
                if len(found) == count:
                    return found, found[-1].person_id
                found.append(person)
        if len(chunk) < PERSONS_AT_ONCE:
            return found, None
        after = chunk[-1].person_id


def devices(connection: Connection, principal: Principal, values: Values) -> tuple[list[Device], str | None]:
    """Return a page of devices within scope by id, and the id after which the next page begins (care store).

    Raises:
        BadRequest: a parameter cannot be understood.
    """
    parameters.check("Device", values)
    identifiers, ids = parameters.tokens(values, "identifier"), parameters.tokens(values, "_id")
    after, count = (parameters.cursor(values, 1) or ("",))[0], parameters.count(values)
    by_id = {device_id(one.site, one.node, one.device): one for one in _devices(connection, principal)}
    found = [
        fhir_id
        for fhir_id, one in sorted(by_id.items())
        if fhir_id > after and _fits(ids, [("", fhir_id)]) and _fits(identifiers, _device_identifiers(one))
    ]
    following = found[count - 1] if len(found) > count else None
    return [by_id[fhir_id] for fhir_id in found[:count]], following


def device(connection: Connection, principal: Principal, fhir_id: str) -> Device:
    """Return a device within scope (care store).

    Raises:
        NotFound: no such device, or not within scope.
    """
    for one in _devices(connection, principal):
        if device_id(one.site, one.node, one.device) == fhir_id:
            return one
    raise NotFound("no such Device")


def _stretch(
    source: Source,
    around: Scene,
    search: ObservationSearch,
    windows: dict[tuple[str, str], tuple[int, int]] | None,
) -> scan.Stretch | None:
    """Return which records of a stream may hold what is looked for; None where none can."""
    fhir_id = device_id(source.site, source.node, source.device)
    if not all(fhir_id in allowed for allowed in search.devices):
        return None
    from_ns, to_ns = parameters.bounds(search.dates)
    if windows is not None:
        window = around.whereabouts.window(source, windows)
        if window is None:
            return None
        from_ns, to_ns = max(from_ns, window[0]), min(to_ns, window[1])
    if from_ns >= to_ns:
        return None
    margin = scan.OWN_TIME_MARGIN_NS
    return scan.Stretch(source, from_ns - margin, min(to_ns + margin, parameters.FAR_NS))


def _fits(asked: list[list[Token]], held: Iterable[codes.Coding]) -> bool:
    """True where each occurrence of a token parameter has an alternative among the codings held."""
    found = list(held)
    return all(any(token.fits(coding) for token in alternatives for coding in found) for alternatives in asked)


def _person_tests(values: Values, utc_offset: timedelta) -> list[Callable[[Person], bool]]:
    identifiers, ids = parameters.tokens(values, "identifier"), parameters.tokens(values, "_id")
    births = parameters.spans(values, "birthdate", utc_offset)
    updates = parameters.spans(values, "_lastUpdated", utc_offset)
    names = [value.casefold().split(",") for value in parameters.all_of(values, "name")]
    return [
        lambda person: _fits(ids, [("", person.person_id)]),
        lambda person: _fits(identifiers, _person_identifiers(person)),
        lambda person: all(_is_named(person, alternatives) for alternatives in names),
        lambda person: all(_is_born_in(person, span, utc_offset) for span in births),
        lambda person: all(span.holds(person.updated_ns) for span in updates),
    ]


def _person_identifiers(person: Person) -> list[codes.Coding]:
    """Return the identifiers as FHIR writes them, and with the bare name of the authority."""
    plain = list(person.identifiers)
    return plain + [(system_of(system), value) for system, value in plain]


def _is_named(person: Person, beginnings: list[str]) -> bool:
    whole = person.family_name + person.given_name
    parts = (whole, person.family_name, person.given_name, person.name_en, *person.name_en.split())
    return any(part.casefold().startswith(one) for part in parts if part for one in beginnings if one)


def _is_born_in(person: Person, span: Span, utc_offset: timedelta) -> bool:
    """True where the birth date meets the span; days are the region's, a partial date counts as its first day."""
    if not person.birth_date:
        return False
    try:
        born = parameters.spans([("birthdate", person.birth_date)], "birthdate", utc_offset)[0]
    except BadRequest:
        return False
    return span.holds(born.from_ns)


def _devices(connection: Connection, principal: Principal) -> list[Device]:
    return persons.devices(connection, principal.region, principal.sites)


def _device_identifiers(found: Device) -> list[codes.Coding]:
    local = (codes.LOCAL_DEVICE, f"{found.site}/{found.node}/{found.device}")
    if not found.eui64:
        return [local]
    plain = found.eui64.upper()
    dashed = "-".join(plain[at : at + 2] for at in range(0, len(plain), 2))
    return [local, *((codes.EUI64, text) for text in (plain, plain.lower(), dashed))]
