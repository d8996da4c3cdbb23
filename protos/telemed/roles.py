"""Roles of clinical 9.1 and what each may do, and how far: the one table that hub and bedside both judge by.

Deny by default: what is not in `GRANTS` is not granted.  Where a grant reaches only one's own persons, who these
are is a fact of the care record (caregiver of, care team, open episode or task), never of the account.
"""

from enum import StrEnum


class Role(StrEnum):
    """What a person is to the system, as it travels in events and tokens."""

    PHYSICIAN = "physician"  # hub physician: whole region
    NURSE = "nurse"  # hub nurse, triage: whole region
    CLINIC = "clinic"  # clinic doctor: own site
    CARE_WORKER = "care-worker"  # of a care home: persons of their care team
    CAREGIVER = "caregiver"  # family: own person only
    OPERATOR = "operator"  # devices and links of the region, never clinical data
    SITE_ADMIN = "site-admin"  # people and devices of a site, never clinical data
    SYS_ADMIN = "sys-admin"  # people and devices of the region, never clinical data
    RESEARCHER = "researcher"  # approved de-identified sets alone
    AUDITOR = "auditor"  # audit trail of the region
    PROGRAM = "program"  # API client with named scopes
    DISPLAY = "display"  # wall display of one site: shows its wall, changes nothing


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
    CHANGE_PLAN = "change-plan"  # limits, care plan, care team
    MAKE_REFERRAL = "make-referral"
    TRIAGE = "triage"  # every step of a referral that the hub takes
    JOIN_CONSULT = "join-consult"
    START_CONSULT = "start-consult"
    MANAGE_DISPLAYS = "manage-displays"  # wall displays: pair, list, revoke
    MANAGE_NODES = "manage-nodes"  # let nodes in and shut them out
    MANAGE_PEOPLE = "manage-people"  # accounts and roles
    READ_AUDIT = "read-audit"  # who did what; a caregiver: who looked at their own person
    BREAK_GLASS = "break-glass"
    REVIEW_GLASS = "review-glass"  # whether a record was opened with reason
    EXPORT_PERSON = "export-person"  # everything about one person, to hand it over
    SEE_CONSENT = "see-consent"  # who agreed to what
    CHANGE_CONSENT = "change-consent"  # record it, or that it was withdrawn (telemed.consent: which by whom)


class Reach(StrEnum):
    """How far a grant goes."""

    SELF = "self"  # one's own session, or things that have no person
    OWN = "own"  # persons one is related to, while their episode is open
    HOME = "home"  # as OWN, and only at the home's own page
    SITE = "site"  # everybody at one's sites
    TREATED = "treated"  # everybody in the region with an open episode or task
    REGION = "region"  # everybody in the region
    TECHNICAL = "technical"  # alarms about devices and links alone


_R = Right
GRANTS: dict[Role, dict[Right, Reach]] = {
    Role.CAREGIVER: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_VITALS: Reach.OWN,
        _R.ENTER_VITALS: Reach.OWN,
        _R.ACT_ON_ALARM: Reach.HOME,
        _R.READ_AUDIT: Reach.OWN,
        _R.SEE_CONSENT: Reach.OWN,
        _R.CHANGE_CONSENT: Reach.OWN,
        _R.EXPORT_PERSON: Reach.OWN,
    },
    Role.CARE_WORKER: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_VITALS: Reach.OWN,
        _R.ENTER_VITALS: Reach.OWN,
        _R.ACT_ON_ALARM: Reach.OWN,
    },
    Role.CLINIC: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_LINKS: Reach.SITE,
        _R.SEE_VITALS: Reach.SITE,
        _R.SEE_RECORD: Reach.SITE,
        _R.SEE_REFERRALS: Reach.SITE,
        _R.SEE_DEVICES: Reach.SITE,
        _R.ENTER_VITALS: Reach.SITE,
        _R.ACT_ON_ALARM: Reach.SITE,
        _R.CHANGE_PLAN: Reach.SITE,
        _R.MAKE_REFERRAL: Reach.SITE,
        _R.JOIN_CONSULT: Reach.SITE,
        _R.BREAK_GLASS: Reach.REGION,
        _R.SEE_CONSENT: Reach.SITE,
        _R.CHANGE_CONSENT: Reach.SITE,
        _R.EXPORT_PERSON: Reach.SITE,
    },
    Role.NURSE: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_LINKS: Reach.REGION,
        _R.SEE_VITALS: Reach.TREATED,
        _R.SEE_RECORD: Reach.TREATED,
        _R.SEE_REFERRALS: Reach.REGION,
        _R.SEE_DEVICES: Reach.REGION,
        _R.ENTER_VITALS: Reach.TREATED,
        _R.ACT_ON_ALARM: Reach.REGION,
        _R.TRIAGE: Reach.REGION,
        _R.JOIN_CONSULT: Reach.REGION,
        _R.BREAK_GLASS: Reach.REGION,
        _R.SEE_CONSENT: Reach.TREATED,
    },
    Role.PHYSICIAN: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_LINKS: Reach.REGION,
        _R.SEE_VITALS: Reach.TREATED,
        _R.SEE_RECORD: Reach.TREATED,
        _R.SEE_REFERRALS: Reach.REGION,
        _R.SEE_DEVICES: Reach.REGION,
        _R.ENTER_VITALS: Reach.TREATED,
        _R.ACT_ON_ALARM: Reach.REGION,
        _R.CHANGE_PLAN: Reach.REGION,
        _R.TRIAGE: Reach.REGION,
        _R.JOIN_CONSULT: Reach.REGION,
        _R.START_CONSULT: Reach.REGION,
        _R.BREAK_GLASS: Reach.REGION,
        _R.SEE_CONSENT: Reach.TREATED,
        _R.CHANGE_CONSENT: Reach.TREATED,
        _R.EXPORT_PERSON: Reach.TREATED,
    },
    Role.OPERATOR: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_LINKS: Reach.REGION,
        _R.SEE_DEVICES: Reach.REGION,
        _R.ACT_ON_ALARM: Reach.TECHNICAL,
        _R.MANAGE_DISPLAYS: Reach.REGION,
        _R.MANAGE_NODES: Reach.REGION,
    },
    Role.SITE_ADMIN: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_LINKS: Reach.SITE,
        _R.SEE_DEVICES: Reach.SITE,
        _R.MANAGE_PEOPLE: Reach.SITE,
        _R.READ_AUDIT: Reach.SITE,
        _R.REVIEW_GLASS: Reach.SITE,
    },
    Role.SYS_ADMIN: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_LINKS: Reach.REGION,
        _R.SEE_DEVICES: Reach.REGION,
        _R.MANAGE_PEOPLE: Reach.REGION,
    },
    Role.RESEARCHER: {_R.SIGNED_IN: Reach.SELF},
    Role.AUDITOR: {_R.SIGNED_IN: Reach.SELF, _R.READ_AUDIT: Reach.REGION, _R.REVIEW_GLASS: Reach.REGION},
    # A program has what its scopes name, and of that only what is listed here: in this form it only reads.
    Role.PROGRAM: {
        _R.SIGNED_IN: Reach.SELF,
        _R.SEE_LINKS: Reach.REGION,
        _R.SEE_VITALS: Reach.REGION,
        _R.SEE_RECORD: Reach.REGION,
        _R.SEE_REFERRALS: Reach.REGION,
        _R.SEE_DEVICES: Reach.REGION,
        _R.READ_AUDIT: Reach.REGION,
        _R.SEE_CONSENT: Reach.REGION,
    },
    Role.DISPLAY: {_R.SIGNED_IN: Reach.SELF, _R.SEE_LINKS: Reach.SITE, _R.SEE_VITALS: Reach.SITE},
}

MACHINES = frozenset({Role.PROGRAM, Role.DISPLAY})
"""Roles that are no person's: nobody signs in with them on a page."""

OWN_ONLY = frozenset({Role.CAREGIVER, Role.CARE_WORKER})
"""Roles that see no more than persons they are related to."""
REGIONAL = frozenset({Role.PHYSICIAN, Role.NURSE, Role.OPERATOR, Role.SYS_ADMIN, Role.AUDITOR, Role.PROGRAM})
"""Roles for which an account without sites serves the whole region; for any other it serves none."""
ELSEWHERE = frozenset({Role.PHYSICIAN, Role.NURSE, Role.PROGRAM})
"""Roles outside of a person's own site, who are not shown whoever said no to that."""
AT_BEDSIDE = frozenset({Role.PHYSICIAN, Role.CLINIC, Role.CARE_WORKER, Role.CAREGIVER})
"""Roles that may sign in at a bedside page with the hub gone."""


def reach(role: str, right: Right) -> Reach | None:
    """Return how far a role may use a right; None where it may not, or where there is no such role."""
    try:
        return GRANTS[Role(role)].get(right)
    except ValueError:
        return None
