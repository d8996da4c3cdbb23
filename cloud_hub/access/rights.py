"""Roles, rights and scopes: deny by default, granted per role (clinical 9.1, first form) and per scope (SMART v2).

`RIGHTS_OF` is written out by hand from the table in clinical 9.1 and is the whole truth about roles; a bearer
token can only narrow it.  Where somebody may use a right is `Principal.sites` and `Principal.persons`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from telemed.roles import Role

from cloud_hub.errors import NotFound, NotPermitted


class Right(StrEnum):
    """Something a person or program may do; every route names exactly one."""

    SIGNED_IN = "signed-in"  # one's own session and account
    SEE_LINKS = "see-links"  # sites, links, sync state, buffers
    SEE_VITALS = "see-vitals"  # live values, waves, trends, NEWS2, alarms
    SEE_RECORD = "see-record"  # who the person is, record, FHIR
    SEE_REFERRALS = "see-referrals"
    SEE_DEVICES = "see-devices"  # devices and their state, no clinical data
    ENTER_VITALS = "enter-vitals"
    ACT_ON_ALARM = "act-on-alarm"  # see, accept, pause, resolve, reset
    MAKE_REFERRAL = "make-referral"
    TRIAGE = "triage"  # every step of a referral that the hub takes
    JOIN_CONSULT = "join-consult"
    START_CONSULT = "start-consult"
    MANAGE_NODES = "manage-nodes"  # let nodes in and shut them out


_R = Right
RIGHTS_OF: dict[Role, frozenset[Right]] = {
    Role.PHYSICIAN: frozenset(
        {
            _R.SIGNED_IN,
            _R.SEE_LINKS,
            _R.SEE_VITALS,
            _R.SEE_RECORD,
            _R.SEE_REFERRALS,
            _R.SEE_DEVICES,
            _R.ENTER_VITALS,
            _R.ACT_ON_ALARM,
            _R.TRIAGE,
            _R.JOIN_CONSULT,
            _R.START_CONSULT,
        }
    ),
    Role.CLINIC: frozenset(
        {
            _R.SIGNED_IN,
            _R.SEE_LINKS,
            _R.SEE_VITALS,
            _R.SEE_RECORD,
            _R.SEE_REFERRALS,
            _R.SEE_DEVICES,
            _R.ENTER_VITALS,
            _R.ACT_ON_ALARM,
            _R.MAKE_REFERRAL,
            _R.JOIN_CONSULT,
        }
    ),
    Role.CAREGIVER: frozenset({_R.SIGNED_IN, _R.SEE_VITALS}),
    Role.OPERATOR: frozenset({_R.SIGNED_IN, _R.SEE_LINKS, _R.SEE_DEVICES, _R.MANAGE_NODES}),
    # A program has what its scopes name, and of that only what is listed here: in this form it only reads.
    Role.PROGRAM: frozenset(
        {_R.SIGNED_IN, _R.SEE_LINKS, _R.SEE_VITALS, _R.SEE_RECORD, _R.SEE_REFERRALS, _R.SEE_DEVICES}
    ),
}

_READS: dict[str, frozenset[Right]] = {
    "Patient": frozenset({_R.SEE_RECORD}),
    "Observation": frozenset({_R.SEE_VITALS}),
    "Device": frozenset({_R.SEE_DEVICES, _R.SEE_LINKS}),
    "ServiceRequest": frozenset({_R.SEE_REFERRALS}),
}
_WRITES: dict[str, frozenset[Right]] = {
    "Observation": frozenset({_R.ENTER_VITALS, _R.ACT_ON_ALARM}),
    "ServiceRequest": frozenset({_R.MAKE_REFERRAL, _R.TRIAGE}),
    "Encounter": frozenset({_R.JOIN_CONSULT, _R.START_CONSULT}),
}
RESOURCES = tuple(dict.fromkeys((*_READS, *_WRITES)))
"""Resource types that a scope may name."""
_SCOPE = re.compile(r"(user|system)/(\*|[A-Z][A-Za-z]{1,40})\.(c?r?u?d?s?)")


@dataclass(frozen=True, slots=True)
class Scope:
    """One SMART v2 scope, e.g. `system/Observation.rs`."""

    context: str
    """`system` for programs, `user` for people."""
    resource: str
    """FHIR resource type or `*`."""
    letters: str
    """Of c, r, u, d, s: create, read, update, delete, search."""

    def covers(self, other: "Scope") -> bool:
        """True where everything that `other` allows is allowed by this one."""
        same = self.context == other.context and self.resource in ("*", other.resource)
        return same and set(other.letters) <= set(self.letters)


def parse_scope(text: str) -> Scope:
    """Return the scope written as `text`.

    Raises:
        ValueError: not `user|system/<Resource>.<cruds>`, no letter, or a resource this hub does not have.
    """
    match = _SCOPE.fullmatch(text)
    if not match or not match[3] or (match[2] != "*" and match[2] not in RESOURCES):
        raise ValueError(f"{text!r} is not a scope of this hub")
    return Scope(match[1], match[2], match[3])


def rights_of_scopes(scopes: frozenset[str]) -> frozenset[Right]:
    """Return what these scopes open at most; being signed in is always among it."""
    rights = {Right.SIGNED_IN}
    for scope in map(parse_scope, scopes):
        names = RESOURCES if scope.resource == "*" else (scope.resource,)
        for name in names:
            if set("rs") & set(scope.letters):
                rights |= _READS.get(name, frozenset())
            if set("cu") & set(scope.letters):
                rights |= _WRITES.get(name, frozenset())
    return frozenset(rights)


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever asks, as found from a cookie or a bearer token."""

    username: str
    role: Role
    name_zh: str
    name_en: str
    region: str
    sites: frozenset[str] | None
    """Sites within the region; None = all of them."""
    scopes: frozenset[str] | None = None
    """Scopes of a bearer token, which narrow the role; None for a session in the browser."""
    persons: frozenset[str] | None = None
    """Persons this caregiver may see; None = all at those sites."""
    csrf_token: str = ""
    """Of a session in the browser; empty for a bearer token, which no browser sends by itself."""

    @property
    def rights(self) -> frozenset[Right]:
        """What this principal may do somewhere."""
        granted = RIGHTS_OF[self.role]
        return granted if self.scopes is None else granted & rights_of_scopes(self.scopes)

    def may(self, right: Right) -> bool:
        """True where this principal has the right at all; the site is asked apart."""
        return right in self.rights

    def demand(self, right: Right) -> None:
        """Pass where the right is there.

        Raises:
            NotPermitted: it is not.
        """
        if not self.may(right):
            raise NotPermitted(f"{self.role} may not {right}")

    def sees_site(self, site: str) -> bool:
        """True where the site is within scope."""
        return self.sites is None or site in self.sites

    def sees_person(self, site: str, person_id: str) -> bool:
        """True where a person at a site is within scope; a caregiver sees only their own."""
        return self.sees_site(site) and (self.persons is None or person_id in self.persons)

    def may_read(self, resource: str, letter: str) -> bool:
        """True where the token's scopes allow `letter` (r or s) on this FHIR resource type; a session has no scopes."""
        if self.scopes is None:
            return True
        wanted = (Scope(context, resource, letter) for context in ("user", "system"))
        held = [parse_scope(scope) for scope in self.scopes]
        return any(scope.covers(one) for one in wanted for scope in held)

    def demand_site(self, site: str) -> None:
        """Pass where the site is within scope.

        Raises:
            NotFound: it is not; whether such a site exists is not told (reliability 4.4 row 32).
        """
        if not self.sees_site(site):
            raise NotFound("no such thing within scope")

    def demand_person(self, site: str, person_id: str) -> None:
        """Pass where the person is within scope.

        Raises:
            NotFound: not so; whether such a person exists is not told.
        """
        if not self.sees_person(site, person_id):
            raise NotFound("no such thing within scope")
