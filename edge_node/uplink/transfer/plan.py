"""From the queue to what may be sent now, what is held and why, and when to look again (pure)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from telemed.errors import Code
from telemed.transfer import CHUNK_BYTES, FileKind

from edge_node.uplink.transfer import budget
from edge_node.uplink.transfer.budget import Rule, Wish
from edge_node.uplink.transfer.order import in_order
from edge_node.uplink.transfer.parcel import Parcel
from edge_node.uplink.transfer.states import State

NS = 10**9


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a parcel may not go now."""

    code: str
    resume_ns: int
    """When it goes on by itself; 0 = not known."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with the queue."""

    ready: tuple[Parcel, ...] = ()
    """In the order in which they go."""
    held: Mapping[str, Hold] | None = None
    """Parcel -> why it may not go."""
    wake_ns: int = 0
    """When the next held one may go; 0 = none is waiting for a time."""


def plan(
    parcels: Iterable[Parcel], rules: Mapping[FileKind, Rule], used: Mapping[FileKind, int], now_ns: int, zone: ZoneInfo
) -> Plan:
    """Sort unfinished parcels into those that may go and those that may not.

    Args:
        parcels: unfinished ones, in any order.
        rules: by kind; a kind without one has no limits.
        used: bytes sent today, by kind.
        now_ns: now, nanoseconds since the epoch.
        zone: of the site.
    """
    ready: list[Parcel] = []
    held: dict[str, Hold] = {}
    for parcel in in_order(parcels):
        hold = _hold(parcel, rules, used, now_ns, zone)
        if hold is None:
            ready.append(parcel)
        else:
            held[parcel.parcel_id] = hold
    wakes_ns = [hold.resume_ns for hold in held.values() if hold.resume_ns]
    return Plan(tuple(ready), held, min(wakes_ns, default=0))


def _hold(
    parcel: Parcel, rules: Mapping[FileKind, Rule], used: Mapping[FileKind, int], now_ns: int, zone: ZoneInfo
) -> Hold | None:
    if parcel.state is State.PAUSED and parcel.resume_ns > now_ns and parcel.code not in _JUDGED_ANEW:
        return Hold(parcel.code, parcel.resume_ns)
    kind = parcel.labels.kind
    left_bytes = max(1, parcel.size_bytes - parcel.durable_bytes)
    wish = Wish(min(CHUNK_BYTES, left_bytes), parcel.labels.is_urgent)
    verdict = budget.judge(rules.get(kind, Rule()), wish, used.get(kind, 0), now_ns / NS, zone)
    return None if verdict.most_bytes else Hold(verdict.code, round(verdict.resume_s * NS))


_JUDGED_ANEW = frozenset({Code.BUDGET_USED, Code.OUTSIDE_HOURS})
"""Holds that follow from the rules alone: a changed configuration must not wait for the earlier one's time."""
