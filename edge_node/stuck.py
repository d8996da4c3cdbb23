"""What of this node cannot go on and who must do something, for the heartbeat and the bedside page: pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from telemed.errors import Code
from telemed.v1 import uplink_pb2

from edge_node.buffer.retention import WARN_SHARE
from edge_node.devices.hl7_monitor.devclock import SKEW_LIMIT_NS, ClockState
from edge_node.errors import UNPROVED

NS_PER_MS = 1_000_000
_DETAIL_CHARS = 120
ENDED = "ended"
"""What the renewal calls a certificate that has ended and may still be renewed."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Sets at one bed that wait for somebody to say whose they are."""

    bed: str
    sets: int
    is_occupied: bool


@dataclass(frozen=True, slots=True)
class Store:
    """How the room of the store stands."""

    held_share: float
    """How much of it is held by what cannot go without loss, 0 to 1."""
    is_full: bool = False
    """Whether measurements are refused."""
    gives_up: bool = False
    """Whether something was given up of which the hub does not know yet."""
    damaged: Sequence[str] = ()
    """Names of damaged files that were replaced."""
    is_locked: bool = False
    """Whether something of it cannot be opened for want of a key."""


@dataclass(frozen=True, slots=True)
class MachineClock:
    """What is known of the wall clock of the node's machine."""

    wrong_by_ns: int | None = None
    """How far it is ahead of the hub's time, which is used in its place; None where it can be believed."""
    moved_ns: int = 0
    """By how much it was set a short while ago; 0 = it was not."""


RIGHT = MachineClock()


def found(
    store: Store,
    held_back: Iterable[HeldBack],
    clocks: Mapping[str, ClockState],
    refused: str = "",
    machine: MachineClock = RIGHT,
) -> Iterable[uplink_pb2.Stuck]:
    """Yield what is stuck; the details name beds and devices, never persons.

    Args:
        store: how its room stands.
        held_back: beds with a device that names somebody else.
        clocks: what is known of the clocks of the devices.
        refused: why a changed configuration is not in force; empty where there is none.
        machine: how the node's own clock stands.
    """
    if refused:
        yield uplink_pb2.Stuck(code=Code.CONFIG_REFUSED, what=refused.rpartition("/")[2][:_DETAIL_CHARS])
    if store.is_full or store.held_share >= WARN_SHARE:
        code = Code.STORE_FULL if store.is_full else Code.STORE_NEARLY_FULL
        yield uplink_pb2.Stuck(code=code, what=f"{store.held_share:.0%}")
    for name in store.damaged:
        yield uplink_pb2.Stuck(code=Code.STORE_DAMAGED, what=name)
    if store.is_locked:
        yield uplink_pb2.Stuck(code=Code.STORE_LOCKED)
    if store.gives_up:
        yield uplink_pb2.Stuck(code=Code.DATA_SHED)
    if machine.wrong_by_ns is not None:
        yield uplink_pb2.Stuck(code=Code.NODE_CLOCK, what=_seconds(machine.wrong_by_ns))
    if machine.moved_ns:
        yield uplink_pb2.Stuck(code=Code.NODE_CLOCK_SET, what=_seconds(machine.moved_ns))
    for row in held_back:
        if row.sets:
            code = Code.IDENTITY_MISMATCH if row.is_occupied else Code.IDENTITY_UNKNOWN
            yield uplink_pb2.Stuck(code=code, what=f"{row.bed} ×{row.sets}")
    for device, clock in clocks.items():
        if clock.is_suspect or abs(clock.offset_ms) * NS_PER_MS > SKEW_LIMIT_NS:
            known = f" {-clock.offset_ms / 1000:+.0f} s" if clock.is_known else ""
            yield uplink_pb2.Stuck(code=Code.CLOCK_SUSPECT, what=f"{device}{known}")


def of_certificate(trouble: str) -> Iterable[uplink_pb2.Stuck]:
    """Yield what is told of a certificate that is not good: it has ended, or the hub refuses to renew it."""
    if trouble:
        codes = {ENDED: Code.CERTIFICATE_ENDED, UNPROVED: Code.HUB_UNPROVED}
        yield uplink_pb2.Stuck(code=codes.get(trouble, Code.CERTIFICATE_REFUSED))


def of_models(refused: Iterable[str]) -> Iterable[uplink_pb2.Stuck]:
    """Yield what is told of bundles that were refused or rolled back; each text names task, version and reason."""
    for each in refused:
        yield uplink_pb2.Stuck(code=Code.BUNDLE_REFUSED, what=each[:_DETAIL_CHARS])


def _seconds(difference_ns: int) -> str:
    return f"{difference_ns / 10**9:+.0f} s"
