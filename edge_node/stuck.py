"""What of this node cannot go on and who must do something, for the heartbeat and the bedside page: pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from telemed.errors import Code
from telemed.v1 import uplink_pb2

from edge_node.buffer.retention import NEARLY_FULL_SHARE, REFUSE_SHARE
from edge_node.devices.hl7_monitor.devclock import SKEW_LIMIT_NS, ClockState

NS_PER_MS = 1_000_000
_DETAIL_CHARS = 120


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Sets at one bed that wait for somebody to say whose they are."""

    bed: str
    sets: int
    is_occupied: bool


def found(
    used_share: float, held_back: Iterable[HeldBack], clocks: Mapping[str, ClockState], refused: str = ""
) -> Iterable[uplink_pb2.Stuck]:
    """Yield what is stuck; the details name beds and devices, never persons.

    Args:
        used_share: how much of the store's limit is in use, 0 to 1.
        held_back: beds with a device that names somebody else.
        clocks: what is known of the clocks of the devices.
        refused: why a changed configuration is not in force; empty where there is none.
    """
    if refused:
        yield uplink_pb2.Stuck(code=Code.CONFIG_REFUSED, what=refused.rpartition("/")[2][:_DETAIL_CHARS])
    if used_share >= NEARLY_FULL_SHARE:
        code = Code.STORE_FULL if used_share >= REFUSE_SHARE else Code.STORE_NEARLY_FULL
        yield uplink_pb2.Stuck(code=code, what=f"{used_share:.0%}")
    for row in held_back:
        if row.sets:
            code = Code.IDENTITY_MISMATCH if row.is_occupied else Code.IDENTITY_UNKNOWN
            yield uplink_pb2.Stuck(code=code, what=f"{row.bed} ×{row.sets}")
    for device, clock in clocks.items():
        if clock.is_suspect or abs(clock.offset_ms) * NS_PER_MS > SKEW_LIMIT_NS:
            known = f" {-clock.offset_ms / 1000:+.0f} s" if clock.is_known else ""
            yield uplink_pb2.Stuck(code=Code.CLOCK_SUSPECT, what=f"{device}{known}")
