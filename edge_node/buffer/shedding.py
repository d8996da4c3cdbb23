"""What goes first when the store fills up (pure; reliability 2.5): never alarms, care, or declarations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from telemed.v1 import alarm_pb2

from edge_node.buffer import retention
from edge_node.buffer.outbox import StreamState

AROUND_ALARM_NS = 5 * 60 * 10**9
"""Waves so near an alarm are kept while they are young."""
WAVES_YOUNG_NS = 24 * retention.HOUR_NS
NUMERICS_YOUNG_NS = 72 * retention.HOUR_NS
COPIES_YOUNG_NS = retention.HOUR_NS
"""Acknowledged numerics of the last hour stay: a restart of the node reads them."""
ON_ITS_WAY_NS = 2 * 60 * 10**9
"""What came in just now is being sent, if there is a link at all."""
_TELLING = frozenset({alarm_pb2.PHASE_START, alarm_pb2.PHASE_ESCALATE, alarm_pb2.PHASE_END})


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the order."""

    kind: str
    """Last part of the names of the streams that it takes from."""
    older_than_ns: int = 0
    is_copy: bool = False
    """Whether it deletes what the hub has; else it gives up what was not sent."""
    is_thinned: bool = False
    """Whether something is left of it: an envelope, a minute."""
    spares_alarms: bool = False
    """Whether what came in near an alarm stays."""


class Order(Enum):
    """The steps, first to last."""

    COPIES_OF_WAVES = Step("wave", is_copy=True)
    COPIES_OF_ENVELOPES = Step("envelope", is_copy=True)
    COPIES_OF_NUMERICS = Step("numeric", COPIES_YOUNG_NS, is_copy=True)
    OLD_WAVES = Step("wave", WAVES_YOUNG_NS, is_thinned=True)
    OLD_ENVELOPES = Step("envelope", WAVES_YOUNG_NS)
    YOUNG_WAVES = Step("wave", ON_ITS_WAY_NS, is_thinned=True, spares_alarms=True)
    YOUNG_ENVELOPES = Step("envelope", ON_ITS_WAY_NS, spares_alarms=True)
    OLD_NUMERICS = Step("numeric", NUMERICS_YOUNG_NS, is_thinned=True)


COPIED_KINDS = frozenset(one.value.kind for one in Order if one.value.is_copy)
"""Streams of which acknowledged records are copies that may go."""


def steps(used_share: float) -> list[Step]:
    """Return what may go now, in order; nothing while there is room."""
    if used_share > retention.SHED_SHARE:
        return [one.value for one in Order]
    if used_share > retention.COPIES_SHARE:
        return [one.value for one in Order if one.value.is_copy]
    return []


def is_enough(used_share: float, step: Step) -> bool:
    """Whether so much is free that this step can end."""
    return used_share < (retention.COPIES_UNTIL_SHARE if step.is_copy else retention.SHED_UNTIL_SHARE)


def candidates(states: Iterable[StreamState], step: Step) -> list[StreamState]:
    """Return the streams that a step may take from, the one with the oldest first."""
    found = [state for state in states if state.key.kind == step.kind and (step.is_copy or state.waiting > 0)]
    return sorted(found, key=lambda state: state.oldest_ns)


@dataclass(frozen=True, slots=True)
class Window:
    """A time near an alarm of one device; "" = of the bed or the node as a whole."""

    device: str
    from_ns: int
    to_ns: int


ALWAYS = Window("", 0, 2**63)
"""Where nobody can say when there were alarms, everything counts as near one."""


def windows(events: Iterable[alarm_pb2.AlarmEvent]) -> list[Window]:
    """Return the times around the alarms of patients: when they began, became worse, and ended."""
    return [
        Window(event.device, event.at_unix_ns - AROUND_ALARM_NS, event.at_unix_ns + AROUND_ALARM_NS)
        for event in events
        if event.phase in _TELLING and not event.technical
    ]


def is_spared(device: str, at_ns: int, near: Sequence[Window]) -> bool:
    """Whether what came in from a device at this time is near an alarm."""
    return any(one.device in ("", device) and one.from_ns <= at_ns <= one.to_ns for one in near)
