"""Delay and hysteresis of limit alarms (clinical 2.4): pure, on whatever clock the caller counts.

Two readings in a row are needed where there is a delay, so that at one message a minute two consecutive
breaches count as the delay, and one stray value never alarms.  Between readings only time passes: `settle`
is called on a tick.  A pause longer than a device's gap says nothing about the patient and begins the count anew.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from edge_node.alarms.ruleset import Gate, Rule
from edge_node.samples.alarm import Finding, Priority

NS = 1_000_000_000
GAP_S = 150
"""Shortest gap; of a device that reports less often it is GAP_INTERVALS of its usual intervals."""
GAP_INTERVALS = 2.5


@dataclass(frozen=True, slots=True)
class Watch:
    """What one limit remembers of the readings so far."""

    on: bool = False
    since_ns: int = 0
    """First reading of the present run: of breaches while off, of readings back inside while on."""
    count: int = 0
    last_ns: int = 0
    onset_ns: int = 0
    """First breach of the run that switched it on."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One usable reading."""

    measure: str
    number: Decimal
    text: str
    """As the device sent it."""
    at_ns: int
    """When it arrived."""
    gap_s: float = GAP_S
    """After a pause longer than this the count begins anew."""


@dataclass(frozen=True, slots=True)
class Track:
    """What one rule remembers at one bed."""

    watches: tuple[Watch, ...]
    """One for each level of the rule, mildest first."""
    latching: bool = False
    value: str = ""
    """Newest value that broke the mildest limit, as text."""
    measure: str = ""
    gap_s: float = GAP_S

    @property
    def onset_ns(self) -> int:
        """When the run of breaches began that switched the mildest standing level on."""
        return next((watch.onset_ns for watch in self.watches if watch.on), 0)


def fresh(rule: Rule) -> Track:
    """Return the memory of a rule that has seen nothing."""
    return Track(tuple(Watch() for _ in rule.levels()), rule.latch)


def gap_s(usual_interval_s: float) -> float:
    """Return the gap of a device that usually reports this often."""
    return max(GAP_S, GAP_INTERVALS * usual_interval_s)


def observe(rule: Rule, track: Track, reading: Reading, home: bool) -> Track:
    """Return the memory after one usable reading."""
    watches = []
    for (gate, _), watch in zip(rule.levels(), track.watches, strict=True):
        seen = _count(gate, watch, reading)
        watches.append(_switch(gate, seen, reading.at_ns, home))
    begun = any(watch.on for watch in track.watches)
    latching = track.latching if begun else rule.latch
    stands = any(watch.on for watch in watches)
    if stands and rule.latch_when is not None and rule.latch_when.holds(reading.number):
        latching = True
    moved = Track(tuple(watches), latching, track.value, track.measure, reading.gap_s)
    if rule.when.holds(reading.number):
        return replace(moved, value=reading.text, measure=reading.measure)
    return moved


def stand(rule: Rule, level: Priority, alarm: Finding) -> Track:
    """Return the memory of a rule whose alarm is known to stand at `level`, and of which nothing else is known."""
    watches = tuple(Watch(on=own <= level, onset_ns=alarm.onset_ns if own <= level else 0) for _, own in rule.levels())
    return Track(watches, alarm.latching, alarm.value, alarm.measure)


def settle(rule: Rule, track: Track, now_ns: int, home: bool) -> Track:
    """Return the memory after time alone has passed."""
    watches = tuple(
        watch if now_ns - watch.last_ns > track.gap_s * NS else _switch(gate, watch, now_ns, home)
        for (gate, _), watch in zip(rule.levels(), track.watches, strict=True)
    )
    return replace(track, watches=watches)


def moved(track: Track, by_ns: int) -> Track:
    """Return the memory with all its times moved: the clock they were read from was set."""
    watches = (
        replace(
            watch,
            since_ns=watch.since_ns + by_ns,
            last_ns=watch.last_ns + by_ns,
            onset_ns=watch.onset_ns + by_ns,
        )
        for watch in track.watches
    )
    return replace(track, watches=tuple(watches))


def priority(rule: Rule, track: Track) -> Priority | None:
    """Return the priority at which the rule stands, or None."""
    standing = [level for (_, level), watch in zip(rule.levels(), track.watches, strict=True) if watch.on]
    return max(standing, default=None)


def limit_text(rule: Rule, level: Priority) -> str:
    """Return the limit that belongs to a priority, as text."""
    return next(f"{gate.value:f}" for gate, own in rule.levels() if own is level)


def _count(gate: Gate, watch: Watch, reading: Reading) -> Watch:
    at_ns = reading.at_ns
    if watch.count and at_ns - watch.last_ns > reading.gap_s * NS:
        watch = replace(watch, count=0)
    counts = gate.clear.holds(reading.number) if watch.on else gate.holds(reading.number)
    if not counts:
        return replace(watch, count=0, last_ns=at_ns)
    since_ns = watch.since_ns if watch.count else at_ns
    return replace(watch, since_ns=since_ns, count=watch.count + 1, last_ns=at_ns)


def _switch(gate: Gate, watch: Watch, now_ns: int, home: bool) -> Watch:
    wait_s = gate.clear.for_s if watch.on else gate.delay_s(home)
    least = 1 if gate.delay_s(home) == 0 else 2
    if watch.count < least or now_ns - watch.since_ns < wait_s * NS:
        return watch
    onset_ns = watch.onset_ns if watch.on else watch.since_ns
    return Watch(not watch.on, 0, 0, watch.last_ns, onset_ns)
