"""Noticing that the wall clock was set (reliability 2.6): pure.

The rules count stretches of time between arrivals.  A node that starts with a wrong clock and is put right a minute
later would else be deaf, or believe everything silent, for as long as the clock was moved.
"""

from dataclasses import dataclass

STEP_NS = 500_000_000
"""A smaller difference is the clock being slewed, not set."""


@dataclass(slots=True)
class ClockSteps:
    """Compares the wall clock with one that never steps (CLOCK_BOOTTIME)."""

    wall_ns: int
    steady_ns: int

    def take(self, wall_ns: int, steady_ns: int) -> int:
        """Return by how much the wall clock was set since the last call, negative where it was put back; 0 = not."""
        moved_ns = (wall_ns - self.wall_ns) - (steady_ns - self.steady_ns)
        self.wall_ns, self.steady_ns = wall_ns, steady_ns
        return moved_ns if abs(moved_ns) > STEP_NS else 0
