"""When silence is an alarm (decision 23): pure, on arrival clocks alone."""

from collections.abc import Iterable

from edge_node.alarms.ruleset import HubSilenceRule, SilenceRule
from edge_node.samples.alarm import Phase, Priority, Step

NS = 1_000_000_000


def device_limit_s(rule: SilenceRule, usual_interval_s: float) -> float:
    """Seconds without anything from a device after which it is called silent."""
    return max(rule.times_usual * usual_interval_s, rule.least_s)


def device_silence(rule: SilenceRule, usual_interval_s: float, last_ns: int | None, now_ns: int) -> Priority | None:
    """Return the priority of a device's silence; None while it is heard, and for one that never was."""
    if last_ns is None:
        return None
    silent_s = (now_ns - last_ns) / NS
    limit_s = device_limit_s(rule, usual_interval_s)
    if silent_s < limit_s:
        return None
    return Priority.MEDIUM if silent_s >= max(rule.medium_after_s, limit_s) else Priority.LOW


def gaps(steps: Iterable[Step], from_ns: int, to_ns: int) -> list[tuple[int, int]]:
    """Return the times between two moments at which the alarms of these steps stood, in order.

    Every step carries the onset of its alarm, so that an alarm counts whole where only its end is still known.
    """
    begins: dict[str, int] = {}
    ends: dict[str, int] = {}
    for step in steps:
        begins[step.alarm_id] = step.finding.onset_ns
        if step.phase is Phase.END:
            ends[step.alarm_id] = step.at_ns
    found = [(max(begin_ns, from_ns), min(ends.get(alarm_id, to_ns), to_ns)) for alarm_id, begin_ns in begins.items()]
    return sorted((begin_ns, end_ns) for begin_ns, end_ns in found if begin_ns < end_ns)


def hub_silence(rule: HubSilenceRule, last_ns: int, now_ns: int) -> Priority | None:
    """Return medium where the hub was not heard for the limit; `last_ns` is the start of the node at first."""
    return Priority.MEDIUM if now_ns - last_ns >= rule.after_s * NS else None
