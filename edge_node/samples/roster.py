"""Who is who at this site: persons, beds, devices and accounts, as the fold of the site's events.  Pure.

The hub's order wins (decision 5); what was proposed here and is not ordered yet lies on top, so that the site
works with the hub gone.  A refused event changes nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from telemed import consent
from telemed.consent import Purpose, Standing, Step
from telemed.roles import Role
from telemed.v1 import event_pb2


@dataclass(frozen=True, slots=True)
class Person:
    """A person known at the site."""

    person_id: str
    facts: event_pb2.PersonRegistered

    @property
    def name(self) -> str:
        """Family name before given name, as on Chinese screens."""
        return f"{self.facts.family_name}{self.facts.given_name}"

    @property
    def identifiers(self) -> tuple[str, ...]:
        """Values of all identifiers, without their authority."""
        return tuple(identifier.value for identifier in self.facts.identifiers)

    def age_years(self, today: date) -> int | None:
        """Whole years of age, or None where the date of birth is not known."""
        try:
            born = date.fromisoformat(self.facts.birth_date)
        except ValueError:
            return None
        return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


@dataclass(slots=True)
class Roster:
    """The present of the site's persons, beds, devices and accounts."""

    persons: dict[str, Person] = field(default_factory=dict)
    erased: set[str] = field(default_factory=set)
    """Ids of persons of whom nothing may be kept."""
    beds: dict[str, str] = field(default_factory=dict)
    """Bed code to the id of the person in it; an empty bed is absent."""
    since_ns: dict[str, int] = field(default_factory=dict)
    """Bed code to when its person came, or the last one left; what was measured before is of somebody else."""
    devices: dict[str, event_pb2.DevicePlaced] = field(default_factory=dict)
    accounts: dict[str, event_pb2.AccountSet] = field(default_factory=dict)
    nodes: dict[str, event_pb2.NodeDescribed] = field(default_factory=dict)
    consents: dict[str, Standing] = field(default_factory=dict)
    """By the id of the aggregate: a person and a purpose."""
    versions: dict[tuple[str, str], int] = field(default_factory=dict)
    """Version of each aggregate as the hub ordered it."""

    def occupant(self, bed: str) -> Person | None:
        """Who lies in a bed."""
        return self.persons.get(self.beds.get(bed, ""))

    def beds_of(self, username: str) -> set[str]:
        """Beds in which somebody's own persons lie: family by the person's entry, care workers by their care teams.

        Family sees a person who agreed to it (clinical 9.4 C5).
        """
        return {bed for bed, person_id in self.beds.items() if self._is_own(username, person_id)}

    def consent(self, person_id: str, purpose: Purpose) -> Standing:
        """Where a person stands on a purpose."""
        return self.consents.get(consent.aggregate_id(person_id, purpose), Standing())

    def family_of(self, person_id: str) -> dict[str, event_pb2.AccountSet]:
        """Those of the family who are related to a person, and may be given access."""
        return {
            username: account
            for username, account in self.accounts.items()
            if account.role == Role.CAREGIVER and not account.disabled and self._is_related(username, person_id)
        }

    def version(self, aggregate_type: str, aggregate_id: str) -> int:
        """Version that a new event about this aggregate has seen; 0 for a new one."""
        return self.versions.get((aggregate_type, aggregate_id), 0)

    def _is_own(self, username: str, person_id: str) -> bool:
        account = self.accounts.get(username)
        if not self._is_related(username, person_id):
            return False
        # Access has no end of its own, so no clock is asked.
        is_family = account is None or account.role == Role.CAREGIVER
        return not is_family or self.consent(person_id, Purpose.FAMILY).permits(0, username)

    def _is_related(self, username: str, person_id: str) -> bool:
        account = self.accounts.get(username)
        in_team = account is not None and person_id in account.persons
        return in_team or (bool(username) and self._caregiver_of(person_id) == username)

    def _caregiver_of(self, person_id: str) -> str:
        person = self.persons.get(person_id)
        return person.facts.caregiver if person is not None else ""

    def order(self, ordered: event_pb2.OrderedEvent) -> None:
        """Take one event as the hub ordered it."""
        event = ordered.event
        self.versions[event.aggregate_type, event.aggregate_id] = ordered.version
        if event.aggregate_type == consent.AGGREGATE:
            self._agree(Step(event, ordered.version, ordered.refusal if ordered.refused else ""))
        elif not ordered.refused:
            self.take(event)

    def take(self, event: event_pb2.Event) -> None:
        """Take the content of one event; events about other things are passed over."""
        key, body = event.aggregate_id, event.WhichOneof("body")
        if body == "person_registered":
            self.persons[key] = Person(key, event.person_registered)
        elif body == "person_erased":
            self.persons.pop(key, None)
            self.erased.add(key)
        elif body == "bed_assigned":
            self._assign(key, event)
        elif body == "bed_vacated":
            self.beds.pop(key, None)
            self.since_ns[key] = event.bed_vacated.at_unix_ns or event.at_unix_ns
        elif body == "device_placed":
            self.devices[key] = event.device_placed
        elif body == "account_set":
            self.accounts[event.account_set.username] = event.account_set
        elif body == "node_described":
            self.nodes[key] = event.node_described
        elif event.aggregate_type == consent.AGGREGATE:
            # What was recorded here holds at once; the hub's order is built anew around it.
            self._agree(Step(event, is_pending=True))

    def _agree(self, step: Step) -> None:
        key = step.event.aggregate_id
        self.consents[key] = consent.after(self.consents.get(key, Standing()), step)

    def _assign(self, bed: str, event: event_pb2.Event) -> None:
        body, before = event.bed_assigned, self.beds.get(bed, "")
        since_ns = body.from_unix_ns or event.at_unix_ns
        if before not in ("", body.person_id) and since_ns <= self.since_ns.get(bed, 0):
            # Dated back to before the person who lies here came: theirs is not given away.
            since_ns = event.at_unix_ns
        self.beds = {other: who for other, who in self.beds.items() if who != body.person_id}
        self.beds[bed], self.since_ns[bed] = body.person_id, since_ns


def build(ordered: Iterable[event_pb2.OrderedEvent], pending: Iterable[event_pb2.Event]) -> Roster:
    """Return the roster that the ordered log and the proposals not yet ordered describe."""
    roster = Roster()
    for row in ordered:
        roster.order(row)
    for event in pending:
        roster.take(event)
    return roster


def identifiers_by_bed(roster: Roster) -> Mapping[str, tuple[str, ...]]:
    """Return the identifiers of each occupied bed's person."""
    found = {bed: roster.occupant(bed) for bed in roster.beds}
    return {bed: person.identifiers for bed, person in found.items() if person is not None}
