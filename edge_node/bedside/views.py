"""From what the node knows to what a screen shows (`telemed.screen`): pure."""

from collections.abc import Iterable
from datetime import date

from telemed import screen
from telemed.measures import MEASURES

from edge_node.bedside.ports import AlarmWords, Surroundings
from edge_node.config import EdgeConfig
from edge_node.samples.alarm import Alarm, Phase, State, Step, Who
from edge_node.samples.current import BedNow, Held
from edge_node.samples.measurement import Quality, WaveformSet
from edge_node.samples.roster import Person
from edge_node.samples.score import News2

MS = 1_000_000
NS = 1_000_000_000
WAVE_SHOWN_S = 60
ACVPU_STALE_HOME_S = 12 * 3600
_NO_VALUE = frozenset({Quality.MISSING, Quality.RETRACTED})
_PHASES = {Phase.ACCEPTED: "accepted", Phase.SEEN: "seen", Phase.START: "start", Phase.RESOLVED: "resolved"}


def key_of(site: str, bed: str) -> str:
    """Key of a bed on every screen."""
    return f"{site}:{bed}"


def text2(who: Who) -> screen.Text2:
    """A person's name in both languages."""
    return screen.Text2(zh=who.name_zh or who.username, en=who.name_en or who.username)


def reading(held: Held, words: AlarmWords, home: bool) -> screen.Reading:
    """One value with its age, quality and limits."""
    measure = held.value.measure
    low, high = words.limits_of(measure)
    row = MEASURES.get(measure)
    stale_after_s = row.stale_after_s if row is not None else 300
    if home and measure == "acvpu":
        stale_after_s = ACVPU_STALE_HOME_S
    return screen.Reading(
        measure=measure,
        value=None if held.value.quality in _NO_VALUE else held.value.value,
        unit=held.value.unit,
        measured_at_ms=held.measured_at_ns // MS,
        arrived_at_ms=held.arrived_at_ns // MS,
        quality=held.value.quality.value,
        origin=held.origin.value,
        stale_after_s=stale_after_s,
        clock_suspect=held.clock_suspect,
        limit_low=low,
        limit_high=high,
    )


def news2(score: News2 | None) -> screen.News2 | None:
    """The early warning score with its seven parts."""
    if score is None:
        return None
    return screen.News2(
        total=score.total,
        complete=score.complete,
        single_three=score.single_three,
        risk=score.risk,
        scale=score.scale,
        parts=[
            screen.News2Part(
                part=part.part.value,
                value=part.sign.value if part.sign is not None else None,
                measured_at_ms=part.sign.measured_at_ns // MS if part.sign is not None else None,
                points=part.points,
            )
            for part in score.parts
        ],
        refused=score.refused,
        at_ms=score.at_ns // MS,
    )


def patient(person: Person | None, today: date) -> screen.Patient | None:
    """Who lies in a bed."""
    if person is None:
        return None
    facts = person.facts
    return screen.Patient(
        person_id=person.person_id,
        name=person.name,
        name_en=facts.name_en,
        gender=facts.gender,
        age_years=person.age_years(today),
        birth_date=facts.birth_date,
        identifiers=list(person.identifiers),
        allergies=facts.allergies,
        note=facts.note,
        calls=facts.caregiver_calls,
    )


def readings(now: BedNow, words: AlarmWords, home: bool, measures: Iterable[str] | None = None) -> list[screen.Reading]:
    """The newest values of a bed, or those of some measures alone."""
    names = now.held if measures is None else measures
    return [reading(now.held[name], words, home) for name in names if name in now.held]


def bed(around: Surroundings, bed_code: str) -> screen.Bed:
    """One bed or spot with everything that is known of it now."""
    config = around.config
    now = around.ward.bed(bed_code)
    spot = next(row for row in config.beds if row.bed == bed_code)
    since_ns = around.clock() - WAVE_SHOWN_S * NS
    return screen.Bed(
        key=key_of(config.node.site, bed_code),
        site=config.node.site,
        bed=bed_code,
        label=spot.label,
        patient=patient(around.care.roster.occupant(bed_code), today(around)),
        devices=[row.device for row in config.devices if row.bed == bed_code and row.family != "camera"],
        has_camera=has_camera(config, bed_code),
        readings=readings(now, around.words, config.node.home),
        news2=news2(around.ward.score(bed_code)),
        waves=sorted(name for name, seen_ns in now.waves_seen_ns.items() if seen_ns >= since_ns),
        not_live=now.not_live,
        unassigned=now.unassigned,
    )


def today(around: Surroundings) -> date:
    """The site's calendar day."""
    return date.fromtimestamp(around.clock() / NS)  # noqa: DTZ012 - the site's own day


def has_camera(config: EdgeConfig, bed_code: str) -> bool:
    """True where a consult at this bed has a picture."""
    own = any(row.family == "camera" and row.bed == bed_code for row in config.devices)
    return own or config.consult.camera is not None


def alarm(row: Alarm, words: AlarmWords, site: str) -> screen.Alarm:
    """One alarm with its conversation."""
    found = row.finding
    zh, en = words.text_of(row)
    escalates_ns = words.escalates_at_ns(row)
    return screen.Alarm(
        alarm_id=row.alarm_id,
        bed_key=key_of(site, found.bed),
        site=site,
        priority=found.priority.name.lower(),
        condition=found.condition,
        technical=found.technical,
        measure=found.measure,
        value=found.value,
        unit=found.unit,
        limit=found.limit,
        text=screen.Text2(zh=zh, en=en),
        onset_ms=found.onset_ns // MS,
        active=row.stands,
        latched=row.state is State.LATCHED,
        accepted_by=text2(row.accepted_by) if row.accepted_by is not None else None,
        accepted_at_ms=row.accepted_at_ns // MS if row.accepted_at_ns is not None else None,
        seen_by=text2(row.seen_by) if row.seen_by is not None else None,
        audio_paused_until_ms=row.paused_until_ns // MS if row.paused_until_ns else None,
        resolved=row.resolved,
        late=row.late,
        steps=[_step(step) for step in row.steps if step.phase is not Phase.UPDATE],
        escalates_at_ms=escalates_ns // MS if escalates_ns is not None else None,
        ruleset=f"{row.steps[0].ruleset_id} {row.steps[0].ruleset_version}",
    )


def _step(step: Step) -> screen.AlarmStep:
    phase = _PHASES.get(step.phase, step.phase.name.lower().replace("_", "-"))
    who = text2(step.who) if step.who is not None else None
    return screen.AlarmStep(phase=phase, at_ms=step.at_ns // MS, who=who, note=step.note)


def wave(bed_key: str, sample: WaveformSet) -> screen.WaveMessage:
    """One stretch of the waves of a bed."""
    channels = []
    for channel in sample.channels:
        invalid = set(channel.invalid_digits)
        digits = [None if digit in invalid else digit for digit in channel.digits.tolist()]
        channels.append(
            screen.WaveChannel(
                measure=channel.measure,
                label=channel.label,
                rate_hz=channel.rate_hz,
                start_ms=sample.measured_at_ns / MS,
                gain=channel.gain,
                baseline=channel.baseline,
                unit=channel.unit,
                digits=digits,
            )
        )
    return screen.WaveMessage(bed_key=bed_key, channels=channels)


def me(who: Who, sites: list[str], csrf_token: str) -> screen.Me:
    """Who is signed in."""
    return screen.Me(username=who.username, role=who.role, name=text2(who), sites=sites, csrf_token=csrf_token)
