"""Stays, referrals, consents, alarms and waves as R4 resources, for a person's own copy of the record.  Pure."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import accumulate

from telemed.consent import Grant, Purpose, Standing
from telemed.measures import WAVES
from telemed.referral import State
from telemed.v1 import alarm_pb2, sample_pb2

from cloud_hub.care.alarms import Alarm
from cloud_hub.care.places import Stay
from cloud_hub.care.referral import Referral
from cloud_hub.fhir import codes
from cloud_hub.fhir.json_text import Json
from cloud_hub.fhir.observation import Setting, Source, instant

UTC = timedelta(0)
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONSENT_SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"
PURPOSE = "urn:yuanzhen:consent-purpose"
CONSENT_METHOD = "urn:yuanzhen:consent-method"
PATIENT_CONSENT = "59284-0"
"""LOINC, of the categories that R4 proposes."""
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_REASONS = {Purpose.CARE: "TREAT", Purpose.SHARING: "TREAT", Purpose.VIDEO: "TREAT", Purpose.RESEARCH: "HRESCH"}
"""Purposes of use by HL7 where one fits; the others bear our own code alone."""
ALARM_STEP = "urn:yuanzhen:alarm-step"
_CLASS = {"HOMEWARD": "HH", "ACUTE": "ACUTE", "VISITOR": "AMB"}
_PRIORITY = {"T0": "stat", "T1": "asap", "T2": "urgent"}
_REVOKED = frozenset({State.CANCELLED, State.EXPIRED, State.DECLINED, State.NO_SHOW, State.REDIRECTED})
_PHASES = {number: name.removeprefix("PHASE_").lower() for name, number in alarm_pb2.Phase.items()}


def encounter(stay: Stay, number: int) -> dict[str, Json]:
    """Return a stay in a bed; `number` tells those of one person apart."""
    period = {"start": instant(stay.from_ns, UTC)}
    if stay.to_ns is not None:
        period["end"] = instant(stay.to_ns, UTC)
    return {
        "resourceType": "Encounter",
        "id": f"{stay.person_id}-{number}"[:64],
        "status": "in-progress" if stay.to_ns is None else "finished",
        "class": {"system": ACT_CODE, "code": _CLASS.get(stay.episode_class, "IMP")},
        "subject": _subject(stay.person_id),
        "period": period,
        "location": [{"location": {"display": f"{stay.site}:{stay.bed}"}}],
    }


def service_request(referral: Referral, site: str) -> dict[str, Json]:
    """Return a referral with all its steps, refused ones named as such."""
    body = referral.submitted
    is_over = referral.state in (State.CLOSED, State.DECEASED)
    notes = [
        f"{instant(move.at_ns, UTC)} {move.state} {move.actor.username} {move.text} {move.refused}".strip()
        for move in referral.moves
    ]
    found: dict[str, Json] = {
        "resourceType": "ServiceRequest",
        "id": referral.referral_id,
        "status": "revoked" if referral.state in _REVOKED else "completed" if is_over else "active",
        "intent": "order",
        "priority": _PRIORITY.get(referral.level, "routine"),
        "code": {"text": f"转诊 Referral {referral.level} {referral.state}"},
        "subject": _subject(body.person_id),
        "authoredOn": instant(referral.authored_ns, UTC),
        "requester": {"display": f"{site}: {referral.author.name_zh or referral.author.username}"},
        "note": [{"text": text} for text in notes],
    }
    reasons = [*body.main_signs, *([body.question] if body.question.strip() else [])]
    return found | ({"reasonCode": [{"text": text} for text in reasons]} if reasons else {})


@dataclass(frozen=True, slots=True)
class FoundConsent:
    """A consent as R4 writes it, and what it is searched by."""

    fhir_id: str
    categories: tuple[codes.Coding, ...]
    status: str
    at_ns: int
    """When it was given or ended; 0 = not known."""
    resource: dict[str, Json]


def consent(person_id: str, purpose: Purpose, standing: Standing, now_ns: int) -> list[FoundConsent]:
    """Return where a person stands on a purpose: one resource for each consent that holds, or one "no"."""
    holding = [one for one in standing.grants if one.holds(now_ns)]
    if holding:
        return [
            _consent(person_id, purpose, ("active", one.since_ns), _given(person_id, one), one.grantee)
            for one in holding
        ]
    if not standing.version:
        return []
    ended_ns = max([standing.ended_ns, *(one.until_ns for one in standing.grants)])
    return [_consent(person_id, purpose, ("inactive", ended_ns), {"provision": {"type": "deny"}})]


def flag(alarm: Alarm) -> dict[str, Json]:
    """Return an alarm with its conversation: who was told, who took it, what they said."""
    first = alarm.first
    period = {"start": instant(first.onset_unix_ns or first.at_unix_ns, UTC)}
    if not alarm.is_active:
        period["end"] = instant(alarm.steps[-1].at_unix_ns, UTC)
    words = f"{first.text_zh} {first.text_en}".strip() or first.condition
    return {
        "resourceType": "Flag",
        "id": alarm.alarm_id,
        "extension": [{"url": ALARM_STEP, "valueString": _step(one)} for one in alarm.steps],
        "status": "active" if alarm.is_active else "inactive",
        "code": codes.concept([(f"{codes.LOCAL}:alarm", first.condition)], words),
        "subject": _subject(first.person_id),
        "period": period,
    }


def wave(source: Source, number: int, sample: sample_pb2.WaveformSet, setting: Setting) -> dict[str, Json]:
    """Return a stretch of waves; `number` tells those of one stream apart.  Missing samples are "E", as R4 has it."""
    found: dict[str, Json] = {
        "resourceType": "Observation",
        "id": f"w-{source.stream_id:x}-{sample.measured_at_unix_ns // 10**6:x}-{number:x}",
        "status": "final",
        "category": [{"coding": [{"system": codes.CATEGORY, "code": "procedure"}]}],
        "code": codes.concept([(codes.LOCAL, "waveform")], "波形 Waveform"),
        "effectiveDateTime": instant(sample.measured_at_unix_ns, setting.utc_offset),
        "component": [_channel(one) for one in sample.channels if one.gain and one.rate_mhz and one.deltas],
    }
    return found | ({"subject": _subject(setting.person_id)} if setting.person_id else {})


def _channel(channel: sample_pb2.Channel) -> Json:
    row = WAVES.get(channel.measure)
    coded = [(codes.MDC, str(row.mdc[0]))] if row is not None and row.mdc else [(codes.LOCAL, channel.measure)]
    invalid = set(channel.invalid_digits)
    digits = ("E" if digit in invalid else str(digit) for digit in accumulate(channel.deltas))
    gain, baseline = Decimal(repr(channel.gain)), Decimal(repr(channel.baseline))
    origin: dict[str, Json] = {"value": _round(-baseline / gain)}
    if channel.unit:
        origin |= {"unit": channel.unit, "system": codes.UCUM, "code": channel.unit}
    return {
        "code": codes.concept(coded, channel.label or channel.measure),
        "valueSampledData": {
            "origin": origin,
            "period": _round(Decimal(10**6) / channel.rate_mhz),
            "factor": _round(1 / gain),
            "dimensions": 1,
            "data": " ".join(digits),
        },
    }


def _round(number: Decimal) -> Decimal:
    """Twelve significant digits: more than any converter has."""
    return Decimal(f"{number:.12g}")


def _consent(
    person_id: str, purpose: Purpose, state: tuple[str, int], said: dict[str, dict[str, Json]], grantee: str = ""
) -> FoundConsent:
    """Return a consent of which status and time are known, and what was said of it."""
    status, at_ns = state
    fhir_id, own = _consent_id(person_id, purpose, grantee), (PURPOSE, purpose.value)
    categories = ((codes.LOINC, PATIENT_CONSENT), own)
    reasons = [own, *([(ACT_REASON, _REASONS[purpose])] if purpose in _REASONS else [])]
    scope = "research" if purpose is Purpose.RESEARCH else "patient-privacy"
    found: dict[str, Json] = {
        "resourceType": "Consent",
        "id": fhir_id,
        "status": status,
        "scope": {"coding": [{"system": CONSENT_SCOPE, "code": scope}]},
        "category": [{"coding": [_coding(one)]} for one in categories],
        "patient": _subject(person_id),
        **({"dateTime": instant(at_ns, UTC)} if at_ns else {}),
        **said.get("who", {}),
        "policyRule": {"text": f"telemed.consent {purpose.value}"},
        "provision": said["provision"] | {"purpose": [_coding(one) for one in reasons]},
    }
    return FoundConsent(fhir_id, categories, status, at_ns, found)


def _consent_id(person_id: str, purpose: Purpose, grantee: str) -> str:
    """Return the id of a person's consent to a purpose; whose access it is does not stand in it by name."""
    # An id must not move to another consent when one of several ends.
    whose = f"-{hashlib.sha256(grantee.encode()).hexdigest()[:8]}" if grantee else ""
    return f"{person_id}-{purpose}{whose}"[:64]


def _given(person_id: str, grant: Grant) -> dict[str, dict[str, Json]]:
    """Return who gave a consent and how, and what it permits."""
    provision: dict[str, Json] = {"type": "permit", "period": _lasting(grant)}
    if grant.grantee:
        role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
        provision["actor"] = [{"role": role, "reference": {"display": grant.grantee}}]
    giver: Json = {"display": grant.giver_name} if grant.giver == "guardian" else _subject(person_id)
    who: dict[str, Json] = {
        "extension": [{"url": CONSENT_METHOD, "valueCode": grant.method}],
        "performer": [giver],
        # Whoever recorded it had explained it to them.
        "verification": [
            {"verified": True, "verifiedWith": giver, "verificationDate": instant(grant.since_ns, UTC)},
        ],
    }
    return {"who": who, "provision": provision}


def _coding(found: codes.Coding) -> Json:
    return {"system": found[0], "code": found[1]}


def _lasting(grant: Grant) -> dict[str, str]:
    found = {"start": instant(grant.since_ns, UTC)}
    return found | ({"end": instant(grant.until_ns, UTC)} if grant.until_ns else {})


def _step(event: alarm_pb2.AlarmEvent) -> str:
    who = event.actor.name_zh or event.actor.username
    return " ".join(part for part in (instant(event.at_unix_ns, UTC), _PHASES[event.phase], who, event.note) if part)


def _subject(person_id: str) -> dict[str, Json]:
    return {"reference": f"Patient/{person_id}"}
