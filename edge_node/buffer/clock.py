"""The clocks that stamp a record when the node takes it in (reliability 2.6)."""

import time
from dataclasses import dataclass
from pathlib import Path

from telemed.wire import Stamp

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
OFFSET_UNKNOWN_MS = 0xFFFFFFFF
_LONGEST_WAIT_NS = 60 * 10**9


def boot_number() -> int:
    """Return the first 32 bits of the kernel's boot id; 0 where the kernel has none."""
    try:
        return int(BOOT_ID.read_text(encoding="ascii")[:8], 16)
    except (OSError, ValueError):
        return 0


@dataclass(slots=True)
class NodeClock:
    """Reads wall clock and CLOCK_BOOTTIME together; carries the offset to the hub once it is known."""

    boot: int
    offset_ms: int = 0
    offset_error_ms: int = OFFSET_UNKNOWN_MS

    def stamp(self, arrived_at_ns: int = 0) -> Stamp:
        """Return the stamp of something that arrived at `arrived_at_ns` on the wall clock (0 = now).

        The boot-time clock is taken back by the same stretch; an arrival in the future or more than a
        minute ago means that the wall clock was set meanwhile, so the present is taken instead.
        """
        wall_ns = time.time_ns()
        mono_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        waited_ns = wall_ns - arrived_at_ns
        if arrived_at_ns and 0 <= waited_ns <= min(_LONGEST_WAIT_NS, mono_ns):
            wall_ns, mono_ns = arrived_at_ns, mono_ns - waited_ns
        return Stamp(wall_ns, mono_ns, self.boot, self.offset_ms, self.offset_error_ms)
