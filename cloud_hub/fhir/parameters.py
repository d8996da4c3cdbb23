"""Search parameters: the table of what is supported, and strict reading of them (R4 3.1.1).  Pure.

`SEARCH` is the one truth: the routes accept exactly what stands there, and the CapabilityStatement is made of it.
"""

import base64
import binascii
import calendar
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from cloud_hub.errors import BadRequest
from cloud_hub.fhir.codes import Coding

COUNT_DEFAULT, COUNT_LIMIT = 50, 200
NS_PER_S = 1_000_000_000
FAR_NS = 1 << 62
LARGEST = 2**63 - 1
PAGING = ("_count", "_cursor", "_format", "_pretty")
"""Parameters about the answer, not about what is looked for; accepted everywhere."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter as the CapabilityStatement names it."""

    name: str
    type: str
    text: str


SEARCH: dict[str, tuple[Parameter, ...]] = {
    "Patient": (
        Parameter("_id", "token", "id of the person"),
        Parameter("identifier", "token", "value, or system|value; a bare authority counts as system"),
        Parameter("name", "string", "beginning of family name, given name or full name, in either language"),
        Parameter("birthdate", "date", "eq, ne, gt, ge, lt, le; a year or month means all of it"),
        Parameter("_lastUpdated", "date", "when the site last reported a change"),
    ),
    "Observation": (
        Parameter("_id", "token", "id of the observation"),
        Parameter("patient", "reference", "Patient/id or id"),
        Parameter("subject", "reference", "as patient"),
        Parameter("code", "token", "LOINC or IEEE 11073 code of the whole observation"),
        Parameter("combo-code", "token", "as code, also of the components"),
        Parameter("category", "token", "vital-signs"),
        Parameter("date", "date", "effective time; eq, ne, gt, ge, lt, le, sa, eb"),
        Parameter("device", "reference", "Device/id or id"),
        Parameter("_lastUpdated", "date", "when the hub received it"),
    ),
    "Device": (
        Parameter("_id", "token", "id of the device"),
        Parameter("identifier", "token", "EUI-64 or site/node/device"),
    ),
    "Consent": (
        Parameter("_id", "token", "id of the consent"),
        Parameter("patient", "reference", "Patient/id or id; 50 at most"),
        Parameter("status", "token", "active, or inactive where the person took it back or its time is over"),
        Parameter("category", "token", "C1 to C9, with or without urn:yuanzhen:consent-purpose"),
        Parameter("date", "date", "when it was given or ended; eq, ne, gt, ge, lt, le, sa, eb"),
    ),
    "ImagingStudy": (
        Parameter("_id", "token", "id of the study"),
        Parameter("identifier", "token", "Study Instance UID, bare or as urn:oid:, system urn:dicom:uid"),
        Parameter("patient", "reference", "Patient/id or id"),
        Parameter("subject", "reference", "as patient"),
        Parameter("started", "date", "when the study began, by the region's clocks; eq, ne, gt, ge, lt, le, sa, eb"),
        Parameter("modality", "token", "a modality of one of its series, e.g. CT"),
        Parameter("_lastUpdated", "date", "when something was last added to it"),
    ),
    "DiagnosticReport": (
        Parameter("_id", "token", "id of the report"),
        Parameter("identifier", "token", "SOP Instance UID of the report, bare or as urn:oid:, system urn:dicom:uid"),
        Parameter("patient", "reference", "Patient/id or id"),
        Parameter("subject", "reference", "as patient"),
        Parameter("status", "token", "preliminary, final, amended or cancelled"),
    ),
    "AuditEvent": (
        Parameter("_id", "token", "id of the event"),
        Parameter("date", "date", "when it happened; eq, ne, gt, ge, lt, le, sa, eb"),
        Parameter("patient", "reference", "Patient/id or id: who looked at, or did something to, this person"),
        Parameter("entity", "reference", "what it was about: Patient/id or id, as patient"),
        Parameter("agent", "reference", "Practitioner/name or name: the login name of who did it, or the node"),
        Parameter("altid", "token", "login name of who did it, or name of the node"),
        Parameter("type", "token", "code of the kind of event"),
        Parameter("subtype", "token", "name of the action, e.g. live-view"),
        Parameter("outcome", "token", "0 success, 4 refused"),
    ),
}

Values = Sequence[tuple[str, str]]
"""Parameters as they stand in the query, repeated ones too."""


@dataclass(frozen=True, slots=True)
class Span:
    """Instants from `from_ns` to before `to_ns`; `is_excluded` turns it round (prefix ne)."""

    from_ns: int
    to_ns: int
    is_excluded: bool = False

    def holds(self, at_ns: int) -> bool:
        """True where the instant matches."""
        return (self.from_ns <= at_ns < self.to_ns) != self.is_excluded


@dataclass(frozen=True, slots=True)
class Token:
    """A token parameter; None = any system."""

    system: str | None
    code: str

    def fits(self, coding: Coding) -> bool:
        """True where the coding has this code and, if one is named, this system."""
        return self.code == coding[1] and self.system in (None, coding[0])


def check(resource: str, values: Values) -> None:
    """Pass where every parameter is known, without modifier, and not empty.

    Raises:
        BadRequest: with the names of those that are not.
    """
    known = {one.name for one in SEARCH[resource]} | set(PAGING)
    unknown = sorted({name for name, _ in values if name not in known})
    if unknown:
        raise BadRequest(f"{resource} has no search parameter {', '.join(unknown)} here", unknown)
    empty = sorted({name for name, value in values if not value.strip()})
    if empty:
        raise BadRequest(f"without a value: {', '.join(empty)}", empty)
    for name, value in values:
        if name == "_format" and value not in ("json", "application/json", "application/fhir+json"):
            raise BadRequest("only application/fhir+json is offered", ["_format"])


def all_of(values: Values, name: str) -> list[str]:
    """Return the values of a parameter, in order; several are to be met together."""
    return [value for key, value in values if key == name]


def count(values: Values) -> int:
    """Return how many entries a page may have; over COUNT_LIMIT it is COUNT_LIMIT.

    Raises:
        BadRequest: not a positive whole number of at most nine digits.
    """
    found = all_of(values, "_count")
    if not found:
        return COUNT_DEFAULT
    if len(found) > 1 or not re.fullmatch(r"[1-9]\d{0,8}", found[0]):
        raise BadRequest("_count is a whole number over 0", ["_count"])
    return min(int(found[0]), COUNT_LIMIT)


def tokens(values: Values, name: str) -> list[list[Token]]:
    """Return the alternatives (comma) of each occurrence of a token parameter."""
    return [[_token(part, name) for part in value.split(",")] for value in all_of(values, name)]


def references(values: Values, names: Iterable[str], kind: str) -> list[set[str]]:
    """Return the ids that each occurrence of a reference parameter allows.

    Raises:
        BadRequest: a reference to another kind, or no id.
    """
    found = []
    for name in names:
        for value in all_of(values, name):
            ids = {part.removeprefix(f"{kind}/") for part in value.split(",")}
            if not all(re.fullmatch(r"[A-Za-z0-9.\-]{1,64}", one) for one in ids):
                raise BadRequest(f"{name} is {kind}/id", [name])
            found.append(ids)
    return found


def spans(values: Values, name: str, utc_offset: timedelta) -> list[Span]:
    """Return the spans that each occurrence of a date parameter names.

    Raises:
        BadRequest: not a date, or a prefix that is not offered.
    """
    return [_span(value, name, utc_offset) for value in all_of(values, name)]


def bounds(found: Iterable[Span]) -> tuple[int, int]:
    """Return the stretch outside which no instant can meet all spans."""
    from_ns, to_ns = 0, FAR_NS
    for span in found:
        if not span.is_excluded:
            from_ns, to_ns = max(from_ns, span.from_ns), min(to_ns, span.to_ns)
    return from_ns, to_ns


def cursor(values: Values, parts: int) -> tuple[str, ...] | None:
    """Return the position at which a page goes on; None for the first page.

    Raises:
        BadRequest: not one of ours.
    """
    found = all_of(values, "_cursor")
    if not found:
        return None
    try:
        text = base64.urlsafe_b64decode(found[0].encode() + b"=" * (-len(found[0]) % 4)).decode()
    except (binascii.Error, UnicodeError) as error:
        raise BadRequest("the page link is damaged", ["_cursor"]) from error
    if len(found) > 1 or len(position := tuple(text.split("|"))) != parts:
        raise BadRequest("the page link is damaged", ["_cursor"])
    return position


def number_cursor(values: Values, parts: int) -> tuple[int, ...] | None:
    """Return as `cursor` does, for positions made of whole numbers.

    Raises:
        BadRequest: not one of ours.
    """
    position = cursor(values, parts)
    if position is None:
        return None
    if not all(re.fullmatch(r"\d{1,19}", part) and int(part) < FAR_NS for part in position):
        raise BadRequest("the page link is damaged", ["_cursor"])
    return tuple(map(int, position))


def whole(text: str) -> int | None:
    """Return the number that digits mean; None where it is none, or more than a database can hold."""
    found = int(text) if re.fullmatch(r"[0-9]{1,19}", text) else LARGEST + 1
    return found if found <= LARGEST else None


def write_cursor(*parts: object) -> str:
    """Return a position as `cursor` reads it."""
    return base64.urlsafe_b64encode("|".join(map(str, parts)).encode()).rstrip(b"=").decode()


def _token(text: str, name: str) -> Token:
    system, bar, code = text.rpartition("|")
    if not code or len(text) > 200:
        raise BadRequest(f"{name} is code, or system|code", [name])
    return Token(system if bar else None, code)


_DATE = re.compile(
    r"(eq|ne|gt|ge|lt|le|sa|eb)?(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?"
    r"(Z|[+\- ]\d\d:\d\d)?)?)?)?"
)


def _span(text: str, name: str, utc_offset: timedelta) -> Span:
    match = _DATE.fullmatch(text)
    if match is None:
        raise BadRequest(f"{name}: not a date of FHIR with prefix eq, ne, gt, ge, lt, le, sa or eb", [name])
    try:
        # Ends of time beyond what a database can compare are as good as the ends of what it can.
        from_ns, to_ns = (max(-FAR_NS, min(ns, FAR_NS)) for ns in _stretch(match, utc_offset))
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name}: no such date", [name]) from error
    match match[1] or "eq":
        case "eq":
            return Span(from_ns, to_ns)
        case "ne":
            return Span(from_ns, to_ns, is_excluded=True)
        case "gt" | "sa":
            return Span(to_ns, FAR_NS)
        case "ge":
            return Span(from_ns, FAR_NS)
        case "lt" | "eb":
            return Span(-FAR_NS, from_ns)
        case _:
            return Span(-FAR_NS, to_ns)


def _stretch(match: re.Match[str], utc_offset: timedelta) -> tuple[int, int]:
    """Return the first instant of a date of any precision and the first one after it."""
    year, month, day = int(match[2]), int(match[3] or 1), int(match[4] or 1)
    zone = _zone(match[9], utc_offset)
    begin = datetime(year, month, day, int(match[5] or 0), int(match[6] or 0), int(match[7] or 0), tzinfo=zone)
    if not match[3]:
        length = timedelta(days=366 if calendar.isleap(year) else 365)
    elif not match[4]:
        length = timedelta(days=calendar.monthrange(year, month)[1])
    elif not match[5]:
        length = timedelta(days=1)
    else:
        length = timedelta(seconds=1) if match[7] else timedelta(minutes=1)
    fraction = match[8] or ""
    from_ns = (begin - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * NS_PER_S
    if fraction:
        from_ns += int(fraction.ljust(9, "0"))
        return from_ns, from_ns + 10 ** (9 - len(fraction))
    return from_ns, from_ns + int(length.total_seconds()) * NS_PER_S


def _zone(text: str | None, utc_offset: timedelta) -> timezone:
    if text is None:
        return timezone(utc_offset)
    if text == "Z":
        return UTC
    # A plus sign that nobody escaped arrives as a space.
    sign = -1 if text[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(text[1:3]), minutes=int(text[4:6])))
