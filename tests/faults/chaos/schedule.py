"""What goes wrong and when (pure): the same seed draws the same again from the same tally.

The tally are the crashes by step that were counted before an episode; what happens in it changes no draw.  The draws
are repeatable; how far an actor has come when it is hit depends on the machine.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
"""Faults of reliability 2.10 that the plain run does not inject, and why; 14 and 18 are not its business."""
AT_STEP_LIMIT_S, AT_NEEDY_STEP_LIMIT_S = 5.0, 10.0
"""An actor that has not come to its step so long after it serves is killed wherever it is."""
LONGEST_LIFE_S = {"edge": 1.2, "hub": 1.8, "broker": 6.0}
STEP_SHARE = 0.95
GOAL = 100
"""Crashes that each step is to have at least."""
RARITY, SELDOM = 2, 8
"""How much rare steps are preferred: the power of how seldom they were hit; and below how many all are alike."""
AIMED_STEP_SHARE, ASIDE_STEP_SHARE, ASIDE_LIFE = 1.0, 0.4, 2.5
"""In an episode that seeks one actor's steps it dies at steps alone, and the others less often, and later."""
STOP_SHARE, SLOW_SHARE = 0.08, 0.12
STOP_LIMIT_S = 0.8
SLOW_COMMIT_S = 0.2
RESTORING_SHARE, RESTORE_SHARE = 0.4, 0.6
CALM_SHARE = 0.25
ROUNDS, ROUND_S = 5, 8.0
AIMED_ROUNDS, AIMED_ROUND_S = 8, 20.0
"""Of an episode that seeks one actor's steps: most of what is lost to beginnings and ends goes to crashes."""
FORGETTING_SHARE = 0.6
OFFERS: tuple[Need, ...] = ("", "second way", "comparison")
LEAST_OFFERED = 0.15
"""Weight of what no step lacks any more, to that of what lacks most."""


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


def aim(crashed: Mapping[str, int]) -> str:
    """Return the actor whose steps lack most crashes to the goal; empty where none lacks any."""
    lacking = {actor: sum(_lacks(crashed, step) for step in STEPS if step.actor == actor) for actor in ("hub", "edge")}
    actor, most = max(lacking.items(), key=lambda row: row[1])
    return actor if most else ""


def rounds(seed: str, count: int, seconds: float, crashed: Mapping[str, int] | None = None) -> list[Round]:
    """Draw the rounds of an episode; what they offer is drawn the more the more crashes the steps lack that need it."""
    draw = Random(f"{seed}/rounds")
    share = RESTORE_SHARE if draw.random() < RESTORING_SHARE else 0.0
    lacks = {need: sum(_lacks(crashed or {}, step) for step in STEPS if step.needs == need) for need in OFFERS}
    most = max(lacks.values()) or 1
    weights = [LEAST_OFFERED + lacks[need] / most for need in OFFERS]
    return [
        Round(
            number,
            draw.uniform(0.7, 1.3) * seconds,
            draw.random() < share,
            draw.random() < FORGETTING_SHARE,
            draw.choices(OFFERS, weights)[0],
        )
        for number in range(count)
    ]


def _lacks(crashed: Mapping[str, int], step: Step) -> int:
    return max(0, GOAL - crashed.get(step.name, 0))


def ends_in_calm(seed: str) -> bool:
    """Draw whether an episode ends with the long calm that delays are measured in."""
    return Random(f"{seed}/calm").random() < CALM_SHARE


def fates(seed: str, actor: str, crashed: Counter[str], offers: Need = "", sought: str = "") -> Iterator[Fate]:
    """Draw the lives of an actor in one round, one after the other, without end.

    Args:
        seed: of the round.
        actor: one of the three.
        crashed: how often somebody died at each step before, in all runs: the rarest are drawn most.  What is drawn
            counts as come true, so that a step that is out of reach does not take every life.
        offers: what goes on in the round.
        sought: the actor whose steps are sought in this episode; empty: nobody's.
    """
    draw = Random(f"{seed}/{actor}")
    is_aside = bool(sought) and actor != sought
    # Whoever waits for a step that needs the others alive keeps them from theirs.
    own = [
        each for each in STEPS if each.actor == actor and _is_offered(each, offers) and not (is_aside and each.needs)
    ]
    share, life = STEP_SHARE, 1.0
    if sought:
        share, life = (ASIDE_STEP_SHARE, ASIDE_LIFE) if is_aside else (AIMED_STEP_SHARE, 1.0)
    while True:
        fate = Fate(actor, within_s=draw.uniform(0.05, LONGEST_LIFE_S[actor] * life))
        if own and draw.random() < share:
            fate = _at_step(draw, own, crashed)
        elif actor != "broker" and draw.random() < STOP_SHARE:
            fate = replace(fate, stopped_s=draw.uniform(0.1, STOP_LIMIT_S))
        if actor == "hub" and draw.random() < SLOW_SHARE:
            fate = replace(fate, commit_takes_s=SLOW_COMMIT_S)
        yield fate


def _is_offered(step: Step, offers: Need) -> bool:
    """Whether a step can be reached in a round; with the broker out of reach only the second way and files are."""
    return step.needs in ((offers, "file") if offers == "second way" else ("", "file", offers))


def _at_step(draw: Random, own: list[Step], crashed: Counter[str]) -> Fate:
    """Draw the step that ends a life."""
    (step,) = draw.choices(own, [(SELDOM + crashed[step.name]) ** -RARITY for step in own])
    crashed[step.name] += 1
    # Early hits more often than late ones: a life should come to its end soon.
    nth = 1 + int(draw.random() ** 2 * HIT_LIMIT[step.often])
    return Fate(step.actor, step.name, nth, AT_NEEDY_STEP_LIMIT_S if step.needs else AT_STEP_LIMIT_S)


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
