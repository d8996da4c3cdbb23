"""`python -m tests.faults.chaos`: crash edge, hub and broker for some minutes and add the counts to the report."""

import argparse
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.chaos import schedule, tally, theme
from tests.faults.chaos.episode import Episode
from tests.faults.chaos.mishaps import KINDS
from tests.faults.chaos.nursery import ROOT
from tests.faults.chaos.schedule import AIMED_ROUND_S, AIMED_ROUNDS, ROUND_S, ROUNDS
from tests.faults.chaos.tally import Counts, Tally
from tests.faults.chaos.world import PRISTINE, World, living

REPORT = ROOT / "bench" / "chaos.json"
ENDED_STATUS = 143
EVIDENCE = ROOT / "var" / "chaos"
"""Stores and logs of an episode that violated something."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the command line asks for."""

    seed: int
    minutes: float
    only: int | None
    """This episode of the seed alone."""
    broker: str
    mishaps: tuple[str, ...]
    report: Path
    name: str
    """No other run has it."""
    tally: str = ""
    """Name of the tally that the only episode begins from; empty: from the report as it is."""
    theme: str = ""
    """What every episode is of, see `theme.NAMED`; empty: as it is drawn."""

    @property
    def about(self) -> dict[str, str]:
        """When and of what this run is."""
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        command = f"make chaos MINUTES={self.minutes:g} SEED={self.seed}" + (f" OF={self.theme}" if self.theme else "")
        return {"date": date, "commit": commit, "command": command}


def main() -> int:
    """Run; 0 where all invariants held."""
    run = _asked()
    # Mounts and namespaces are undone on the way out, whoever ends the run.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ENDED_STATUS))
    kept = tally.load(run.report)
    before = len(kept.violations)
    own = Counts()
    began_s = time.monotonic()
    with _folder() as folder, living(folder, run.seed, run.broker) as world:
        for number in _numbers(run, began_s):
            _episode(world, run, number, (kept, own))
            _note_run(kept, run, own, (time.monotonic() - began_s, len(kept.violations) - before))
            if len(kept.violations) > before and run.only is not None:
                break
    return int(len(kept.violations) > before)


def _numbers(run: Run, began_s: float) -> Iterator[int]:
    """Return the episodes to run, as long as there is time; one at least."""
    if run.only is not None:
        yield run.only
        return
    for number in itertools.count(1):
        yield number
        if time.monotonic() - began_s >= run.minutes * 60:
            return


def _episode(world: World, run: Run, number: int, into: tuple[Tally, Counts]) -> None:
    """Run one episode and take what it counted."""
    seed = f"{run.seed}/{number}"
    kept, own = into
    crashed = tally.named(kept, run.tally) if run.tally else dict(kept.counts.crashes)
    drawn = theme.of_episode(seed, [each for each in schedule.OWN if schedule.is_lacking(crashed, each)])
    if run.theme:
        drawn = theme.NAMED[run.theme]
    befalls = replace(drawn, mishaps=run.mishaps, damages=False) if run.mishaps else drawn
    count, seconds = (AIMED_ROUNDS, AIMED_ROUND_S) if schedule.is_lacking(crashed) else (ROUNDS, ROUND_S)
    rounds = schedule.rounds(seed, count, seconds, crashed, own=befalls.own)
    episode = Episode(world, seed, rounds, befalls, crashed)
    episode.run()
    more = "".join(f" --mishap '{name}'" for name in run.mishaps) + (f" --of {run.theme}" if run.theme else "")
    began = f"--seed {run.seed} --episode {number} --tally {tally.name_of(crashed)}"
    replay = f"python -m tests.faults.chaos {began} --broker {run.broker}{more}"
    about = run.about | {"seed": run.seed, "episode": number, "replay": replay, "began_from": crashed}
    kept.take(episode.counts, episode.found, about)
    if episode.found:
        _keep_evidence(world, EVIDENCE / f"{run.seed}-{number}")
    else:
        own.add(episode.counts)
    verdict = "; ".join(str(each) for each in episode.found) or "all held"
    sys.stdout.write(f"episode {number}: {episode.counts.crash_count} crashes, {verdict}\n")
    sys.stdout.flush()


def _keep_evidence(world: World, into: Path) -> None:
    """Copy the stores as they are, ledger and logs: the next episode begins anew."""
    world.clear_away()
    shutil.rmtree(into, ignore_errors=True)
    for folder in (world.place.edge_folder, world.place.hub_folder, world.scratch):
        shutil.copytree(
            folder, into / folder.name, ignore=shutil.ignore_patterns("template-*", PRISTINE, "backup", "copies")
        )


def _note_run(kept: Tally, run: Run, own: Counts, so_far: tuple[float, int]) -> None:
    """Write down how this run stands; again after every episode, since it may be ended at any moment."""
    seconds, violations = so_far
    told = run.about | {
        "seed": run.seed,
        "broker": run.broker,
        "minutes": round(seconds / 60, 1),
        "crashes": own.crash_count,
        "crashes_a_minute": round(own.crash_count * 60 / seconds),
        "violations": violations,
        "machine": f"{os.cpu_count()} cores, shared",
        "run": run.name,
    }
    kept.runs[:] = [each for each in kept.runs if each["run"] != run.name]
    kept.runs.append(told)
    tally.save(kept, run.report)


@contextmanager
def _folder() -> Iterator[Path]:
    """Hold a folder for the run."""
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def _asked() -> Run:
    arguments = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    arguments.add_argument("--minutes", type=float, default=1, help="how long; the last episode is finished")
    arguments.add_argument("--seed", type=int, default=None, help="what is drawn; drawn itself if left out")
    arguments.add_argument("--episode", type=int, default=None, help="run this episode of the seed alone")
    arguments.add_argument("--tally", default="", help="run it from the counts of this name, as a violation has them")
    arguments.add_argument("--broker", choices=("mosquitto", "embedded"), default="mosquitto")
    arguments.add_argument("--report", type=Path, default=REPORT, help="JSON file that the counts are added to")
    arguments.add_argument(
        "--mishap", choices=sorted(KINDS), action="append", default=[], help="happens in place of what is drawn; repeat"
    )
    arguments.add_argument("--of", choices=sorted(theme.NAMED), default="", help="all episodes are of this")
    chosen = arguments.parse_args()
    name = f"{int(time.time())}-{os.getpid()}"
    seed = secrets.randbelow(10**6) if chosen.seed is None else chosen.seed
    return Run(
        seed, chosen.minutes, chosen.episode, chosen.broker, tuple(chosen.mishap), chosen.report, name, chosen.tally,
        chosen.of,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
