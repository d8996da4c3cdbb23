"""Fault 18: bundles that no node may run come down between good ones; each is refused, the newest good one serves."""

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from edge_node.inference.rollout import ON_DUTY, Rows, Stage
from edge_node.inference.shelf import rows_in
from tests.fakes.bundles import TASK
from tests.faults.chaos import invariants, trails
from tests.faults.chaos.forging import REASONS, Forge, Kind
from tests.faults.chaos.nursery import Unhealthy
from tests.faults.chaos.place import CLINIC, MODEL_ROOT, NODE
from tests.faults.chaos.seen import Violation
from tests.faults.chaos.tally import Counts
from tests.faults.chaos.world import World, until

NAME = "18 bundle released"
EVERY_S, WAITING_LIMIT, GOOD_SHARE = 1.5, 2, 1 / 3
"""How often one is released, how many may wait at the node, as one that dies all the time takes few in, and how many
are good."""
FIRST_LIMIT_S, JUDGED_LIMIT_S = 120.0, 90.0
"""So long may nothing come nearer to its end: a trial takes processor time that others of the machine take too."""
RELEASED_AGAIN = 2
"""How often a release is tried again that the hub's store did not take."""
SERVED = ON_DUTY | {Stage.FORMER, Stage.RETIRED, Stage.ROLLED_BACK}
"""Stages of a bundle that is or was on duty."""


@dataclass(frozen=True, slots=True)
class Released:
    """A bundle that the hub has committed as released, or is about to."""

    kind: Kind
    version: str
    sha256: str

    @property
    def object(self) -> str:
        """What the node's trail calls it: nothing that a bundle says of itself is believed before its signatures."""
        is_believed = self.kind in (Kind.GOOD, Kind.ALTERED)
        return f"bundle/{TASK}/{self.version}" if is_believed else f"bundle/{self.sha256[:12]}"


@dataclass(slots=True)
class Bundles:
    """Releases bundles by the operator's command; used by one thread at a time, its looks by any."""

    world: World
    seed: str
    counts: Counts
    released: list[Released] = field(default_factory=list)
    _forge: Forge = field(init=False)
    _rounds: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        """Make what signs them, and let the node pin its root."""
        folder = self.world.scratch / "makers"
        shutil.rmtree(folder, ignore_errors=True)
        self._forge = Forge(folder)
        (self.world.place.folder / MODEL_ROOT).write_bytes(self._forge.root)

    def begin(self) -> None:
        """Bring the first good one on duty; all live."""
        self.release(Kind.GOOD, Random(f"{self.seed}/bundles"))
        until(lambda: self._on_duty() == [self._newest], FIRST_LIMIT_S, "the first bundle is on duty")

    def release_until(self, is_over: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Release one bundle after the other, with `wait` between, as long as few wait at the node."""
        draw = Random(f"{self.seed}/bundles/{next(self._rounds)}")
        bad = list(REASONS)
        while not is_over():
            if self._waiting() < WAITING_LIMIT:
                if not bad:
                    bad = list(REASONS)
                kind = Kind.GOOD if draw.random() < GOOD_SHARE else bad.pop(draw.randrange(len(bad)))
                self.release(kind if self._forge.can_make(kind) else Kind.GOOD, draw)
            wait(EVERY_S * draw.uniform(0.5, 1.5))

    def release(self, kind: Kind, draw: Random) -> None:
        """Make a bundle and release it; raises Unhealthy where the hub does not take it."""
        version, path = self._forge.made(kind, draw)
        # Before: the node may have taken it in when the command returns.
        self.released.append(Released(kind, version, hashlib.sha256(path.read_bytes()).hexdigest()))
        told = ("release", str(path), "--to", f"{CLINIC.site}/{NODE}")
        for left in reversed(range(RELEASED_AGAIN + 1)):
            try:
                self.world.command("hub", *told)
                break
            except Unhealthy:
                # Its store may be busy with a hub that begins: whoever releases is told so, and does it again.
                if not left:
                    raise
        self.counts.faults[f"{NAME}: {kind}"] += 1

    def until_judged(self) -> None:
        """Wait until the node has judged all; what it has not is found by the look that follows."""
        began_s = came_s = time.monotonic()
        left = len(self.released)
        while time.monotonic() - came_s < JUDGED_LIMIT_S:
            waiting = self._waiting()
            if not waiting:
                self.counts.took("all bundles judged after that", time.monotonic() - began_s)
                return
            if waiting < left:
                left, came_s = waiting, time.monotonic()
            time.sleep(0.2)

    def wrong_now(self) -> list[Violation]:
        """Look what a node that is dead would put on duty: one bundle, and a good one."""
        self.counts.checks[invariants.BUNDLES] += 1
        return [*invariants.one_serves(self._on_duty()), *invariants.only_good_ones_served(self._served(), self._good)]

    def wrong_at_the_end(self) -> list[Violation]:
        """Look when all are dead and everything has been judged."""
        place = self.world.place
        trail = trails.entries_of_nodes(place.hub_folder, place.folder / "trails")
        refused = {(target, reason) for action, target, reason in trail if action == "bundle-refused"}
        taken = {target.rpartition("/")[2] for action, target, _ in trail if action == "bundle-installed"}
        expected = {(each.object, str(REASONS[each.kind])) for each in self.released if each.kind in REASONS}
        return [
            *self.wrong_now(),
            *invariants.newest_serves(self._on_duty(), self._newest),
            *invariants.only_good_ones_served(taken | self._logged(), self._good),
            *invariants.bad_ones_are_refused(expected, refused),
        ]

    @property
    def _good(self) -> list[str]:
        return [each.version for each in self.released if each.kind is Kind.GOOD]

    @property
    def _newest(self) -> str:
        return self._good[-1]

    def _on_duty(self) -> list[str]:
        return [row.version for row in self._rows() if row.stage in ON_DUTY]

    def _rows(self) -> Rows:
        return rows_in(self.world.place.edge_folder / "models")

    def _served(self) -> set[str]:
        return {row.version for row in self._rows() if row.stage in SERVED}

    def _logged(self) -> set[str]:
        """Return the versions that the node's log says were put on duty."""
        lines = self.world.actors["edge"].log.read_text(errors="replace").splitlines()
        return {str(json.loads(line)["version"]) for line in lines if '"event": "bundle-installed"' in line}

    def _waiting(self) -> int:
        """Return how many the node has not judged; all where its store cannot be read just now."""
        with self.world.reading:
            judged = self.world.reader.edge_discarded(self.world.place.edge_folder)
        return sum(each.sha256 not in judged for each in self.released)
