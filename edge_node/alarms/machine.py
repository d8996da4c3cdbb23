"""The alarm's conversation as a table (clinical 2.4): (state, what happened) -> state.  Pure.

A worse condition sounds again at once, whatever was accepted or paused before.  A pause cannot be renewed
while it runs, so that a row of pauses is a row of decisions.  A latched alarm stays until a person resets it.
"""

from collections.abc import Iterable
from dataclasses import replace

from edge_node.errors import StepRefused
from edge_node.samples.alarm import PAUSE_LIMIT_S, Alarm, Ask, Phase, State, Step

S, P = State, Phase

_STANDING: dict[Phase, State | None] = {
    P.ESCALATE: S.ESCALATED,
    P.ACCEPTED: S.ACKNOWLEDGED,
    P.END: S.CLEARED,  # LATCHED where the alarm latches: see `after`
    P.RESOLVED: S.ACKNOWLEDGED,  # who says what was done has taken it
    P.SEEN: None,
    P.UPDATE: None,
}
"""What every standing alarm allows; None = the state stays."""

TABLE: dict[State, dict[Phase, State | None]] = {
    S.INACTIVE: {P.START: S.ACTIVE},
    S.ACTIVE: _STANDING | {P.DEESCALATE: None, P.AUDIO_PAUSED: S.AUDIO_PAUSED},
    S.ESCALATED: _STANDING | {P.DEESCALATE: S.ACTIVE, P.AUDIO_PAUSED: S.AUDIO_PAUSED},
    S.ACKNOWLEDGED: _STANDING | {P.DEESCALATE: None},
    S.AUDIO_PAUSED: _STANDING | {P.DEESCALATE: None, P.AUDIO_RESUMED: S.ACTIVE},
    S.LATCHED: {
        P.START: S.ACTIVE,
        P.ACCEPTED: None,
        P.SEEN: None,
        P.RESOLVED: None,
        P.RESET: S.CLEARED,
        P.END: None,  # said again: it is over and still latched
    },
    S.CLEARED: {P.ACCEPTED: None, P.SEEN: None, P.RESOLVED: None},
}
"""From each state what may happen; anything absent is refused."""

_RESTATING = frozenset({P.UPDATE, P.ESCALATE, P.DEESCALATE, P.END})
"""Steps that nobody makes but the rules, of an alarm that was there before."""

_ACTIONS = {
    "accept": P.ACCEPTED,
    "pause": P.AUDIO_PAUSED,
    "resolve": P.RESOLVED,
    "reset": P.RESET,
    "seen": P.SEEN,
}
"""What people ask for, by its name on the wire and on HTTP."""

PAUSE_LIMIT_HOME_S = 60


def after(state: State, phase: Phase, latching: bool) -> State:
    """Return the state after `phase`.

    Raises:
        StepRefused: not legal from this state; carries what is.
    """
    row = TABLE[state]
    if phase not in row:
        raise StepRefused(f"{phase.name.lower()} is not possible: {state}", allowed(state))
    target = row[phase]
    if target is S.CLEARED and phase is P.END and latching:
        return S.LATCHED
    return state if target is None else target


def allowed(state: State) -> list[str]:
    """Return the actions that people may ask for in this state."""
    return [action for action, phase in _ACTIONS.items() if phase in TABLE[state]]


def phase_of(action: str) -> Phase:
    """Return the phase that an action leads to.

    Raises:
        StepRefused: there is no such action.
    """
    if action not in _ACTIONS:
        raise StepRefused(f"{action!r} is no action", list(_ACTIONS))
    return _ACTIONS[action]


def demand_current(alarm: Alarm, ask: Ask) -> None:
    """Pass unless the alarm became worse, or came back, after what the asker knew: that must be answered anew.

    Raises:
        StepRefused: it did.
    """
    if not ask.seen_seq or ask.action == "seen":
        return
    if any(step.seq > ask.seen_seq and step.phase in (P.START, P.ESCALATE) for step in alarm.steps):
        raise StepRefused(f"{ask.action} was asked before it became worse", allowed(alarm.state))


def pause_until_ns(ask: Ask, home: bool, now_ns: int) -> int:
    """Return when the sound comes back by itself: at most 120 s from now, 60 s at home."""
    limit_s = PAUSE_LIMIT_HOME_S if home else PAUSE_LIMIT_S
    return now_ns + min(max(ask.pause_s, 1), limit_s) * 1_000_000_000


def apply(alarm: Alarm | None, step: Step) -> Alarm:
    """Return the alarm after one more step.

    Raises:
        StepRefused: the step is not legal here.
    """
    if alarm is None:
        # Its beginning may be older than the log that is read back.
        before = S.ACTIVE if step.phase in _RESTATING else S.INACTIVE
        state = after(before, step.phase, step.finding.latching)
        return Alarm(step.alarm_id, state, step.finding, step.person_id, (step,), late=step.finding.late)
    state = after(alarm.state, step.phase, alarm.finding.latching or step.finding.latching)
    latching = alarm.finding.latching or step.finding.latching
    finding = replace(step.finding, latching=latching, onset_ns=alarm.finding.onset_ns)
    # An update takes the place of the update before it, or the steps of one alarm would grow for as long as it stands.
    kept = alarm.steps[:-1] if step.phase is alarm.steps[-1].phase is P.UPDATE else alarm.steps
    moved = replace(alarm, state=state, finding=finding, steps=(*kept, step))
    return _with_people(moved, step)


def fold(steps: Iterable[Step]) -> dict[str, Alarm]:
    """Return the alarms that a log of steps describes; steps that are doubled or illegal on replay are passed over."""
    alarms: dict[str, Alarm] = {}
    for step in steps:
        before = alarms.get(step.alarm_id)
        if before is not None and step.seq <= before.seq:
            continue
        try:
            alarms[step.alarm_id] = apply(before, step)
        except StepRefused:
            continue
    return alarms


def _with_people(alarm: Alarm, step: Step) -> Alarm:
    if step.phase is P.ACCEPTED:
        return _taken_by(alarm, step)
    if step.phase is P.SEEN:
        return alarm if alarm.seen_by is not None else replace(alarm, seen_by=step.who)
    if step.phase is P.AUDIO_PAUSED:
        return replace(alarm, paused_until_ns=step.until_ns)
    if step.phase is P.RESOLVED:
        taken = alarm if alarm.accepted_by is not None else _taken_by(alarm, step)
        return replace(taken, resolved=True, useful=step.useful)
    if step.phase in (P.ESCALATE, P.START):
        # Worse, or back again: it sounds anew and somebody has to take it anew.
        return replace(alarm, accepted_by=None, accepted_at_ns=None, paused_until_ns=None, resolved=False, late=False)
    if step.phase in (P.AUDIO_RESUMED, P.END):
        return replace(alarm, paused_until_ns=None)
    return alarm


def _taken_by(alarm: Alarm, step: Step) -> Alarm:
    return replace(alarm, accepted_by=step.who, accepted_at_ns=step.at_ns, paused_until_ns=None)
