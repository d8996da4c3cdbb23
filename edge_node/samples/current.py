"""The newest value of each measure at one bed, whatever device it came from."""

from dataclasses import dataclass, field, replace

from edge_node.samples.measurement import Assignment, NumericSet, Origin, Quality, Value

NS = 1_000_000_000
LIVE_HOLDS_S = 60
"""A test or replay value does not hide a live one that is younger than this."""
_REAL = frozenset({Origin.LIVE, Origin.MANUAL})


@dataclass(frozen=True, slots=True)
class Held:
    """One value with what is needed to judge it."""

    value: Value
    device: str
    measured_at_ns: int
    """The value's own time; its arrival where the device's time is not to be believed."""
    arrived_at_ns: int
    origin: Origin
    late: bool
    clock_suspect: bool

    @property
    def may_count(self) -> bool:
        """True where the value may be scored and may alarm."""
        return self.value.quality is Quality.VALID and self.origin in _REAL and not self.late


@dataclass(slots=True)
class BedNow:
    """What is known of a bed at this moment."""

    bed: str
    held: dict[str, Held] = field(default_factory=dict)
    waves_seen_ns: dict[str, int] = field(default_factory=dict)
    """Wave measure to its last arrival."""
    not_live: str = ""
    """"replay" or "test" while the newest set is one."""
    unassigned: int = 0
    """Sets held back since the last one that belonged here."""
    since_ns: int = 0
    """What was measured before this is of somebody who lay here earlier."""

    def take(self, sample: NumericSet) -> list[Held]:
        """Take a set; return the values that became the newest of their measure."""
        if sample.assignment is Assignment.UNASSIGNED:
            self.unassigned += 1
            return []
        self.unassigned = 0
        if sample.origin is not Origin.MANUAL:
            self.not_live = sample.origin.value if sample.origin in (Origin.REPLAY, Origin.TEST) else ""
        fresh = [hold(value, sample) for value in sample.values]
        taken = [held for held in fresh if held.measured_at_ns >= self.since_ns and self._is_newer(held)]
        for held in taken:
            self.held[held.value.measure] = held
        return taken

    def clock_set(self, by_ns: int, now_ns: int) -> None:
        """The clock of the arrivals was set: what is held keeps its age, so that what comes next is newer."""
        self.held = {
            measure: replace(held, measured_at_ns=held.measured_at_ns + by_ns, arrived_at_ns=held.arrived_at_ns + by_ns)
            for measure, held in self.held.items()
        }
        self.waves_seen_ns = {measure: seen_ns + by_ns for measure, seen_ns in self.waves_seen_ns.items()}
        self.since_ns = min(self.since_ns, now_ns)

    def _is_newer(self, new: Held) -> bool:
        old = self.held.get(new.value.measure)
        if old is None:
            return True
        hidden = old.origin in _REAL and new.origin not in _REAL
        if hidden and new.arrived_at_ns - old.arrived_at_ns < LIVE_HOLDS_S * NS:
            return False
        return new.measured_at_ns >= old.measured_at_ns or (old.origin not in _REAL and new.origin in _REAL)


def hold(value: Value, sample: NumericSet) -> Held:
    """Return a value of a set with its own time."""
    measured_ns = value.measured_at_ns or sample.measured_at_ns
    if sample.clock_suspect:
        measured_ns = sample.arrived_at_ns
    return Held(
        value, sample.device, measured_ns, sample.arrived_at_ns, sample.origin, sample.late, sample.clock_suspect
    )
