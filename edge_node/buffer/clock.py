"""The node's clock: the machine's where that can be believed, else the hub's time carried on by CLOCK_BOOTTIME.

A record's stamp says what is known of both (reliability 2.6).  Stretches of time are never measured on a wall clock.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from telemed.wire import OFFSET_UNKNOWN_MS, Stamp

from edge_node.samples.clockstep import STEP_NS, ClockSteps

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
BUILT_NS = 1_704_067_200 * 10**9
"""2024-01-01: no clock that shows an earlier time can be right, as this software is younger."""
BELIEVED_NS = 10**9
"""A machine whose clock is no farther from the hub's than this is believed."""
SHIFT_NS = 5_000_000
"""A larger change of the node's time against CLOCK_BOOTTIME: what was read before is of another clock."""
DRIFT_PPM = 50
"""How fast CLOCK_BOOTTIME may go wrong while the hub is not heard."""
_LONGEST_WAIT_NS = 60 * 10**9
_AT_ONCE_NS = 50_000_000
_NS_PER_MS = 1_000_000


def boot_number() -> int:
    """Return the first 32 bits of the kernel's boot id; 0 where the kernel has none."""
    try:
        return int(BOOT_ID.read_text(encoding="ascii")[:8], 16)
    except (OSError, ValueError):
        return 0


def boottime_ns() -> int:
    """Return CLOCK_BOOTTIME: it never steps, and goes on while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Readings(NamedTuple):
    """The machine's two clocks at one moment."""

    wall_ns: int
    steady_ns: int


class _Hub(NamedTuple):
    """What is known of the hub's clock."""

    ahead_ns: int
    """Hub's clock minus CLOCK_BOOTTIME."""
    error_ns: int
    at_ns: int
    """CLOCK_BOOTTIME when it was known."""


@dataclass(slots=True)
class NodeClock:
    """Reads the node's clock and stamps records; may be asked from any thread."""

    boot: int
    wall: Callable[[], int] = time.time_ns
    steady: Callable[[], int] = boottime_ns
    moved_ns: list[int] = field(default_factory=list)
    """By how much the machine's clock was set, each time, since somebody last took this list."""
    _hub: _Hub | None = None
    _floor: Readings | None = None
    _steps: ClockSteps | None = None
    _follows_hub: bool = False
    _shift_ns: int = 0
    """The node's time minus CLOCK_BOOTTIME, as of `_shifted_at_ns`."""
    _shifted_at_ns: int = 0
    _set_from_ns: int = 0
    """What `_shift_ns` was before; 0 where the last change was slewing."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now_ns(self) -> int:
        """Return the node's time."""
        with self._lock:
            return self._now(self._read())

    def stamp(self, arrived_at_ns: int = 0) -> Stamp:
        """Return the stamp of something that arrived at `arrived_at_ns` on the node's clock (0 = now).

        The boot-time clock is taken back by the same stretch.  Where the node's clock was set meanwhile, the stamp is
        of the clock before, with nothing known of the hub: what arrived was timed by that one, and the hub puts both
        right together.  An arrival in the future or more than a minute ago by either clock is taken for now.
        """
        with self._lock:
            read = self._read()
            now_ns, steady_ns = self._now(read), read.steady_ns
            offset_ms, error_ms = self._offset(now_ns, steady_ns)
            shifted_at_ns, set_from_ns = self._shifted_at_ns, self._set_from_ns
        waited_ns = now_ns - arrived_at_ns
        if arrived_at_ns and 0 <= waited_ns <= min(_LONGEST_WAIT_NS, steady_ns - shifted_at_ns):
            return Stamp(arrived_at_ns, steady_ns - waited_ns, self.boot, offset_ms, error_ms)
        then_ns = arrived_at_ns - set_from_ns
        if arrived_at_ns and set_from_ns and 0 <= shifted_at_ns - then_ns <= _LONGEST_WAIT_NS:
            return Stamp(arrived_at_ns, then_ns, self.boot, 0, OFFSET_UNKNOWN_MS)
        return Stamp(now_ns, steady_ns, self.boot, offset_ms, error_ms)

    def hear(self, ahead_ns: int, error_ns: int, at_ns: int) -> None:
        """Take in what the hub's clock showed.

        Args:
            ahead_ns: hub's clock minus CLOCK_BOOTTIME.
            error_ns: one-sided bound of its error then.
            at_ns: CLOCK_BOOTTIME then.
        """
        with self._lock:
            if ahead_ns + at_ns >= BUILT_NS:
                self._hub = _Hub(ahead_ns, error_ns, at_ns)

    def not_before(self, at_ns: int) -> None:
        """Say how late it must be at least: something that was stored here bears this time."""
        with self._lock:
            self._floor = Readings(max(at_ns, BUILT_NS), self.steady())

    def wrong_by_ns(self) -> int | None:
        """Return how far the machine's clock is ahead of the true time; None where it can be believed."""
        with self._lock:
            read = self._read()
            now_ns = self._now(read)
        return read.wall_ns - now_ns if abs(read.wall_ns - now_ns) > STEP_NS else None

    def hub_offset_ms(self) -> int | None:
        """Return the hub's clock minus the machine's; None while the hub was not heard."""
        with self._lock:
            read = self._read()
            return None if self._hub is None else (self._hub.ahead_ns + read.steady_ns - read.wall_ns) // _NS_PER_MS

    def take_moves(self) -> list[int]:
        """Return by how much the machine's clock was set, each time since the last call."""
        with self._lock:
            self._now(self._read())
            moved, self.moved_ns = self.moved_ns, []
            return moved

    def _read(self) -> Readings:
        """Read both clocks at one moment: a process that is stopped in between must not look like a clock set."""
        while True:
            before_ns = self.steady()
            read = Readings(self.wall(), self.steady())
            if read.steady_ns - before_ns < _AT_ONCE_NS:
                return read

    def _now(self, read: Readings) -> int:
        now_ns = self._judged(read)
        shift_ns = now_ns - read.steady_ns
        if abs(shift_ns - self._shift_ns) > SHIFT_NS:
            self._set_from_ns = self._shift_ns if abs(shift_ns - self._shift_ns) > STEP_NS else 0
            self._shifted_at_ns = read.steady_ns if self._shift_ns else 0
            self._shift_ns = shift_ns
        return now_ns

    def _judged(self, read: Readings) -> int:
        self._mind(read)
        own_ns = self._own(read)
        if self._hub is None:
            return own_ns
        hub_ns = self._hub.ahead_ns + read.steady_ns
        allowed_ns = max(BELIEVED_NS, self._error_ns(read.steady_ns))
        # Once it is followed, the machine's clock must come well near before it is believed again.
        self._follows_hub = abs(hub_ns - own_ns) > (allowed_ns // 2 if self._follows_hub else allowed_ns)
        return hub_ns if self._follows_hub else own_ns

    def _own(self, read: Readings) -> int:
        if read.wall_ns >= BUILT_NS:
            return read.wall_ns
        floor = self._floor or Readings(BUILT_NS, 0)
        return floor.wall_ns + max(0, read.steady_ns - floor.steady_ns)

    def _mind(self, read: Readings) -> None:
        self._steps = self._steps or ClockSteps(read.wall_ns, read.steady_ns)
        if moved_ns := self._steps.take(read.wall_ns, read.steady_ns):
            self.moved_ns.append(moved_ns)

    def _offset(self, now_ns: int, steady_ns: int) -> tuple[int, int]:
        if self._hub is None:
            return 0, OFFSET_UNKNOWN_MS
        error_ms = -(-self._error_ns(steady_ns) // _NS_PER_MS)
        return round((self._hub.ahead_ns + steady_ns - now_ns) / _NS_PER_MS), min(error_ms, OFFSET_UNKNOWN_MS - 1)

    def _error_ns(self, steady_ns: int) -> int:
        assert self._hub is not None
        return self._hub.error_ns + max(0, steady_ns - self._hub.at_ns) * DRIFT_PPM // 1_000_000
