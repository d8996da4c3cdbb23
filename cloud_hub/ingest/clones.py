"""Two machines that say they are the same node (bad input 18): pure.

Our clock minus CLOCK_BOOTTIME of a node is the moment it booted, plus the message's time on the way.  For one
machine that moment never moves back; where it does, two machines are taking turns.
"""

from dataclasses import dataclass

from telemed.topics import NodeAddress

TOLERANCE_NS = 120 * 1_000_000_000
"""Longer than a first presence may reasonably take on the way."""


@dataclass(frozen=True, slots=True)
class _Seen:
    boottime_ns: int
    booted_at_ns: int


class CloneWatch:
    """Judges the boot clocks that nodes report with their presence."""

    def __init__(self) -> None:
        self._seen: dict[NodeAddress, _Seen] = {}

    def is_clone(self, address: NodeAddress, boottime_ns: int, at_ns: int) -> bool:
        """Return whether this presence shows that a second machine uses the node's name.

        Args:
            address: who they say they are.
            boottime_ns: CLOCK_BOOTTIME as reported.
            at_ns: a steady clock of ours.
        """
        last, booted_at_ns = self._seen.get(address), at_ns - boottime_ns
        if last is None or boottime_ns < last.boottime_ns:
            self._seen[address] = _Seen(boottime_ns, booted_at_ns)
            return False
        self._seen[address] = _Seen(boottime_ns, min(booted_at_ns, last.booted_at_ns))
        return booted_at_ns < last.booted_at_ns - TOLERANCE_NS
