"""Looks at the stores of the dead and holds the invariants against what it finds."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.chaos import invariants
from tests.faults.chaos.invariants import Size
from tests.faults.chaos.place import NODE
from tests.faults.chaos.seen import EdgeSeen, HubSeen, Violation
from tests.faults.chaos.world import World

LOOKS = 4
LOOK_AGAIN_S = 0.15


@dataclass(slots=True)
class Watch:
    """What was seen so far of one episode; its methods may be called from any thread, one look at a time."""

    world: World
    checks: Counter[str] = field(default_factory=Counter)
    """Invariant -> how often it was held against the stores."""
    hub_before: HubSeen | None = None
    hub_was_set_back: bool = False
    """It was put back to a backup in this episode, and the edge has not been told by everything since."""
    damaged: list[EdgeSeen] = field(default_factory=list)
    """What lay at the edge just before a file of it was damaged."""

    def after_edge(self) -> list[Violation]:
        """Look after the edge died: it lies still, broker and hub go on."""
        world = self.world
        with world.reading:
            ledger = world.read_ledger()
            edge = world.reader.edge(world.place.edge_folder)

            def look() -> list[Violation]:
                hub = self._hub()
                return [
                    *invariants.no_loss(edge, hub, settled=False, hub_was_set_back=self.hub_was_set_back),
                    *invariants.no_duplicates(edge, hub),
                    *invariants.acknowledged_is_stored(edge, hub, hub_was_set_back=self.hub_was_set_back),
                    *invariants.order_is_kept(self.hub_before, hub),
                    *invariants.promises_are_kept(ledger, edge, hub, self._excused(edge, hub)),
                ]

            found = _lasting(look)
        self.checks.update(("I1", "I2", "I3", "I4", "I5"))
        return found

    def after_hub(self) -> list[Violation]:
        """Look after the hub died: it lies still, and the edge cannot have been told more than lies there."""
        world = self.world
        with world.reading:
            hub = world.reader.hub(world.place.hub_folder, NODE, is_dead=True)
            told = world.reader.edge_told(world.place.edge_folder)
            found = [
                *invariants.acknowledged_is_stored(told, hub, hub_was_set_back=self.hub_was_set_back),
                *invariants.no_duplicates(None, hub),
                *invariants.order_is_kept(self.hub_before, hub),
            ]
            self.hub_before = hub
        self.checks.update(("I2", "I3", "I4"))
        return found

    def after_all(self, *, settled: bool) -> list[Violation]:
        """Look when all are dead: what they have written down must agree at this one moment."""
        world = self.world
        with world.reading:
            hub = world.reader.hub(world.place.hub_folder, NODE, is_dead=True)
            edge = world.reader.edge(world.place.edge_folder)
            ledger = world.read_ledger()
            set_back = self.hub_was_set_back and not settled
            found = [
                *invariants.no_loss(edge, hub, settled=settled, hub_was_set_back=set_back),
                *invariants.no_duplicates(edge, hub),
                *invariants.acknowledged_is_stored(edge, hub, hub_was_set_back=set_back),
                *invariants.order_is_kept(self.hub_before, hub),
                *invariants.promises_are_kept(ledger, None if settled else edge, hub, self._excused(edge, hub)),
            ]
            self.hub_before = hub
        self.checks.update(("I1", "I2", "I3", "I4", "I5"))
        return found

    def at_the_end(
        self, calm_ns: tuple[int, int] | None, sizes: list[Size], depth: tuple[float, int]
    ) -> list[Violation]:
        """Look at what only a whole episode shows; after the last `after_all`.

        Args:
            calm_ns: from when to when all was calm long enough, wall clock; None: it never was.
            sizes: of disks and processes.
            depth: see `invariants.is_bounded`.
        """
        world, hub = self.world, self.hub_before
        assert hub is not None
        peaks = [(int(flying), int(window)) for flying, window in map(str.split, _lines(world.peaks_file))]
        ledger = world.read_ledger()
        self.checks.update(("I6", "I7", *(("I8",) if calm_ns else ())))
        # Short lives know no offset yet, and a record without one claims no time.
        self.checks["I9"] += any(
            invariants.claims_time(each, ledger) for row in hub.times.values() for each in row.values()
        )
        found = [
            *invariants.alarms_are_never_given_up(hub),
            *invariants.is_bounded(sizes, peaks, depth),
            *invariants.times_are_true(ledger, hub),
        ]
        if calm_ns:
            found += [*invariants.alarms_are_quick(hub, calm_ns), *invariants.lag_is_short(hub, calm_ns)]
        return found

    def note_set_back(self) -> None:
        """The hub goes on from a backup: its watermarks may be lower than they were."""
        self.hub_before = None
        self.hub_was_set_back = True

    def note_forgotten(self) -> None:
        """The hub's disk has forgotten what was not synced.

        A look at the dead hub may have shown more than that; nobody was told of it, which I1, I3 and I5 look at.
        """
        self.hub_before = None

    def _excused(self, edge: EdgeSeen, hub: HubSeen) -> frozenset[str]:
        return frozenset().union(*(invariants.owned_up(before, edge, hub) for before in self.damaged))

    def _hub(self) -> HubSeen:
        return self.world.reader.hub_whatever(self.world.place.hub_folder, NODE)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _lasting(look: Callable[[], list[Violation]]) -> list[Violation]:
    """Return what is wrong at every one of several looks.

    The hub lives, and is perhaps killed or started at this moment.  What it has only grows, so that what is wrong
    once and right later was never wrong.
    """
    for _ in range(LOOKS - 1):
        if not look():
            return []
        time.sleep(LOOK_AGAIN_S)
    return look()
