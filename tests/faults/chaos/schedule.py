"""What goes wrong and when (pure): the same seed draws the same again from the same tally.

The tally are the crashes by step that were counted before an episode; what happens in it changes no draw.  The draws
are repeatable; how far an actor has come when it is hit depends on the machine.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random

from tests.faults.chaos.steps import HIT_LIMIT, STEPS, Need, Step
from tests.faults.relay.settings import Settings, plain

KILLED = {"edge": "1 edge killed", "hub": "2 hub killed", "broker": "3 broker killed and wiped"}
POWER, FORGOTTEN = "4 all killed at once", "4 pages that were not synced dropped"
RESTORED, SLOW_HUB, STOPPED = "17 hub put back to a backup", "12 slow hub", "19 stopped"
BLOCKED, ASKED = "broker's port blocked", "comparison asked"
OPEN = {
    "6 write-ahead log cut off": "cut after a commit it looks like one that was never longer",
    "13 restart storm of 1,000 edges": "a measurement of its own: `bench.storm`",
}
"""Faults of reliability 2.10 that the plain run does not inject, and why."""
AT_STEP_LIMIT_S, AT_NEEDY_STEP_LIMIT_S, AT_TRIED_STEP_LIMIT_S = 5.0, 10.0, 25.0
"""An actor that has not come to its step so long after it serves is killed wherever it is; the trial of a bundle starts
processes."""
LONGEST_LIFE_S = {"edge": 1.2, "hub": 1.8, "broker": 6.0}
STEP_SHARE = 0.95
GOAL = 100
"""Crashes that each step is to have at least."""
RARITY, SELDOM = 2, 8
"""How much rare steps are preferred: the power of how seldom they were hit; and below how many all are alike."""
ASIDE_LIFE_S = (6.0, 14.0)
"""While somebody's steps are sought, the others die only now and then: each death of theirs costs the one a start or
a connection."""
STOP_SHARE, SLOW_SHARE = 0.08, 0.12
STOP_LIMIT_S = 0.8
SLOW_COMMIT_S = 0.2
RESTORING_SHARE, RESTORE_SHARE = 0.4, 0.6
CALM_SHARE = 0.25
ROUNDS, ROUND_S = 5, 8.0
AIMED_ROUNDS, AIMED_ROUND_S = 8, 20.0
"""Of an episode while steps lack crashes: most of what is lost to beginnings and ends goes to crashes."""
FORGETTING_SHARE = 0.6
RENEWAL: Need = "renewal"
BUNDLE: Need = "bundle"
OWN = (RENEWAL, BUNDLE)
"""Go on in episodes whose certificates end, and in those in which bundles come, and in no other."""
OFFERS: tuple[Need, ...] = ("", "file", "second way", "comparison", "download", *OWN)
BOTH = ("edge", "hub")
REACHED = {(step.needs, step.actor) for step in STEPS}
Aim = tuple[Need, tuple[str, ...]]
"""What goes on, and whose steps are sought that need it."""
AIMS: tuple[Aim, ...] = (
    ("", BOTH),
    *((need, (actor,)) for need in OFFERS if need for actor in BOTH if (need, actor) in REACHED),
)
"""What a round may be for: steps that need nothing, both actors at once; the others one actor at a time, in the
situation in which they happen."""


@dataclass(frozen=True, slots=True)
class Fate:
    """One life of an actor and how it ends."""

    actor: str
    step: str = ""
    """Where it dies; empty: wherever it is after `within_s`."""
    nth: int = 1
    within_s: float = 1.0
    """When it is killed if it is alive still."""
    stopped_s: float = 0.0
    """It is stopped that long in its life."""
    commit_takes_s: float = 0.0
    """Each commit takes longer by that."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How a link is for a while; both directions alike."""

    name: str
    settings: Settings
    seconds: float
    at_bedside: bool = False
    """It is the line between monitors and edge, not the one to the hub."""
    breaks: bool = False
    """What is connected is broken at the end."""


CALM = Weather("calm", Settings(), 1.0)
KINDS = (
    Weather("7 partition", Settings(cut=True), 1.0),
    Weather("7 longer partition", Settings(cut=True), 3.5),
    Weather("8 flap", Settings(cut=True), 0.25),
    Weather("9 loss 20 %", Settings(loss=plain(0.2)), 1.5),
    Weather("9 loss 50 %", Settings(loss=plain(0.5)), 1.2),
    Weather("10 delay 300 ms each way", Settings(delay_s=0.3, jitter_s=0.1), 2.0),
    Weather(
        "10 reordered, duplicated, corrupted",
        Settings(delay_s=0.01, jitter_s=0.01, reorder=0.1, duplicate=0.1, corrupt=0.02),
        2.0,
    ),
    Weather("monitors' line stalls", Settings(cut=True), 0.7, at_bedside=True),
    Weather("monitors' line drips", Settings(delay_s=0.02, piece_bytes=40), 1.0, at_bedside=True),
    Weather("monitors' line breaks", Settings(), 0.1, at_bedside=True, breaks=True),
)
FLAP_LIMIT = 4


@dataclass(frozen=True, slots=True)
class Round:
    """Some seconds of trouble that end with all three killed at once."""

    number: int
    seconds: float
    restores: bool
    """The hub goes on from an earlier backup afterwards, if there is one."""
    forgets: bool = False
    """What was not synced is dropped when all are killed."""
    offers: Need = ""
    """What goes on beside measurements and files."""
    seeks: tuple[str, ...] = ()
    """Actors of which it seeks the steps that need what it offers; nobody: all die wherever it comes."""


def is_lacking(crashed: Mapping[str, int], *needs: Need) -> bool:
    """Whether any step has fewer crashes than it is to have, or any of those that need something of these."""
    return any(_lacks(crashed, step) for step in STEPS if not needs or step.needs in needs)


def rounds(
    seed: str, count: int, seconds: float, crashed: Mapping[str, int] | None = None, *, own: Need = ""
) -> list[Round]:
    """Draw the rounds of an episode: the more crashes its steps lack, the more rounds are for them.

    Where none lacks any, or with no tally, nothing is sought.  An episode with something of its `own`, see OWN, is for
    the steps of that as long as those lack any.
    """
    draw = Random(f"{seed}/rounds")
    share = RESTORE_SHARE if draw.random() < RESTORING_SHARE else 0.0
    is_for_own = bool(own) and is_lacking(crashed or {}, own)
    aims = [each for each in AIMS if each[0] == own or (each[0] not in OWN and not is_for_own)]
    lacking = [sum(_lacks(crashed or {}, step) for step in sought(*each)) for each in aims]
    is_aimed = crashed is not None and any(lacking)
    made = []
    weights = lacking if any(lacking) else [1] * len(aims)
    for number, (offers, seeks) in enumerate(_apportioned(draw, aims, weights, count)):
        lasts_s, restores = draw.uniform(0.7, 1.3) * seconds, draw.random() < share
        forgets = draw.random() < FORGETTING_SHARE
        made.append(Round(number, lasts_s, restores, forgets, offers, seeks if is_aimed else ()))
    return made


def _apportioned(draw: Random, aims: list[Aim], weights: list[int], count: int) -> list[Aim]:
    """Return so many aims, each as often as its weight wants and no more than one oftener, in a drawn order."""
    ends, begin = list(accumulate(weights)), draw.random()
    chosen = [aims[bisect(ends, (begin + number) / count * ends[-1])] for number in range(count)]
    draw.shuffle(chosen)
    return chosen


def sought(offers: Need, seeks: tuple[str, ...]) -> list[Step]:
    """Return the steps that a round seeks."""
    return [step for step in STEPS if step.needs == offers and step.actor in seeks]


def _lacks(crashed: Mapping[str, int], step: Step) -> int:
    return max(0, GOAL - crashed.get(step.name, 0))


def ends_in_calm(seed: str) -> bool:
    """Draw whether an episode ends with the long calm that delays are measured in."""
    return Random(f"{seed}/calm").random() < CALM_SHARE


def fates(actor: str, crashed: Counter[str], each: Round, seed: str) -> Iterator[Fate]:
    """Draw the lives of an actor in one round, one after the other, without end.

    Args:
        actor: one of the three.
        crashed: how often somebody died at each step before, in all runs: the rarest are drawn most.  What is drawn
            counts as come true, so that a step that is out of reach does not take every life.
        each: the round.
        seed: of the episode.
    """
    draw = Random(f"{seed}/{each.number}/{actor}")
    if each.seeks and actor not in each.seeks:
        while True:
            yield Fate(actor, within_s=draw.uniform(*ASIDE_LIFE_S))
    own = sought(each.offers, (actor,)) if each.seeks else _reached(actor, each.offers)
    share = 1.0 if each.seeks else STEP_SHARE
    while True:
        fate = Fate(actor, within_s=draw.uniform(0.05, LONGEST_LIFE_S[actor]))
        if own and draw.random() < share:
            fate = _at_step(draw, own, crashed)
        elif actor != "broker" and draw.random() < STOP_SHARE:
            fate = replace(fate, stopped_s=draw.uniform(0.1, STOP_LIMIT_S))
        if actor == "hub" and draw.random() < SLOW_SHARE:
            fate = replace(fate, commit_takes_s=SLOW_COMMIT_S)
        yield fate


def _reached(actor: str, offers: Need) -> list[Step]:
    """Return an actor's steps that a round reaches; with the broker out of reach only the second way and files are."""
    within = (offers, "file") if offers == "second way" else ("", "file", offers)
    return [step for step in STEPS if step.actor == actor and step.needs in within]


def _at_step(draw: Random, own: list[Step], crashed: Counter[str]) -> Fate:
    """Draw the step that ends a life."""
    (step,) = draw.choices(own, [(SELDOM + crashed[step.name]) ** -RARITY for step in own])
    crashed[step.name] += 1
    # Early hits more often than late ones: a life should come to its end soon.
    nth = 1 + int(draw.random() ** 2 * HIT_LIMIT[step.often])
    return Fate(step.actor, step.name, nth, _step_limit_s(step))


def _step_limit_s(step: Step) -> float:
    if step.needs == BUNDLE:
        return AT_TRIED_STEP_LIMIT_S
    return AT_NEEDY_STEP_LIMIT_S if step.needs else AT_STEP_LIMIT_S


def weathers(seed: str) -> Iterator[Weather]:
    """Draw how the links are, one after the other, without end; calm comes between."""
    draw = Random(f"{seed}/weather")
    while True:
        yield replace(CALM, seconds=draw.uniform(0.3, 2.0))
        kind = draw.choice(KINDS)
        times = draw.randint(2, FLAP_LIMIT) if kind.name.startswith("8") else 1
        for _ in range(times):
            yield replace(kind, seconds=kind.seconds * draw.uniform(0.5, 1.2))
            if times > 1:
                yield replace(CALM, seconds=draw.uniform(0.1, 0.3))
