"""AuditEvent resources from entries of the audit trails, after the patterns of IHE BALP (clinical 9.7).  Pure."""

from dataclasses import dataclass
from datetime import timedelta

from cloud_hub.access.rights import READ, READ_UNDER_BROKEN_GLASS
from cloud_hub.fhir import parameters
from cloud_hub.fhir.json_text import Json
from cloud_hub.fhir.observation import instant
from cloud_hub.fhir.parameters import Token
from cloud_hub.store.audit_search import HUB, PATIENT, Event

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
RESTFUL = "http://hl7.org/fhir/restful-interaction"
ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACTION = "urn:yuanzhen:audit-action"
USER = "urn:yuanzhen:user"
ROLE_OF_USER = "urn:yuanzhen:role"
TRAIL = "urn:yuanzhen:audit-trail"
SUCCESS, REFUSED = "0", "4"
_NO_REFUSALS = frozenset({READ, READ_UNDER_BROKEN_GLASS, "first", "another", "standing", "no-room", "damaged", "begun"})
_HASH_AS_RESULT = frozenset({"edge-head"})
HASH_SHOWN_CHARS = 8


@dataclass(frozen=True, slots=True)
class Kind:
    """What an action is in the words of the standards."""

    system: str
    code: str
    display: str
    letter: str
    """C, R, U, D or E."""
    subtypes: tuple[tuple[str, str, str], ...] = ()


_LOGIN = Kind(DICOM, "110114", "User Authentication", "E", ((DICOM, "110122", "Login"),))
_LOGOUT = Kind(DICOM, "110114", "User Authentication", "E", ((DICOM, "110123", "Logout"),))
_START = Kind(DICOM, "110100", "Application Activity", "E", ((DICOM, "110120", "Application Start"),))
_STOP = Kind(DICOM, "110100", "Application Activity", "E", ((DICOM, "110121", "Application Stop"),))
_APPLICATION = Kind(DICOM, "110100", "Application Activity", "E")
_READ = Kind(EVENT_TYPE, "rest", "RESTful Operation", "R", ((RESTFUL, "read", "read"),))
_VIEW = Kind(DICOM, "110110", "Patient Record", "R")
_RECORD = Kind(DICOM, "110110", "Patient Record", "U")
_USED = Kind(DICOM, "110101", "Audit Log Used", "R")
_SECURITY = Kind(DICOM, "110113", "Security Alert", "E")
_DESTROYED = Kind(LIFECYCLE, "destroy", "Destroy/Delete Record Lifecycle Event", "D")
KINDS: dict[str, Kind] = {
    "labels-export": Kind(DICOM, "110106", "Export", "R"),
    "patient-export": Kind(DICOM, "110106", "Export", "R"),
    "sign-in": _LOGIN,
    "sign-out": _LOGOUT,
    "code-issued": _LOGIN,
    "token-issued": _LOGIN,
    "start": _START,
    "stop": _STOP,
    "config-reload": _APPLICATION,
    "patient-read": _READ,
    "observation-read": _READ,
    "images-read": _READ,
    "imagingstudy-read": _READ,
    "diagnosticreport-read": _READ,
    "images-search": _VIEW,
    "images-store": _RECORD,
    "archive-search": _VIEW,
    "archive-fetch": _RECORD,
    "live-view": _VIEW,
    "trend-read": _VIEW,
    "referral-read": _VIEW,
    "study-read": _VIEW,
    "audit-read": _USED,
    "shed": _DESTROYED,
}
_ABOUT_CARE = ("alarm-", "referral-", "consult-", "observation-", "study-")


def kind_of(action: str) -> Kind:
    """Return what an action is in the words of the standards: whatever is not about care is a matter of security."""
    found = KINDS.get(action)
    if found is not None:
        return found
    return _RECORD if action.startswith(_ABOUT_CARE) else _SECURITY


def actions_of(token: Token) -> frozenset[str]:
    """Return the actions that have a subtype: the one of that name, and those that a standard's code stands for."""
    by_code = {action for action, kind in KINDS.items() if any(token.fits((one[0], one[1])) for one in kind.subtypes)}
    return frozenset(by_code | ({token.code} if token.fits((ACTION, token.code)) else set()))


def outcome_of(event: Event) -> str:
    """Return the code of what came of it."""
    entry = event.entry
    is_well = entry.result in _NO_REFUSALS or entry.action in _HASH_AS_RESULT
    return SUCCESS if is_well else REFUSED


def id_of(event: Event) -> str:
    """Return the id: which trail, which number, and the beginning of its hash."""
    shown = event.hash[:HASH_SHOWN_CHARS]
    return f"h-{event.n}-{shown}" if event.trail == HUB else f"e-{event.trail}-{event.n}-{shown}"


def place_of(fhir_id: str) -> tuple[str, int, str] | None:
    """Return trail, number and beginning of the hash that an id names; None where it is no id of ours."""
    parts = fhir_id.split("-")
    if parts[0] == "h":
        parts.insert(1, HUB)
    is_ours = len(parts) == 4 and parts[0] in ("h", "e") and (parts[0] == "h" or parts[1] != HUB)
    n = parameters.whole(parts[2]) if is_ours else None
    if n is None or len(parts[3]) != HASH_SHOWN_CHARS:
        return None
    return parts[1], n, parts[3]


def compose(event: Event, utc_offset: timedelta) -> dict[str, Json]:
    """Return the AuditEvent of an entry."""
    entry, kind = event.entry, kind_of(event.entry.action)
    subtypes: list[Json] = [{"system": system, "code": code, "display": text} for system, code, text in kind.subtypes]
    subtypes.append({"system": ACTION, "code": entry.action})
    observer = event.node or f"hub/{entry.region}"
    resource: dict[str, Json] = {
        "resourceType": "AuditEvent",
        "id": id_of(event),
        "type": {"system": kind.system, "code": kind.code, "display": kind.display},
        "subtype": subtypes,
        "action": kind.letter,
        "recorded": instant(entry.at_ns, utc_offset),
        "outcome": outcome_of(event),
        "outcomeDesc": entry.result,
        "agent": [_agent(event)],
        "source": {
            "observer": {"display": observer},
            "type": [{"system": SOURCE_TYPE, "code": "3" if event.trail == HUB else "1"}],
        },
        "entity": _entities(event),
    }
    if entry.site:
        resource["source"]["site"] = entry.site  # type: ignore[index]
    if entry.action.startswith("break-glass") or entry.result == READ_UNDER_BROKEN_GLASS:
        resource["purposeOfEvent"] = [{"coding": [{"system": REASON, "code": "BTG"}]}]
    return resource


def _agent(event: Event) -> Json:
    entry = event.entry
    agent: dict[str, Json] = {
        "who": {"identifier": {"system": USER, "value": entry.actor or "unknown"}, "display": entry.actor or "unknown"},
        "altId": entry.actor or "unknown",
        "requestor": True,
    }
    if entry.role:
        agent["role"] = [{"coding": [{"system": ROLE_OF_USER, "code": entry.role}]}]
    return agent


def _entities(event: Event) -> list[Json]:
    target, found = event.entry.target, list[Json]()
    if target.startswith(PATIENT):
        found.append(
            {
                "what": {"reference": target},
                "type": {"system": ENTITY_TYPE, "code": "1", "display": "Person"},
                "role": {"system": ROLE, "code": "1", "display": "Patient"},
            }
        )
    elif target:
        found.append(
            {
                "what": {"identifier": {"system": ACTION, "value": target}},
                "type": {"system": ENTITY_TYPE, "code": "2", "display": "System Object"},
            }
        )
    place = f"{event.trail or 'hub'}/{event.n}/{event.hash}"
    found.append(
        {
            "what": {"identifier": {"system": TRAIL, "value": place}},
            "type": {"system": ENTITY_TYPE, "code": "2", "display": "System Object"},
            "role": {"system": ROLE, "code": "13", "display": "Security Resource"},
        }
    )
    return found
