"""Two machines that say they are the same node (bad input 18, fault 16): pure.

By the run: a node draws a random number at each start.  A run that another one has followed never speaks again on one
machine; where both speak, the later one is shut out.  By the boot clock, for nodes that tell no run: our clock minus
their CLOCK_BOOTTIME is the moment they booted, which never moves back for one machine.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from telemed.topics import NodeAddress

TOLERANCE_NS = 120 * 1_000_000_000
"""Longer than a first presence may reasonably take on the way."""
SILENT_S = 15.0
"""Who says nothing for this long, three heartbeats, is taken to be gone."""
ON_THE_WAY_S = 3.0
"""What is heard so soon after another run's first word may have been on its way before it."""


class Verdict(Enum):
    """What becomes of somebody who speaks under a node's name."""

    TAKEN = "taken"
    WAITS = "waits"
    """It is not clear yet whether the run before it is over: it must ask again."""
    REFUSED = "refused"
    """Another machine has the name."""


class Run(NamedTuple):
    """A run of a node as it introduces itself."""

    number: int
    previous: frozenset[int] = frozenset()
    """The runs that had its store before."""
    boot: int = 0
    epochs: frozenset[int] = frozenset()
    """Under which it gives out numbers."""
    known: frozenset[int] = frozenset()
    """Epochs of all that it has stored."""


@dataclass(slots=True)
class _Name:
    """Who speaks under one name."""

    run: Run
    heard_s: float
    since_s: float
    before: Run | None = None
    """The run that this one followed at once, without a silence in between; None = there was a silence."""
    waiting: dict[int, float] = field(default_factory=dict)
    """Runs that wait -> when they first spoke."""
    refused: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    """Epochs of runs that wait or are refused."""

    def is_followed_by(self, run: Run) -> bool:
        """Whether the same machine seems to have been started again: if so, nobody is made to wait."""
        return self.run.number in run.previous and run.boot == self.run.boot and not run.previous & self.refused

    def take(self, run: Run, now_s: float, *, is_silent: bool) -> None:
        """Let another run have the name; of a machine that was shut out before, all is taken now."""
        self.before = None if is_silent else self.run
        self.run, self.heard_s, self.since_s = run, now_s, now_s
        self.waiting.clear()
        self.held -= run.epochs | run.known

    def give_back(self, run: Run, now_s: float) -> None:
        """Shut out the run that has the name: one that it followed as if it were over is still there."""
        self.refused.add(self.run.number)
        self.held |= self.run.epochs
        self.run, self.before, self.heard_s = run, None, now_s


class RunWatch:
    """Judges which run of a node is the one that is taken in; the operator's way out is a restart of that node."""

    def __init__(self) -> None:
        self._names: dict[NodeAddress, _Name] = {}

    def greeted(self, address: NodeAddress, run: Run, now_s: float) -> Verdict:
        """Judge a run that introduces itself, on a steady clock of ours; number 0 is older software, and is taken."""
        name = self._names.get(address)
        if name is None and run.number:
            name = self._names[address] = _Name(run, now_s, now_s)
        heard = self.heard(address, run.number, now_s, is_late=True)
        if name is not None and heard is Verdict.TAKEN:
            # It may name what it has stored in several greetings.
            name.held -= run.known
        if name is None or heard is not Verdict.WAITS:
            return heard
        is_silent = now_s - name.heard_s >= SILENT_S
        if is_silent or name.is_followed_by(run):
            name.take(run, now_s, is_silent=is_silent)
            return Verdict.TAKEN
        name.held |= run.epochs
        if name.heard_s <= name.waiting.setdefault(run.number, now_s) + ON_THE_WAY_S:
            return Verdict.WAITS
        name.refused.add(run.number)
        return Verdict.REFUSED

    def heard(self, address: NodeAddress, number: int, now_s: float, *, is_late: bool = False) -> Verdict:
        """Judge a heartbeat of a run; one that another run has followed, or that did not greet, is not taken.

        One that was said long ago (`is_late`) does not prove that its run still lives: it may have stood in a broker
        while its node was started again and came another way.
        """
        name = self._names.get(address)
        if name is None or not number:
            return Verdict.TAKEN
        if number in name.refused:
            return Verdict.REFUSED
        if number == name.run.number:
            name.heard_s = name.heard_s if is_late else now_s
            return Verdict.TAKEN
        if is_late:
            return Verdict.WAITS
        if name.before and number == name.before.number and now_s - name.since_s > ON_THE_WAY_S:
            name.give_back(name.before, now_s)
            return Verdict.TAKEN
        return Verdict.WAITS

    def refused(self, address: NodeAddress) -> set[int]:
        """Return the runs that are shut out under this name."""
        name = self._names.get(address)
        return name.refused if name else set()

    def held(self, address: NodeAddress) -> set[int]:
        """Return the epochs of which nothing is taken now: those of runs that wait or are shut out."""
        name = self._names.get(address)
        return name.held if name else set()


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
