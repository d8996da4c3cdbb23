"""From what the hub knows to what a screen shows (`telemed.screen`): pure."""

from telemed import screen
from telemed.conditions import alarm_text
from telemed.measures import MEASURES
from telemed.screen import Text2
from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub.care import alarms, referral
from cloud_hub.care.alarms import Alarm
from cloud_hub.care.places import age_years
from cloud_hub.care.referral import Referral
from cloud_hub.store.persons import Person

NS_PER_MS = 10**6
PRIORITY_NAMES = {
    alarm_pb2.PRIORITY_LOW: "low",
    alarm_pb2.PRIORITY_MEDIUM: "medium",
    alarm_pb2.PRIORITY_HIGH: "high",
}
PHASE_NAMES = {
    number: name.removeprefix("PHASE_").lower().replace("_", "-") for name, number in alarm_pb2.Phase.items()
}
"""Names of the steps as the screens know them: start, escalate, ..., seen, accepted, audio-paused."""
_ASKED_PHASES = {"accept": "accepted", "seen": "seen", "pause": "audio-paused", "resolve": "resolved", "reset": "reset"}


def bed_key(site: str, bed: str) -> str:
    """Key of a bed on screens; that of a site's own alarms has no bed."""
    return f"{site}:{bed}"


def ms(unix_ns: int) -> int:
    """Milliseconds since the epoch."""
    return unix_ns // NS_PER_MS


def ms_or_none(unix_ns: int | None) -> int | None:
    """Milliseconds since the epoch; None where there is no time (None or 0)."""
    return ms(unix_ns) if unix_ns else None


def actor_text(actor: event_pb2.Actor | None) -> Text2 | None:
    """Name of who acted; None where nobody did."""
    if actor is None or not (actor.username or actor.name_zh or actor.name_en):
        return None
    return Text2(zh=actor.name_zh or actor.username, en=actor.name_en or actor.username)


def patient_view(person: Person, now_ns: int) -> screen.Patient:
    """A person as those who care for them see them."""
    return screen.Patient(
        person_id=person.person_id,
        name=f"{person.family_name}{person.given_name}",
        name_en=person.name_en,
        gender=person.gender,
        age_years=age_years(person.birth_date, now_ns),
        birth_date=person.birth_date,
        identifiers=[value for _, value in person.identifiers],
        allergies=person.allergies,
        note=person.note,
        calls=person.caregiver_calls,
    )


def alarm_view(alarm: Alarm, now_ns: int) -> screen.Alarm:
    """An alarm with its conversation; what the edge has not confirmed yet is in it and marked."""
    newest = alarm.newest
    zh, en = alarm_text(newest.condition, newest.measure, newest.value, newest.limit)
    if newest.text_zh and newest.text_en:
        zh, en = newest.text_zh, newest.text_en
    pending = None if alarm.accepted is not None else alarm.pending_accept
    accepted_ns = alarm.accepted.at_unix_ns if alarm.accepted else pending.at_ns if pending else None
    return screen.Alarm(
        alarm_id=alarm.alarm_id,
        bed_key=bed_key(alarm.site, alarm.first.bed),
        site=alarm.site,
        priority=PRIORITY_NAMES.get(newest.priority, "low"),
        condition=newest.condition,
        technical=newest.technical,
        measure=newest.measure,
        value=newest.value,
        unit=newest.unit,
        limit=newest.limit,
        text=Text2(zh=zh, en=en),
        onset_ms=ms(alarm.first.onset_unix_ns),
        active=alarm.is_active,
        latched=alarm.is_latched,
        accepted_by=actor_text(alarm.acceptor),
        accepted_at_ms=ms_or_none(accepted_ns),
        seen_by=_seen_by(alarm),
        audio_paused_until_ms=ms(alarm.paused_until_ns) if alarm.paused_until_ns > now_ns else None,
        resolved=alarm.is_resolved,
        late=alarm.is_late,
        bedside_knows=pending is None,
        steps=_steps(alarm),
        escalates_at_ms=ms_or_none(alarms.escalates_ns(alarm, now_ns)),
        ruleset=f"{newest.ruleset_id} {newest.ruleset_version}".strip(),
    )


def reduced_alarm(view: screen.Alarm) -> screen.Alarm:
    """An alarm as a caregiver sees it: that it is there, how urgent, and its words."""
    return view.model_copy(
        update={
            "measure": "",
            "value": "",
            "unit": "",
            "limit": "",
            "seen_by": None,
            "steps": [],
            "ruleset": "",
            "escalates_at_ms": None,
        }
    )


def referral_view(current: Referral, site: str, person: Person | None, now_ns: int) -> screen.Referral:
    """A referral with its clocks; `allowed` lists what is legal, whoever may do it."""
    body = current.submitted
    clocks = referral.clocks(current)
    return screen.Referral(
        referral_id=current.referral_id,
        site=site,
        bed_key=bed_key(site, body.bed),
        patient=patient_view(person, now_ns) if person else None,
        state=current.state,
        level=current.level,
        level_claim=body.level_claim,
        version=current.version,
        authored_at_ms=ms(current.authored_ns),
        received_at_ms=ms(current.received_ns),
        last_known_well_ms=ms_or_none(body.last_known_well_unix_ns),
        last_known_well_code=body.last_known_well_code or "unknown",
        main_signs=list(body.main_signs),
        anticoagulant=body.anticoagulant or "unknown",
        callback=body.callback,
        question=body.question,
        readings=[_referral_reading(one, current.received_ns) for one in body.readings],
        news2_total=body.news2_total if body.news2_known else None,
        news2_complete=body.news2_complete,
        offline=body.offline,
        deadline_ms=ms_or_none(clocks.deadline_ns),
        escalates_at_ms=ms_or_none(clocks.escalates_ns),
        owner=current.owner,
        moves=[_move(move) for move in current.moves],
        allowed=[str(state) for state in referral.allowed(current)],
        sync="at-hub",
    )


def _seen_by(alarm: Alarm) -> Text2 | None:
    if alarm.seen is not None:
        return actor_text(alarm.seen.actor)
    return next((actor_text(asked.actor) for asked in alarm.asked if asked.action == "seen"), None)


def _steps(alarm: Alarm) -> list[screen.AlarmStep]:
    steps = [
        screen.AlarmStep(
            phase=PHASE_NAMES.get(step.phase, "unknown"),
            at_ms=ms(step.at_unix_ns),
            who=actor_text(step.actor),
            note=step.note,
        )
        for step in alarm.steps
        if step.phase != alarm_pb2.PHASE_UPDATE
    ]
    # "Delivered" is the hub's own knowledge: when the first step arrived here.
    steps.append(screen.AlarmStep(phase="delivered", at_ms=ms(alarm.first_received_ns), who=None, note=""))
    for asked in alarm.asked:
        phase = _ASKED_PHASES.get(asked.action, asked.action)
        who = actor_text(asked.actor)
        steps.append(screen.AlarmStep(phase=phase, at_ms=ms(asked.at_ns), who=who, note=asked.text))
    return sorted(steps, key=lambda step: step.at_ms)


def _move(move: referral.Move) -> screen.ReferralMove:
    who = actor_text(move.actor) or Text2(zh="系统", en="System")
    return screen.ReferralMove(
        state=move.state, at_ms=ms(move.at_ns), who=who, text=move.text, level=move.level, refused=move.refused
    )


def _referral_reading(reading: event_pb2.ReferralReading, received_ns: int) -> screen.Reading:
    row = MEASURES.get(reading.measure)
    return screen.Reading(
        measure=reading.measure,
        value=reading.value or None,
        unit=reading.unit,
        measured_at_ms=ms(reading.measured_at_unix_ns),
        arrived_at_ms=ms(received_ns),
        quality="valid",
        origin="live",
        stale_after_s=row.stale_after_s if row else 300,
    )
