"""Consent for each purpose (clinical 9.4): who may record and withdraw it, and what a person's events make of it.

One aggregate a person and purpose.  Giving must have seen the version before it; a withdrawal counts whatever its
author had seen, so that nobody's "no" is lost between two sites that could not hear each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from telemed.errors import Code
from telemed.roles import Role
from telemed.v1 import event_pb2

AGGREGATE = "consent"
TEXT_VERSION = "2026-11"
"""Version of the wording on the screens; it stands in every consent that is recorded there."""


class Purpose(StrEnum):
    """What is agreed to, by the codes of clinical 9.4."""

    CARE = "C1"  # care and remote monitoring
    SHARING = "C2"  # shown to the hub and to other institutions
    VIDEO = "C3"  # consult by video
    RECORDING = "C4"  # recording of a consult
    FAMILY = "C5"  # access of one person of the family
    HOME_CAMERA = "C6"  # camera or position at home, for a time
    RESEARCH = "C7"  # research and retraining on de-identified data
    ABROAD = "C8"  # data across the border
    VISITOR = "C9"  # short consent of a visitor


P = Purpose
NAMED = frozenset({P.FAMILY})
"""Given to one person by name, for each anew."""
TIMED = frozenset({P.HOME_CAMERA, P.VISITOR})
"""Given for a time only."""
GIVERS = ("self", "guardian")
METHODS = ("signature", "verbal", "paper")
_STAFF = frozenset({Role.CLINIC, Role.PHYSICIAN})
GIVEN_BY: dict[Purpose, frozenset[Role]] = dict.fromkeys(Purpose, _STAFF)
"""Who may record that a person agreed: whoever explained it."""
WITHDRAWN_BY: dict[Purpose, frozenset[Role]] = {
    purpose: _STAFF | {Role.CAREGIVER}
    if purpose in (P.RECORDING, P.FAMILY, P.HOME_CAMERA, P.RESEARCH, P.ABROAD)
    else _STAFF
    for purpose in Purpose
}
"""Who may record a withdrawal.  What ends care itself is talked over with a doctor; the rest ends from a phone."""


@dataclass(frozen=True, slots=True)
class Grant:
    """One consent that was given and not withdrawn."""

    grantee: str
    """To whom, where the purpose is somebody's access; else empty."""
    since_ns: int
    until_ns: int
    """When it ends by itself; 0 = when it is withdrawn."""
    giver: str
    giver_name: str
    method: str
    author: event_pb2.Actor

    def holds(self, now_ns: int) -> bool:
        """True until its end."""
        return not self.until_ns or now_ns < self.until_ns


@dataclass(frozen=True, slots=True)
class Step:
    """One event of a consent, as it stands in the log or waits to."""

    event: event_pb2.Event
    version: int = 0
    """After it; of one that waits it is not known yet."""
    refused: str = ""
    is_pending: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a person stands on one purpose, after its events."""

    version: int = 0
    grants: tuple[Grant, ...] = ()
    ended_ns: int = 0
    """When it was last withdrawn; 0 = never."""
    refused: str = ""
    """Why the newest step was refused; empty where it was taken."""
    is_pending: bool = False

    def permits(self, now_ns: int, grantee: str = "") -> bool:
        """True where the person agrees now; for access, to this one's."""
        return any(one.grantee == grantee and one.holds(now_ns) for one in self.grants)


def aggregate_id(person_id: str, purpose: str) -> str:
    """Return the id of the aggregate of one person's consent to one purpose."""
    return f"{person_id}/{purpose}"


def fold(steps: Iterable[Step]) -> Standing:
    """Return where the steps, in their order, leave a person."""
    standing = Standing()
    for step in steps:
        standing = after(standing, step)
    return standing


def after(standing: Standing, step: Step) -> Standing:
    """Return where one more step leaves a person."""
    event = step.event
    if step.refused:
        return replace(standing, refused=step.refused)
    version = standing.version + 1 if step.is_pending else step.version
    kept = replace(standing, version=version, refused="", is_pending=step.is_pending)
    if event.WhichOneof("body") == "consent_withdrawn":
        gone = grantee_of(event.consent_withdrawn)
        left = tuple(one for one in standing.grants if gone and one.grantee != gone)
        return replace(kept, grants=left, ended_ns=event.at_unix_ns)
    body = event.consent_given
    others = tuple(one for one in standing.grants if one.grantee != grantee_of(body))
    return replace(kept, grants=(*others, _grant(event)))


def judge(event: event_pb2.Event) -> Code | None:
    """Return why a step may not be taken whoever was first, None where it may: its form, and its author's role."""
    body = event.consent_given if event.WhichOneof("body") == "consent_given" else event.consent_withdrawn
    is_known = body.purpose in Purpose.__members__.values()
    if not is_known or not body.person_id or event.aggregate_id != aggregate_id(body.person_id, body.purpose):
        return Code.REFUSED_UNKNOWN_AGGREGATE
    purpose = Purpose(body.purpose)
    if isinstance(body, event_pb2.ConsentWithdrawn):
        return None if event.actor.role in WITHDRAWN_BY[purpose] else Code.REFUSED_RIGHTS
    if lacking(body):
        return Code.REFUSED_ILLEGAL_STATE
    # A node says what its site holds on paper, as it says who was admitted there.
    is_paper = event.actor.role == "node" and body.method == "paper"
    return None if is_paper or event.actor.role in GIVEN_BY[purpose] else Code.REFUSED_RIGHTS


def grantee_of(body: event_pb2.ConsentGiven | event_pb2.ConsentWithdrawn) -> str:
    """Return whose access a step is about; empty where the purpose names nobody, whatever name was sent along."""
    return body.grantee if body.purpose in NAMED else ""


def lacking(body: event_pb2.ConsentGiven) -> list[str]:
    """Names of the fields that are not as the purpose needs them."""
    wrong = []
    if bool(body.grantee) is not (body.purpose in NAMED):
        wrong.append("grantee")
    if bool(body.until_unix_ns) is not (body.purpose in TIMED):
        wrong.append("until_ms")
    if body.giver not in GIVERS:
        wrong.append("giver")
    if body.giver == "guardian" and not body.giver_name.strip():
        wrong.append("giver_name")
    if body.method not in METHODS:
        wrong.append("method")
    return wrong


def _grant(event: event_pb2.Event) -> Grant:
    body = event.consent_given
    return Grant(
        grantee=grantee_of(body),
        since_ns=event.at_unix_ns,
        until_ns=body.until_unix_ns,
        giver=body.giver,
        giver_name=body.giver_name,
        method=body.method,
        author=event.actor,
    )
