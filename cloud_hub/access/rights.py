"""Roles, rights and scopes: deny by default, granted per role (`telemed.roles`) and per scope (SMART v2).

`telemed.roles.GRANTS` is the whole truth about roles; a bearer token can only narrow it.  Where somebody may use a
right is `Principal.sites`, `Principal.persons` and, past an ended episode, what was opened by breaking the glass.
"""

import re
from dataclasses import dataclass, replace

from telemed import roles
from telemed.roles import OWN_ONLY, Reach, Role

from cloud_hub.errors import NotFound, NotPermitted

Right = roles.Right
_R = Right
RIGHTS_OF: dict[Role, frozenset[Right]] = {
    role: frozenset(right for right, how_far in granted.items() if how_far is not Reach.HOME)
    for role, granted in roles.GRANTS.items()
}
"""What each role may do at the hub somewhere; what is for the home's own page alone is not among it."""

_READS: dict[str, frozenset[Right]] = {
    "Patient": frozenset({_R.SEE_RECORD}),
    "Observation": frozenset({_R.SEE_VITALS}),
    "Device": frozenset({_R.SEE_DEVICES, _R.SEE_LINKS}),
    "ServiceRequest": frozenset({_R.SEE_REFERRALS}),
    "Consent": frozenset({_R.SEE_CONSENT}),
    "AuditEvent": frozenset({_R.READ_AUDIT}),
    "ImagingStudy": frozenset({_R.SEE_RECORD}),
    "DiagnosticReport": frozenset({_R.SEE_RECORD}),
}
_BY_NAME_ALONE = frozenset({"AuditEvent", "Consent"})
"""Resource types that a scope for all of them (`*`) neither opens nor covers."""
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
        of_all = self.resource == "*" and other.resource not in _BY_NAME_ALONE
        same = self.context == other.context and (of_all or self.resource == other.resource)
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
        names = [name for name in RESOURCES if scope.resource == name]
        if scope.resource == "*":
            names = [name for name in RESOURCES if name not in _BY_NAME_ALONE]
        for name in names:
            if set("rs") & set(scope.letters):
                rights |= _READS.get(name, frozenset())
            if set("cu") & set(scope.letters):
                rights |= _WRITES.get(name, frozenset())
    return frozenset(rights)


READ, READ_UNDER_BROKEN_GLASS = "ok", "ok-btg"
"""What the audit trail says came of a read."""


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
    """Persons whom somebody sees who sees only their own; None = all at those sites."""
    opened: frozenset[tuple[str, str]] = frozenset()
    """Site and id of persons whose record was opened by breaking the glass, for as long as that lasts."""
    withheld: frozenset[str] = frozenset()
    """Persons who said no to being shown outside of their own site (clinical 9.4 C2)."""
    csrf_token: str = ""
    """Of a session in the browser; empty for a bearer token, which no browser sends by itself."""
    must_change: bool = False
    """True while the password is a first one that somebody else set: until it is changed nothing else is open."""
    must_enrol: bool = False
    """True where the role needs a second factor and none was used: until then only one's own session is open."""

    @property
    def rights(self) -> frozenset[Right]:
        """What this principal may do somewhere."""
        if self.must_enrol or self.must_change:
            return frozenset({Right.SIGNED_IN})
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

    @property
    def sees_own_only(self) -> bool:
        """True for family and care workers, who are shown their own persons and nothing of the site."""
        return self.role in OWN_ONLY

    @property
    def needs_treatment(self) -> bool:
        """True where a record is open only while its person has an open episode or task (clinical 9.1, treating)."""
        return roles.reach(self.role, Right.SEE_RECORD) is Reach.TREATED

    def sees_site(self, site: str) -> bool:
        """True where the site is within scope."""
        return self.sites is None or site in self.sites

    def sees_some_of(self, site: str) -> bool:
        """True where the site is within scope, or a record there was opened by breaking the glass."""
        return self.sees_site(site) or (bool(self.opened) and any(site == where for where, _ in self.opened))

    def for_changes(self) -> "Principal":
        """Return this principal without what was opened by breaking the glass: that is for reading alone."""
        return replace(self, opened=frozenset())

    def sees_person(self, site: str, person_id: str) -> bool:
        """True where a person at a site is within scope; family and care workers see only their own."""
        if (site, person_id) in self.opened:
            return True
        return self.sees_site(site) and person_id not in self.withheld and self._is_own(person_id)

    def _is_own(self, person_id: str) -> bool:
        return self.persons is None or person_id in self.persons

    def sees_alarm(self, site: str, person_id: str, *, is_technical: bool) -> bool:
        """True where an alarm is within scope: an operator's are the technical ones, one's own persons' never are."""
        if self.sees_own_only:
            is_theirs = not is_technical and bool(person_id) and self.sees_person(site, person_id)
            return is_theirs and self.may(Right.SEE_VITALS)
        needed = Right.SEE_LINKS if is_technical else Right.SEE_VITALS
        return self.may(needed) and (self.sees_site(site) or (site, person_id) in self.opened)

    def may_read(self, resource: str, letter: str) -> bool:
        """True where the token's scopes allow `letter` (r or s) on this FHIR resource type; a session has no scopes.

        A wall display shows its wall and reads nothing else.
        """
        if self.role is Role.DISPLAY:
            return False
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


def result_of_read(principal: Principal, person_id: str) -> str:
    """Return what the audit trail says of a read: apart where the glass was broken for it (clinical 9.2)."""
    is_opened = any(opened == person_id for _, opened in principal.opened)
    return READ_UNDER_BROKEN_GLASS if is_opened else READ
