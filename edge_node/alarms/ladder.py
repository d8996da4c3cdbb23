"""When an unanswered alarm goes to the next person (clinical 2.5): stops on accept, not on delivered or seen."""

from edge_node.samples.alarm import Alarm, Phase, Priority

NS = 1_000_000_000
RUNGS_S: dict[Priority, tuple[int, ...]] = {
    Priority.HIGH: (60, 120, 180, 300),
    Priority.MEDIUM: (300, 900, 1800),
    Priority.LOW: (),
}
"""Seconds after the alarm took its present priority at which the next rung is called."""


def next_rung_ns(alarm: Alarm, now_ns: int) -> int | None:
    """Return when the next rung is called, or None: accepted, over, resolved, or no rung left."""
    if alarm.accepted_by is not None or alarm.resolved or not alarm.stands:
        return None
    since_ns = max(
        (step.at_ns for step in alarm.steps if step.phase in (Phase.START, Phase.ESCALATE)),
        default=alarm.finding.onset_ns,
    )
    due = (since_ns + rung_s * NS for rung_s in RUNGS_S[alarm.finding.priority])
    return next((at_ns for at_ns in due if at_ns > now_ns), None)
