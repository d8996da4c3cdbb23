"""Whose record somebody may open: site, relation and open episode put together (clinical 9.1, ABAC).

Deny by default: past its last open episode or task a record of the hub's physicians and nurses is closed, and
family and care workers never see more than their own persons.  What was opened by breaking the glass is open.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from cloud_hub.access.rights import Principal
from cloud_hub.store import care_team


@dataclass(frozen=True, slots=True)
class Circle:
    """The persons around one principal at one instant."""

    principal: Principal
    under_care: frozenset[str] | None
    """Persons of the region with an open episode or task; None where that is not asked for."""

    @property
    def sites(self) -> frozenset[str] | None:
        """Sites to look in; None = all of the region."""
        own = self.principal.sites
        return None if own is None else own | {site for site, _ in self.principal.opened}

    @property
    def named(self) -> frozenset[str] | None:
        """The only persons to look for, where they are few; None = ask `sees` for each."""
        own = self.principal.persons
        return None if own is None else own | {person_id for _, person_id in self.principal.opened}

    def sees(self, site: str, person_id: str | None) -> bool:
        """True where this person's record is open; None stands for what is filed under nobody at a site."""
        if person_id is None:
            return self.principal.sees_site(site) and self.principal.persons is None
        if (site, person_id) in self.principal.opened:
            return True
        treated = self.under_care is None or person_id in self.under_care
        return treated and self.principal.sees_person(site, person_id)


def circle_of(connection: Connection, principal: Principal) -> Circle:
    """Return whose records are open to somebody now."""
    needed = principal.needs_treatment
    return Circle(principal, care_team.under_care(connection, principal.region) if needed else None)


def opens(connection: Connection, principal: Principal, site: str, person_id: str) -> bool:
    """True where one person's record is open to somebody; asks for no more than that person's rows."""
    treated: frozenset[str] | None = None
    if principal.needs_treatment:
        known = care_team.is_under_care(connection, principal.region, person_id)
        treated = frozenset({person_id}) if known else frozenset()
    return Circle(principal, treated).sees(site, person_id)
