"""From what stands now to the next steps of the alarms: pure.  One row for each (bed, condition, person).

An alarm keeps the person it was raised for (decision 2): when another one comes into the bed, a physiological alarm
ends or stays latched under the first, and what the rules find from then on is a new alarm.  Equipment has no person.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from edge_node.alarms import machine
from edge_node.errors import NotFound
from edge_node.samples.alarm import Alarm, Ask, Finding, Phase, State, Step, Who
from edge_node.samples.identifiers import uuid7

NS = 1_000_000_000
UPDATE_EVERY_S = 10
RESTATE_EVERY_S = 12 * 3600
"""An alarm that is not over says so at least this often: a restart reads back no more than two days."""
KEEP_ENDED_S = 24 * 3600
"""Ended alarms are kept this long for the screens; answered ones KEEP_ANSWERED_S."""
KEEP_ANSWERED_S = 3600
_ENDED = frozenset({State.CLEARED})
Slot = tuple[str, str, str]


@dataclass(slots=True)
class Conversations:
    """The alarms of this node."""

    ruleset_id: str
    ruleset_version: str
    alarms: dict[str, Alarm] = field(default_factory=dict)
    _slots: dict[Slot, str] = field(default_factory=dict)

    def restore(self, alarms: Mapping[str, Alarm]) -> None:
        """Take what the log of steps describes."""
        self.alarms = dict(alarms)
        self._slots = {
            _slot(alarm.finding, alarm.person_id): alarm.alarm_id
            for alarm in alarms.values()
            if alarm.state not in _ENDED
        }

    def standing_at(self, bed: str) -> list[Alarm]:
        """Return the alarms at a bed that are not over."""
        return [self.alarms[alarm_id] for (at, *_), alarm_id in self._slots.items() if at == bed]

    def reconcile(self, bed: str, findings: Iterable[Finding], person_id: str, now_ns: int) -> list[Alarm]:
        """Bring the alarms of a bed in line with what stands there; return those that moved."""
        wanted = {_slot(finding, person_id): finding for finding in _worst(findings).values()}
        over = [row for row in self.standing_at(bed) if row.stands and _slot(row.finding, row.person_id) not in wanted]
        moved = [self._step(alarm, Phase.END, alarm.finding, person_id, now_ns) for alarm in over]
        for slot, finding in wanted.items():
            alarm = self.alarms.get(self._slots.get(slot, ""))
            phase = _next_phase(alarm, finding, now_ns)
            if phase is not None:
                moved.append(self._step(alarm, phase, finding, person_id, now_ns))
        latched = [row for row in self.standing_at(bed) if row.state is State.LATCHED and _is_long_unsaid(row, now_ns)]
        moved += [self._step(row, Phase.END, row.finding, person_id, now_ns) for row in latched]
        return moved

    def ask(self, alarm_id: str, ask: Ask, who: Who, *, home: bool, now_ns: int, cause_event_id: str = "") -> Alarm:
        """Do what a person asks of an alarm.

        Raises:
            NotFound: there is no such alarm here.
            StepRefused: not possible in its present state.
        """
        alarm = self.alarms.get(alarm_id)
        if alarm is None:
            raise NotFound(f"alarm {alarm_id} is not known here")
        phase = machine.phase_of(ask.action)
        machine.demand_current(alarm, ask)
        step = self._make(alarm, phase, alarm.finding, now_ns)
        until_ns = machine.pause_until_ns(ask, home, now_ns) if phase is Phase.AUDIO_PAUSED else 0
        step = replace(
            step, who=who, note=ask.text, useful=ask.useful, until_ns=until_ns, cause_event_id=cause_event_id
        )
        return self._keep(machine.apply(alarm, step))

    def end_pauses(self, now_ns: int) -> list[Alarm]:
        """Bring the sound back where a pause is over."""
        due = [alarm for alarm in self.alarms.values() if _pause_is_over(alarm, now_ns)]
        return [self._step(alarm, Phase.AUDIO_RESUMED, alarm.finding, alarm.person_id, now_ns) for alarm in due]

    def clock_set(self, by_ns: int) -> None:
        """The wall clock was set: a pause still ends when its time is over."""
        for alarm in [row for row in self.alarms.values() if row.paused_until_ns is not None]:
            self.alarms[alarm.alarm_id] = replace(alarm, paused_until_ns=(alarm.paused_until_ns or 0) + by_ns)

    def forget_old(self, now_ns: int) -> None:
        """Drop ended alarms that no screen shows any more."""
        for alarm in [row for row in self.alarms.values() if row.state in _ENDED]:
            keep_s = KEEP_ENDED_S if alarm.wants_attention else KEEP_ANSWERED_S
            if now_ns - alarm.steps[-1].at_ns > keep_s * NS:
                del self.alarms[alarm.alarm_id]

    def _step(self, alarm: Alarm | None, phase: Phase, finding: Finding, person_id: str, now_ns: int) -> Alarm:
        step = self._make(alarm, phase, finding, now_ns)
        if alarm is None:
            step = replace(step, person_id=person_id)
        return self._keep(machine.apply(alarm, step))

    def _make(self, alarm: Alarm | None, phase: Phase, finding: Finding, now_ns: int) -> Step:
        return Step(
            alarm_id=alarm.alarm_id if alarm is not None else uuid7(now_ns),
            seq=alarm.seq + 1 if alarm is not None else 1,
            phase=phase,
            at_ns=now_ns,
            finding=finding,
            person_id=alarm.person_id if alarm is not None else "",
            ruleset_id=self.ruleset_id,
            ruleset_version=self.ruleset_version,
        )

    def _keep(self, alarm: Alarm) -> Alarm:
        self.alarms[alarm.alarm_id] = alarm
        slot = _slot(alarm.finding, alarm.person_id)
        if alarm.state in _ENDED:
            if self._slots.get(slot) == alarm.alarm_id:
                del self._slots[slot]
        else:
            self._slots[slot] = alarm.alarm_id
        return alarm


def _slot(finding: Finding, person_id: str) -> Slot:
    return finding.bed, finding.condition, "" if finding.technical else person_id


def _worst(findings: Iterable[Finding]) -> dict[str, Finding]:
    worst: dict[str, Finding] = {}
    for finding in findings:
        before = worst.get(finding.condition)
        if before is None or finding.priority > before.priority:
            worst[finding.condition] = finding
    return worst


def _next_phase(alarm: Alarm | None, finding: Finding, now_ns: int) -> Phase | None:
    if alarm is None or alarm.state is State.LATCHED:
        return Phase.START
    if finding.priority > alarm.finding.priority:
        return Phase.ESCALATE
    if finding.priority < alarm.finding.priority:
        return Phase.DEESCALATE
    if finding.latching and not alarm.finding.latching:
        return Phase.UPDATE
    spoke_ns = max(step.at_ns for step in alarm.steps if step.who is None)
    changed = (finding.value, finding.limit) != (alarm.finding.value, alarm.finding.limit)
    is_due = not 0 <= now_ns - spoke_ns < UPDATE_EVERY_S * NS
    return Phase.UPDATE if (changed and is_due) or _is_long_unsaid(alarm, now_ns) else None


def _is_long_unsaid(alarm: Alarm, now_ns: int) -> bool:
    return now_ns - alarm.steps[-1].at_ns >= RESTATE_EVERY_S * NS


def _pause_is_over(alarm: Alarm, now_ns: int) -> bool:
    until_ns = alarm.paused_until_ns
    return alarm.state is State.AUDIO_PAUSED and until_ns is not None and now_ns >= until_ns
