"""An alarm as the fold of its steps (clinical 2.4, 2.5); the edge that raised it owns it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from telemed.v1 import alarm_pb2, event_pb2

RUNGS_S: dict[int, tuple[int, ...]] = {
    alarm_pb2.PRIORITY_HIGH: (60, 120, 180, 300),
    alarm_pb2.PRIORITY_MEDIUM: (300, 900, 1800),
}
"""Seconds after it took its present priority at which the next person is told, until one accepts (clinical 2.5)."""
_RAISING = frozenset({alarm_pb2.PHASE_START, alarm_pb2.PHASE_ESCALATE})
LATE_AFTER_S = 60
"""A first step that arrives later than this after it was made is marked as arrived late."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A step that a person at the hub asked for and the edge has not confirmed yet."""

    event_id: str
    action: str
    actor: event_pb2.Actor
    at_ns: int
    text: str
    alarm_seq: int = 0
    """Last step that the hub had then; 0 = not told."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """The present of one alarm, with the conversation that led there."""

    alarm_id: str
    region: str
    site: str
    node: str
    first: alarm_pb2.AlarmEvent
    newest: alarm_pb2.AlarmEvent
    """Step that carries the present value, priority and limit."""
    steps: tuple[alarm_pb2.AlarmEvent, ...]
    first_received_ns: int
    is_active: bool
    is_latched: bool
    is_resolved: bool
    accepted: alarm_pb2.AlarmEvent | None
    seen: alarm_pb2.AlarmEvent | None
    paused_until_ns: int
    asked: tuple[Asked, ...] = ()

    @property
    def is_late(self) -> bool:
        """True where the alarm reached the hub so late that nobody is called for it anew."""
        return self.newest.late or self.first_received_ns - self.first.at_unix_ns > LATE_AFTER_S * 10**9

    @property
    def pending_accept(self) -> Asked | None:
        """The acceptance at the hub that the edge has not confirmed yet."""
        # What was accepted before it became worse has to be accepted anew; the edge judges the same way.
        worse_seq = max((step.alarm_seq for step in self.steps[1:] if step.phase in _RAISING), default=0)
        accepts = (asked for asked in self.asked if asked.action == "accept")
        return next((asked for asked in accepts if not worse_seq or asked.alarm_seq >= worse_seq), None)

    @property
    def acceptor(self) -> event_pb2.Actor | None:
        """Who has it: as the edge says, else who asked for it at the hub first."""
        if self.accepted is not None:
            return self.accepted.actor
        pending = self.pending_accept
        return pending.actor if pending else None

    @property
    def wants_attention(self) -> bool:
        """True until nobody owes this alarm anything: it stands, is latched, or ended with nobody having it."""
        unanswered = self.acceptor is None and not self.is_resolved
        return self.is_active or self.is_latched or (unanswered and not self.first.technical)


def begin(address: tuple[str, str, str], event: alarm_pb2.AlarmEvent, received_ns: int) -> Alarm:
    """Return the alarm that its first known step makes; `address` is region, site, node."""
    alarm = Alarm(event.alarm_id, *address, event, event, (), received_ns, True, False, False, None, None, 0)
    return after(alarm, event)


def fold(address: tuple[str, str, str], steps: Sequence[tuple[alarm_pb2.AlarmEvent, int]]) -> Alarm:
    """Return the alarm of these steps, each with its time of receipt, in the order of `alarm_seq`; at least one."""
    alarm = begin(address, *steps[0])
    for event, _ in steps[1:]:
        alarm = after(alarm, event)
    return alarm


def after(alarm: Alarm, event: alarm_pb2.AlarmEvent) -> Alarm:
    """Return the alarm after one more step; a step that is known already changes nothing.

    What the edge says is not judged here: it owns the alarm, and a hub that refused its steps would show less
    than the bedside does.
    """
    if any(step.alarm_seq == event.alarm_seq for step in alarm.steps):
        return alarm
    asked = tuple(one for one in alarm.asked if one.event_id != event.cause_event_id)
    if alarm.steps and event.alarm_seq > alarm.steps[-1].alarm_seq:
        return _stepped(replace(alarm, steps=_with(alarm.steps, event), asked=asked), event)
    steps = tuple(sorted((*alarm.steps, event), key=lambda step: step.alarm_seq))
    # A step that arrives out of order changes the past, so everything is folded anew.
    blank = replace(
        alarm,
        first=steps[0],
        newest=steps[0],
        steps=steps,
        asked=asked,
        is_active=True,
        is_latched=False,
        is_resolved=False,
        accepted=None,
        seen=None,
        paused_until_ns=0,
    )
    for step in steps:
        blank = _stepped(blank, step)
    return blank


def with_asked(alarm: Alarm, asked: Iterable[Asked]) -> Alarm:
    """Return the alarm with what was asked at the hub, less what the edge has confirmed."""
    done = {step.cause_event_id for step in alarm.steps}
    known = {one.event_id for one in alarm.asked}
    new = tuple(one for one in asked if one.event_id not in done and one.event_id not in known)
    return replace(alarm, asked=(*alarm.asked, *new))


def asked_by(event: event_pb2.Event) -> Asked:
    """Return what an alarm_action event of the hub's log asks for."""
    body = event.alarm_action
    return Asked(event.event_id, body.action, event.actor, event.at_unix_ns, body.text, body.alarm_seq)


def escalates_ns(alarm: Alarm, now_ns: int) -> int | None:
    """When the next person is told; None where somebody has it, it is over, or no rung is left."""
    if alarm.acceptor is not None or alarm.is_resolved or not alarm.is_active or alarm.is_late:
        return None
    # The clock starts anew when it becomes worse: somebody else may be needed then.
    raised_ns = max((step.at_unix_ns for step in alarm.steps if step.phase in _RAISING), default=alarm.first.at_unix_ns)
    rungs = (raised_ns + rung_s * 10**9 for rung_s in RUNGS_S.get(alarm.newest.priority, ()))
    return next((rung for rung in rungs if rung > now_ns), None)


def allowed_actions(alarm: Alarm) -> list[str]:
    """What a person may ask for now; the same rules as at the edge (clinical 2.4), so that it need not refuse."""
    is_taken, actions = alarm.acceptor is not None, []
    if not is_taken and not alarm.is_resolved:
        actions.append("accept")
    if alarm.is_active and not is_taken and not alarm.paused_until_ns:
        actions.append("pause")
    if not alarm.is_resolved and (is_taken or not alarm.is_active):
        actions.append("resolve")
    if alarm.is_latched:
        actions.append("reset")
    return actions


def _with(steps: tuple[alarm_pb2.AlarmEvent, ...], event: alarm_pb2.AlarmEvent) -> tuple[alarm_pb2.AlarmEvent, ...]:
    """Return the steps with one more; an update replaces the update before it, or they would grow for hours."""
    if steps[-1].phase == event.phase == alarm_pb2.PHASE_UPDATE:
        return (*steps[:-1], event)
    return (*steps, event)


def _stepped(alarm: Alarm, step: alarm_pb2.AlarmEvent) -> Alarm:
    match step.phase:
        case alarm_pb2.PHASE_START | alarm_pb2.PHASE_ESCALATE:
            # Worse, or back again: somebody has to take it anew.
            return replace(
                alarm,
                newest=step,
                is_active=True,
                is_latched=False,
                is_resolved=False,
                accepted=None,
                paused_until_ns=0,
            )
        case alarm_pb2.PHASE_DEESCALATE | alarm_pb2.PHASE_UPDATE:
            return replace(alarm, newest=step)
        case alarm_pb2.PHASE_END:
            latched = any(one.latching for one in alarm.steps if one.alarm_seq <= step.alarm_seq)
            return replace(alarm, is_active=False, is_latched=latched, paused_until_ns=0)
        case _:
            return _answered(alarm, step)


def _answered(alarm: Alarm, step: alarm_pb2.AlarmEvent) -> Alarm:
    match step.phase:
        case alarm_pb2.PHASE_RESET:
            return replace(alarm, is_active=False, is_latched=False)
        case alarm_pb2.PHASE_SEEN:
            return replace(alarm, seen=alarm.seen or step)
        case alarm_pb2.PHASE_ACCEPTED:
            return replace(alarm, accepted=step, paused_until_ns=0)
        case alarm_pb2.PHASE_AUDIO_PAUSED:
            return replace(alarm, paused_until_ns=step.until_unix_ns)
        case alarm_pb2.PHASE_AUDIO_RESUMED:
            return replace(alarm, paused_until_ns=0)
        case alarm_pb2.PHASE_RESOLVED:
            return replace(alarm, is_resolved=True)
    return alarm
