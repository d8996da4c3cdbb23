"""Observations, composed from stored numeric sets (clinical 1.4; decisions 30, 31, 32).  Pure.

One Observation per value, except blood pressure: one panel with components.  The values of a panel share
their time.  Times are nanoseconds since the Unix epoch.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from telemed.measures import CODED, MEASURES, is_number
from telemed.v1 import sample_pb2

from cloud_hub.fhir import codes
from cloud_hub.fhir.codes import PANEL_OF, Coding, Panel
from cloud_hub.fhir.json_text import Json

NS_PER_MS = 1_000_000
_ABSENT = {sample_pb2.QUALITY_IMPLAUSIBLE: "error", sample_pb2.QUALITY_MISSING: "unknown"}
_QUALITY = {
    sample_pb2.QUALITY_VALID: "valid",
    sample_pb2.QUALITY_QUESTIONABLE: "questionable",
    sample_pb2.QUALITY_IMPLAUSIBLE: "implausible",
    sample_pb2.QUALITY_MISSING: "missing",
    sample_pb2.QUALITY_RETRACTED: "retracted",
}
_WORST_FIRST = ("retracted", "missing", "implausible", "questionable", "valid")
_ORIGIN_TAG = {sample_pb2.ORIGIN_TEST: "test", sample_pb2.ORIGIN_REPLAY: "replay", sample_pb2.ORIGIN_MANUAL: "manual"}
_STATUS = {"R": "preliminary", "F": "final", "C": "corrected", "W": "entered-in-error", "D": "entered-in-error"}
NOT_FILED = (sample_pb2.ORIGIN_TEST, sample_pb2.ORIGIN_REPLAY)
"""Origins that are never filed under a person (decision 21)."""


@dataclass(frozen=True, slots=True)
class Source:
    """The device that measured, at its node."""

    stream_id: int
    site: str
    node: str
    device: str

    @property
    def uid(self) -> str:
        """Name of the device that never changes within the hub."""
        return f"{self.site}/{self.node}/{self.device}"


@dataclass(frozen=True, slots=True)
class Draft:
    """What will be one Observation: a value, or the values of a panel, with their time."""

    source: Source
    panel: Panel | None
    values: tuple[sample_pb2.NumericValue, ...]
    """In the order of the panel; exactly one without a panel."""
    effective_ns: int
    received_ns: int
    origin: "sample_pb2.Origin.ValueType"
    is_unassigned: bool
    clock_suspect: bool
    record_no: str
    """Number of the record where the device has such; empty for a monitor, which may send a value again."""
    moved_ns: int = 0
    """By how much the hub has corrected `effective_ns`, because the node's clock was wrong."""

    @property
    def key(self) -> str:
        """Measure, or the key of the panel."""
        return self.panel.key if self.panel else self.values[0].measure

    @property
    def codings(self) -> list[Coding]:
        """Codings of the whole Observation; those of components are not among them."""
        if self.panel:
            return codes.panel_codings(self.panel)
        return codes.codings(self.values[0].measure, self.values[0].mdc)

    @property
    def all_codings(self) -> set[Coding]:
        """Codings of the whole and of its components."""
        return {*self.codings, *(one for value in self.values for one in codes.codings(value.measure, value.mdc))}

    @property
    def fhir_id(self) -> str:
        """Id: where to look (stream and time) and the hash of the observation key of clinical 1.4."""
        raw = "/".join(value.raw_value or value.value for value in self.values)
        effective_ms = self.effective_ns // NS_PER_MS
        mdc = self.codings[-1][1]
        key = "|".join((self.source.uid, mdc, str(effective_ms), raw, self.record_no))
        return f"{self.source.stream_id:x}-{effective_ms:x}-{hashlib.sha256(key.encode()).hexdigest()[:40]}"


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known around an Observation when it is composed."""

    person_id: str | None
    """Who lay there then; None where nobody did or it is not to be filed."""
    device_id: str | None
    """FHIR id of the Device; None where no node has described it."""
    utc_offset: timedelta
    is_demo: bool = False


def locate(fhir_id: str) -> tuple[int, int]:
    """Return the stream and the effective time that an id points at.

    Raises:
        ValueError: no id of ours.
    """
    stream, effective_ms, digest = fhir_id.split("-")
    if len(digest) != 40 or len(stream) > 16 or len(effective_ms) > 12:
        raise ValueError("no id of ours")
    return int(stream, 16), int(effective_ms, 16) * NS_PER_MS


def drafts(source: Source, sample: sample_pb2.NumericSet, received_ns: int) -> list[Draft]:
    """Return what will be the Observations of one numeric set, in the order of its values."""
    found: dict[tuple[str, int], list[sample_pb2.NumericValue]] = {}
    for value in sample.values:
        if value.measure not in MEASURES:
            continue
        panel = PANEL_OF.get(value.measure)
        at_ns = value.measured_at_unix_ns or sample.measured_at_unix_ns
        found.setdefault((panel.key if panel else value.measure, at_ns), []).append(value)
    record_no = sample.source_ref if sample.origin == sample_pb2.ORIGIN_REPLAY else ""
    return [
        Draft(
            source=source,
            panel=(panel := PANEL_OF.get(values[0].measure)),
            values=tuple(sorted(values, key=lambda one: panel.members.index(one.measure))) if panel else (values[-1],),
            effective_ns=at_ns,
            received_ns=received_ns,
            origin=sample.origin,
            is_unassigned=sample.assignment == sample_pb2.ASSIGNMENT_UNASSIGNED,
            clock_suspect=sample.clock_suspect,
            record_no=record_no,
        )
        for (_key, at_ns), values in found.items()
    ]


def compose(draft: Draft, setting: Setting) -> dict[str, Json]:
    """Return the Observation."""
    resource: dict[str, Json] = {
        "resourceType": "Observation",
        "id": draft.fhir_id,
        "meta": _meta(draft, setting),
        "extension": [_gateway(draft.source)],
        "status": _status(draft),
        "category": [{"coding": [{"system": codes.CATEGORY, "code": codes.VITAL_SIGNS}]}],
        "code": codes.concept(draft.codings, _text(draft)),
    }
    if setting.person_id:
        resource["subject"] = {"reference": f"Patient/{setting.person_id}"}
    resource["effectiveDateTime"] = instant(draft.effective_ns, setting.utc_offset)
    resource["issued"] = instant(draft.received_ns, setting.utc_offset)
    resource["device"] = (
        {"reference": f"Device/{setting.device_id}"}
        if setting.device_id
        else {"identifier": {"system": codes.LOCAL_DEVICE, "value": draft.source.uid}}
    )
    if draft.moved_ns:
        said = instant(draft.effective_ns - draft.moved_ns, setting.utc_offset)
        resource["note"] = [{"text": f"effectiveDateTime: corrected by the hub; the node's clock said {said}"}]
    if draft.panel:
        resource["component"] = _components(draft, draft.panel)
    else:
        resource |= _value(draft.values[0])
    return resource


def instant(at_ns: int, utc_offset: timedelta) -> str:
    """Return an ISO 8601 time with offset; milliseconds only where there are any."""
    whole_s, rest_ns = divmod(at_ns, 1_000_000_000)
    at = datetime.fromtimestamp(whole_s, UTC).astimezone(timezone(utc_offset))
    text = at.strftime("%Y-%m-%dT%H:%M:%S")
    millis = rest_ns // NS_PER_MS
    return text + (f".{millis:03d}" if millis else "") + at.isoformat()[-6:]


def _meta(draft: Draft, setting: Setting) -> Json:
    qualities = {_QUALITY.get(value.quality, "questionable") for value in draft.values}
    tags = [next(one for one in _WORST_FIRST if one in qualities)]
    if draft.origin in _ORIGIN_TAG:
        tags.append(_ORIGIN_TAG[draft.origin])
    if draft.is_unassigned:
        tags.append("unassigned")
    if draft.clock_suspect:
        tags.append("clock-suspect")
    if setting.is_demo:
        tags.append("demo")
    meta: dict[str, Json] = {
        "lastUpdated": instant(draft.received_ns, timedelta(0)),
        "tag": [{"system": codes.TAGS, "code": tag} for tag in tags],
    }
    if setting.person_id and draft.key in codes.PROFILES and _has_what_the_profile_asks(draft):
        meta["profile"] = [f"http://hl7.org/fhir/StructureDefinition/{codes.PROFILES[draft.key]}"]
    return meta


def _has_what_the_profile_asks(draft: Draft) -> bool:
    """True where a panel has both pressures; R4's profile of blood pressure demands them."""
    return draft.panel is None or {value.measure for value in draft.values} >= set(draft.panel.members[:2])


def _gateway(source: Source) -> Json:
    identifier = {"system": codes.LOCAL_NODE, "value": f"{source.site}/{source.node}"}
    return {"url": codes.GATEWAY, "valueReference": {"identifier": identifier}}


def _status(draft: Draft) -> str:
    """Status by OBX-11 (decision 32); the weakest of a panel's, and never final for what is not believed."""
    if any(value.quality == sample_pb2.QUALITY_RETRACTED for value in draft.values):
        return "entered-in-error"
    found = {_STATUS.get(value.status, "preliminary") for value in draft.values}
    if any(value.quality == sample_pb2.QUALITY_IMPLAUSIBLE for value in draft.values) and found <= {"final"}:
        return "preliminary"
    return next(one for one in ("entered-in-error", "preliminary", "corrected", "final") if one in found)


def _text(draft: Draft) -> str:
    if draft.panel:
        return draft.panel.text
    row = MEASURES[draft.values[0].measure]
    return f"{row.zh} {row.en}"


def _components(draft: Draft, panel: Panel) -> Json:
    """Return the components; a missing one of the two pressures is named as missing."""
    present = {value.measure: value for value in draft.values}
    found: list[Json] = []
    for measure in panel.members:
        value = present.get(measure)
        row = MEASURES[measure]
        code = codes.concept(codes.codings(measure, value.mdc if value else 0), f"{row.zh} {row.en}")
        if value is not None:
            found.append({"code": code, **_value(value)})
        elif measure in panel.members[:2]:
            found.append({"code": code, "dataAbsentReason": _absent("unknown")})
    return found


def _value(value: sample_pb2.NumericValue) -> dict[str, Json]:
    """Return value[x], or why there is none: never both (R4 invariant obs-6)."""
    reason = _ABSENT.get(value.quality)
    if value.value and value.measure not in CODED and not is_number(value.value):
        reason = "error"
    if reason or not value.value:
        absent: dict[str, Json] = {"dataAbsentReason": _absent(reason or "unknown")}
        if value.value:
            sent = f"{value.raw_value or value.value} {value.raw_unit or value.unit}"
            absent["extension"] = [{"url": codes.RAW_VALUE, "valueString": sent}]
        return absent
    if value.measure in CODED:
        return {"valueCodeableConcept": codes.concept([(f"{codes.LOCAL}:{value.measure}", value.value)], value.value)}
    quantity: dict[str, Json] = {
        "value": Decimal(value.value),
        "unit": codes.UNIT_TEXT.get(value.unit, value.unit),
        "system": codes.UCUM,
        "code": value.unit,
    }
    if value.raw_unit and value.raw_unit != value.unit:
        raw = f"{value.raw_value or value.value} {value.raw_unit}"
        quantity["extension"] = [{"url": codes.RAW_VALUE, "valueString": raw}]
    return {"valueQuantity": quantity}


def _absent(reason: str) -> Json:
    return {"coding": [{"system": codes.ABSENT, "code": reason}]}
