"""One episode: from the template through rounds of trouble to the end, when all must have arrived."""

import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

from edge_node.uplink.reconcile.diary import Diary
from tests.faults.chaos import (
    clone,
    credentials,
    damage,
    downloads,
    ending,
    files,
    garbage,
    invariants,
    mishaps,
    schedule,
    trails,
)
from tests.faults.chaos.bundles import Bundles
from tests.faults.chaos.downloads import Downloads
from tests.faults.chaos.files import Files
from tests.faults.chaos.forging import Kind
from tests.faults.chaos.garbage import Garbage
from tests.faults.chaos.nursery import Unhealthy
from tests.faults.chaos.place import empty
from tests.faults.chaos.schedule import (
    ASKED,
    BLOCKED,
    FORGOTTEN,
    KILLED,
    POWER,
    RESTORED,
    SLOW_HUB,
    STOPPED,
    Fate,
    Round,
    Weather,
)
from tests.faults.chaos.seen import Violation
from tests.faults.chaos.steps import AT_RANDOM, BY_NAME, POWER_LOSS
from tests.faults.chaos.tally import Counts
from tests.faults.chaos.theme import NOTHING, Theme
from tests.faults.chaos.watch import Watch
from tests.faults.chaos.world import ACTORS, World, begin_anew
from tests.faults.relay.carrier import DIRECTIONS
from tests.faults.relay.settings import Settings

LIFE_WITHOUT_STEP_S, PATIENCE_S = 1.0, 0.05
DRAIN_LIMIT_S = 30.0
"""So long may nothing come nearer to its end; the whole may take longer on a machine that is busy."""
ASK_EVERY_S = 0.7
QUEUE_FOR_S = 0.5


@dataclass(slots=True)
class Episode:
    """Runs one; what it did is in `counts`, what was wrong in `found`."""

    world: World
    seed: str
    rounds: list[Round]
    theme: Theme = NOTHING
    """What befalls the machines."""
    crashed: Mapping[str, int] = field(default_factory=dict)
    """Crashes of earlier episodes by step: with the seed they decide what is drawn."""
    counts: Counts = field(default_factory=Counts)
    found: list[Violation] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)
    _garbage: Garbage | None = None
    _downloads: Downloads = field(init=False)
    _bundles: Bundles | None = None
    _awaited: set[str] = field(default_factory=set)
    """Actors that are to come to a step in peace."""
    _broken: list[Exception] = field(default_factory=list)
    _drawn: Counter[str] = field(default_factory=Counter)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Run to its end; stops early at the first violation, so that the stores stay as they were."""
        began_s = time.monotonic()
        begin_anew(self.world, self.theme.known_by)
        if self.theme.damages or self.theme.own:
            # What the disk took cannot be sent again to a hub that forgot it, a hub that forgot a certificate does not
            # renew it, and one that forgot a release does not release it again: each fault by itself.
            self.rounds = [replace(each, restores=False) for each in self.rounds]
        self.world.keep_sent(is_long=any(each.restores for each in self.rounds) or self._clock_jumps())
        self.world.may_refuse = {
            name.rpartition(" ")[2] for name in self.theme.mishaps if name.startswith(mishaps.DISK)
        }
        self._calm()
        self._garbage = Garbage(self.world, self.seed) if self.theme.has_garbage else None
        self._downloads = Downloads(self.world, self.seed)
        self.world.has_models = self.theme.has_bundles
        self._bundles = Bundles(self.world, self.seed, self.counts) if self.theme.has_bundles else None
        watch = Watch(self.world)
        backup = self.world.scratch / "backup"
        shutil.rmtree(backup, ignore_errors=True)
        self._drawn = Counter(self.crashed)
        weathers = schedule.weathers(self.seed)
        sending = Files(self.world, self.seed)
        try:
            self._begin()
            self._lose_power_after_first_bundle(watch, (backup, sending))
            for each in self.rounds:
                if self.found:
                    return
                self._trouble(each, watch, (weathers, sending))
                self._lose_power(each, watch, (backup, sending))
                if self.theme.renews and each is self.rounds[0] and not self.found:
                    self.world.start_all()
                    self.found.extend(credentials.steal(self.world, Random(f"{self.seed}/steal"), self.counts))
            if not self.found:
                self._settle(watch, sending)
        except Unhealthy as error:
            self.found.append(Violation("running", str(error)))
        finally:
            self.counts.checks.update(watch.checks)
            self.counts.totals.update(episodes=1, seconds=round(time.monotonic() - began_s))
            self.counts.totals["messages"] += len(self.world.ledger.promises)
            if watch.hub_before:
                self.counts.totals["records"] += sum(len(page) for page in watch.hub_before.pages.values())
            with suppress(Unhealthy):
                self.world.stop_messages()

    def _clock_jumps(self) -> bool:
        return self.theme.renews or any(name.startswith(mishaps.CLOCK) for name in self.theme.mishaps)

    def _begin(self) -> None:
        """Start everybody, and the monitors; with a certificate that has ended or a good bundle, where such come."""
        if self.theme.renews:
            self.found.extend(credentials.begin_ended(self.world, self.counts))
            return
        self.world.start_all()
        self.world.send_messages()
        if self._bundles is not None:
            self._bundles.begin()

    def _lose_power_after_first_bundle(self, watch: Watch, rest: tuple[Path, Files]) -> None:
        """Lose the power before anything else has come: what was seen of signatures must be on the disk by then."""
        if self._bundles is None:
            return
        self._lose_power(replace(self.rounds[0], number=-1, forgets=True), watch, rest)
        self.world.start_all()
        self._bundles.release(Kind.OLDER, Random(f"{self.seed}/older"))

    def _trouble(self, each: Round, watch: Watch, rest: tuple[Iterator[Weather], Files]) -> None:
        """Let every actor live and die, and the links be bad, each in a thread of its own."""
        with ExitStack() as undo:
            if each.offers == "second way":
                undo.enter_context(self.world.place.without_port("broker"))
                undo.enter_context(self.world.hasty())
                self.counts.faults[BLOCKED] += 1
            self._in_threads(each, watch, rest)

    def _in_threads(self, each: Round, watch: Watch, rest: tuple[Iterator[Weather], Files]) -> None:
        self._ended.clear()
        until_s = time.monotonic() + each.seconds
        looks = {"edge": partial(self._after_edge, watch), "hub": watch.after_hub, "broker": list[Violation]}
        # Each actor's steps are its own, so that none counts what another's thread draws.
        fates = {actor: schedule.fates(actor, self._drawn, each, self.seed) for actor in ACTORS}
        work: list[tuple[str, tuple[object, ...]]] = [
            (actor, (self._live, actor, fates[actor], looks[actor], until_s)) for actor in ACTORS
        ]
        if each.offers == "comparison":
            work.append(("asker", (self._ask, until_s)))
        if each.offers == "download":
            work.append(("releaser", (self._release, until_s)))
        if self._bundles is not None:
            over = partial(self._is_over, until_s)
            work.append(("bundles", (self._bundles.release_until, over, self._ended.wait)))
        weathers, sending = rest
        bad_luck = mishaps.drawn(f"{self.seed}/{each.number}", self.theme.mishaps)
        work.append(("weather", (self._blow, weathers, until_s)))
        is_for_others = bool(each.seeks) and each.offers != "file"
        every_s = files.SELDOM_S if is_for_others else files.EVERY_S
        work.append(("files", (self._send, sending, until_s, every_s)))
        work.append(("garbage", (self._babble, f"{self.seed}/{each.number}", until_s)))
        work.append(("mishaps", (self._befall, bad_luck, until_s)))
        threads = [threading.Thread(target=self._guarded, args=told, name=name) for name, told in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._broken:
            raise self._broken[0]
        self._calm()

    def _after_edge(self, watch: Watch) -> list[Violation]:
        return [*watch.after_edge(), *self._wrong_bundles()]

    def _wrong_bundles(self) -> list[Violation]:
        """Look what a node that is dead has on duty."""
        return self._bundles.wrong_now() if self._bundles is not None else []

    def _is_over(self, until_s: float) -> bool:
        return self._ended.is_set() or time.monotonic() >= until_s

    def _guarded(self, work: Callable[..., None], *arguments: object) -> None:
        """Do a thread's work; what goes wrong ends the round and is told, a fault of this runner is raised later."""
        try:
            work(*arguments)
        except Unhealthy as error:
            self._tell([Violation("running", str(error))])
        except Exception as error:
            self._broken.append(error)
            self._ended.set()

    def _tell(self, found: list[Violation]) -> None:
        if found:
            with self._writing:
                self.found.extend(found)
            self._ended.set()

    def _live(self, actor: str, fates: Iterator[Fate], look: Callable[[], list[Violation]], until_s: float) -> None:
        """Let an actor live through one fate after the other; it may be alive already, and is dead or alive after."""
        while time.monotonic() < until_s and not self._ended.is_set():
            fate = next(fates)
            is_needy = bool(fate.step) and bool(BY_NAME[fate.step].needs)
            if self.world.actors[fate.actor].is_alive or (self._is_awaited(fate.actor) and not is_needy):
                # It lives without a step already, or another has to come to a step that needs all others alive.
                within_s = min(fate.within_s, LIFE_WITHOUT_STEP_S) if fate.step else fate.within_s
                fate = Fate(fate.actor, within_s=within_s)
            if not self.world.actors[fate.actor].is_alive:
                self.world.start(fate.actor, step=fate.step, nth=fate.nth, commit_takes_s=fate.commit_takes_s)
            if fate.step and is_needy:
                self._awaited.add(fate.actor)
            died = self._came_to_its_end(fate, until_s)
            self._awaited.discard(fate.actor)
            if died:
                self._tell(look())
        if actor == "broker" and not self.world.actors[actor].is_alive:
            # The hub is not ready without one, and its thread may be waiting for that.
            self.world.start(actor)
            self.world.until_serving(actor)

    def _is_awaited(self, actor: str) -> bool:
        """Whether another actor than this one is to come to its step in peace."""
        return bool(self._awaited - {actor})

    def _came_to_its_end(self, fate: Fate, until_s: float) -> bool:
        """Wait until an actor has died as its fate says, and count it; False: the round ended before."""
        world, actor = self.world, fate.actor
        began_s = time.monotonic()
        if world.until_serving(actor):
            with self._writing:
                self.counts.took(f"{actor} serves again", time.monotonic() - began_s)
        if fate.stopped_s and world.actors[actor].is_alive:
            self._stop(fate)
        # A start takes as long as the machine is busy: the way to a step is what has a limit.
        counts_from_s = time.monotonic() if fate.step else began_s
        left_s = max(0.0, min(counts_from_s + fate.within_s, until_s) - time.monotonic())
        at_step = world.until_dead(actor, left_s)
        self._awaited.discard(actor)
        while not at_step and self._is_awaited(actor) and time.monotonic() < until_s:
            at_step = world.until_dead(actor, PATIENCE_S)
        if not at_step and time.monotonic() >= until_s:
            return False
        if not at_step:
            world.kill(actor)
        if not world.was_killed(actor):
            return False
        with self._writing:
            self.counts.crashes[(at_step and fate.step) or AT_RANDOM[actor]] += 1
            self.counts.faults[KILLED[actor]] += 1
            self.counts.faults.update({SLOW_HUB: 1} if fate.commit_takes_s else {})
        return True

    def _stop(self, fate: Fate) -> None:
        self.world.signal(fate.actor, signal.SIGSTOP)
        self._ended.wait(fate.stopped_s)
        self.world.signal(fate.actor, signal.SIGCONT)
        with self._writing:
            self.counts.faults[f"{STOPPED}: {fate.actor}"] += 1

    def _blow(self, weathers: Iterator[Weather], until_s: float) -> None:
        """Let the links be as they are drawn."""
        while (left_s := until_s - time.monotonic()) > 0 and not self._ended.is_set():
            weather = schedule.CALM if self._awaited else next(weathers)
            link = self.world.place.bedside if weather.at_bedside else self.world.place.link
            for direction in DIRECTIONS:
                link.set(direction, weather.settings)
            is_calm = weather.name == schedule.CALM.name
            self._wait_out(min(weather.seconds, left_s))
            if weather.breaks:
                link.reset()
            for direction in DIRECTIONS:
                link.set(direction, Settings())
            if not is_calm:
                with self._writing:
                    self.counts.faults[weather.name] += 1

    def _wait_out(self, seconds: float) -> None:
        """Let a weather last, but no longer than until somebody is to come to a step in peace."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and not self._awaited and not self._ended.is_set():
            self._ended.wait(PATIENCE_S)
        if self._awaited:
            self._ended.wait(PATIENCE_S)

    def _befall(self, bad_luck: Iterator[tuple[float, str, float]], until_s: float) -> None:
        """Let the machine under the actors have its mishaps."""
        for pause_s, name, factor in bad_luck:
            self._ended.wait(pause_s)
            if self._ended.is_set() or time.monotonic() >= until_s:
                return
            mishaps.KINDS[name](self.world, partial(self._hold, factor))
            with self._writing:
                self.counts.faults[name] += 1

    def _babble(self, seed: str, until_s: float) -> None:
        """Let the node be heard saying what nobody can read."""
        draw = Random(f"{seed}/babble")
        while self._garbage is not None:
            self._ended.wait(draw.uniform(*garbage.EVERY_S))
            if self._ended.is_set() or time.monotonic() >= until_s:
                return
            self._garbage.throw()
            with self._writing:
                self.counts.faults[garbage.NAME] += 1

    def _ask(self, until_s: float) -> None:
        """Ask the node again and again to compare, as its command line does; the disk may be full."""
        diary = Diary(self.world.place.edge_folder)
        while not self._ended.is_set() and time.monotonic() < until_s:
            with suppress(OSError):
                diary.ask()
            with self._writing:
                self.counts.faults[ASKED] += 1
            self._ended.wait(ASK_EVERY_S)

    def _release(self, until_s: float) -> None:
        """Let the hub release files to its node until the round ends."""
        before = len(self._downloads.released)
        self._downloads.release_until(partial(self._is_over, until_s), self._ended.wait)
        with self._writing:
            self.counts.faults[downloads.NAME] += len(self._downloads.released) - before

    def _hold(self, factor: float, seconds: float) -> None:
        self._ended.wait(seconds * factor)

    def _send(self, sending: Files, until_s: float, every_s: float) -> None:
        """Queue files until the round ends."""
        sending.send_until(partial(self._is_over, until_s), self._ended.wait, every_s)

    def _calm(self) -> None:
        for link in (self.world.place.link, self.world.place.bedside):
            for direction in DIRECTIONS:
                link.set(direction, Settings())

    def _lose_power(self, each: Round, watch: Watch, rest: tuple[Path, Files]) -> None:
        """Kill all that live at once, look, and go on; the hub perhaps from what it was in an earlier round."""
        if self.found:
            return
        alive = sum(actor.is_alive for actor in self.world.actors.values())
        self.world.kill_all()
        self.counts.crashes[POWER_LOSS] += alive
        self.counts.faults[POWER] += 1
        if each.forgets:
            self._forget(each, watch)
        self.found.extend([*watch.after_all(settled=False), *self._wrong_bundles()])
        if self.found:
            return
        hub = self.world.place.hub_folder
        backup, sending = rest
        if each.restores and backup.exists():
            empty(hub)
            shutil.copytree(backup, hub, dirs_exist_ok=True)
            self.world.place.sync()
            watch.note_set_back()
            sending.forget()
            self._downloads.forget()
            self.counts.faults[RESTORED] += 1
        elif not backup.exists():
            shutil.copytree(hub, backup)
        if self.theme.damages and each is not self.rounds[-1]:
            self._damage(each, watch)

    def _forget(self, each: Round, watch: Watch) -> None:
        """Drop what edge and hub have not synced."""
        self.world.place.lose_power(Random(f"{self.seed}/{each.number}/forget"))
        # The journal may bring back what was deleted and not synced.
        mishaps.clear(self.world)
        watch.note_forgotten()
        self.counts.faults[FORGOTTEN] += 1

    def _damage(self, each: Round, watch: Watch) -> None:
        """Damage a file of the dead node; let it live in peace until it has saved what is sound."""
        folder = self.world.place.edge_folder
        with self.world.reading:
            before = self.world.reader.edge(folder)
        done = damage.inflict(folder, Random(f"{self.seed}/{each.number}/damage"))
        self.world.place.sync()
        self.counts.faults[done] += 1
        watch.damaged.append(before)
        self.world.start("edge")
        self.world.until_serving("edge")
        self.world.kill("edge")
        with self.world.reading:
            edge = self.world.reader.edge(folder)
        is_aside, holds_all = damage.is_set_aside(folder), done == damage.HEAD
        told = invariants.damage_is_told(before, edge, is_set_aside=is_aside, holds_all=holds_all)
        self.found.extend(told)

    def _settle(self, watch: Watch, sending: Files) -> None:
        """Let all live in peace until everything has arrived, then look for the last time."""
        calm_ns = ending.live_in_calm(self.world) if schedule.ends_in_calm(self.seed) else None
        if calm_ns is None:
            self.world.start_all()
        depth = self._count_depth(watch)
        self.world.start_all()
        if self._bundles is not None:
            self._bundles.until_judged()
        took_s = self.world.until_drained(DRAIN_LIMIT_S)
        self.counts.took("all arrived after the last fault", took_s)
        # The edge writes down what is acknowledged now and then.
        ending.until_written_down(self.world)
        ending.until_files_are_there(self.world, sending, self.counts)
        ending.until_downloads_are_here(self._downloads, self.counts)
        if self._garbage is not None:
            self._garbage.until_taken()
        sizes = ending.sizes(self.world, self.counts)
        self.world.kill_all()
        self.found.extend(watch.after_all(settled=True))
        self.found.extend(watch.at_the_end(calm_ns, sizes, depth))
        self._look_at_files(watch, sending)
        self.found.extend(invariants.downloads_are_here(self._downloads.missing()))
        self.found.extend(self._bundles.wrong_at_the_end() if self._bundles is not None else [])
        place = self.world.place
        self.found.extend(
            trails.unsound(
                place.edge_folder, place.hub_folder, place.folder / "trails", may_lack_entries=bool(watch.damaged)
            )
        )
        assert watch.hub_before is not None
        self.found.extend(self._garbage.missing(watch.hub_before) if self._garbage is not None else [])
        if self.theme.is_cloned and not self.found:
            self.found.extend(clone.lives_beside(self.world, watch.hub_before))
            self.counts.faults[clone.NAME] += 1

    def _count_depth(self, watch: Watch) -> tuple[float, int]:
        """Let some records wait behind a cut link; return how many the edge reports and how many lie in its files."""
        self.world.place.link.cut()
        time.sleep(QUEUE_FOR_S)
        self.world.stop_messages()
        ending.until_saved(self.world)
        reported = self.world.waiting()
        self.world.kill("edge")
        self.counts.crashes[AT_RANDOM["edge"]] += 1
        self.counts.faults[KILLED["edge"]] += 1
        with self.world.reading:
            edge = self.world.reader.edge(self.world.place.edge_folder)
        self.found.extend(watch.after_edge())
        self.world.place.link.heal()
        return reported, edge.waiting

    def _look_at_files(self, watch: Watch, sending: Files) -> None:
        hub = watch.hub_before
        assert hub is not None
        there = replace(hub, files=hub.files & files.whole(self.world.place.hub_folder / "blobs"))
        self.found.extend(invariants.files_are_kept(sending.promised, there))
        self.counts.crashes.update(sending.crashes)
        self.counts.totals["files"] += len(sending.promised)
