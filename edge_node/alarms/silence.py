"""When silence is an alarm (decision 23): pure, on arrival clocks alone."""

from edge_node.alarms.ruleset import HubSilenceRule, SilenceRule
from edge_node.samples.alarm import Priority

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


def hub_silence(rule: HubSilenceRule, last_ns: int, now_ns: int) -> Priority | None:
    """Return medium where the hub was not heard for the limit; `last_ns` is the start of the node at first."""
    return Priority.MEDIUM if now_ns - last_ns >= rule.after_s * NS else None
