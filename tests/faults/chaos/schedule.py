"""What goes wrong and when, drawn from a seed (pure): the same seed draws the same again.

The draws are repeatable; how far an actor has come when it is hit depends on the machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from tests.faults.chaos.steps import HIT_LIMIT, STEPS, Step
from tests.faults.relay.settings import Settings, plain

KILLED = {"edge": "1 edge killed", "hub": "2 hub killed", "broker": "3 broker killed and wiped"}
POWER, RESTORED, SLOW_HUB, STOPPED = "4 all killed at once", "17 hub put back to a backup", "12 slow hub", "19 stopped"
OPEN = {
    "4 pages that were not synced are dropped": "needs a file system that forgets; the kill of all three is counted",
    "6 write-ahead log cut off": "cut after a commit it looks like one that was never longer",
    "13 restart storm of 1,000 edges": "a measurement of its own: `bench.storm`",
}
"""Faults of reliability 2.10 that the plain run does not inject, and why; 14 and 18 are not its business."""
AT_STEP_LIMIT_S, AT_FILE_STEP_LIMIT_S = 2.0, 5.0
"""An actor that has not come to its step by then is killed wherever it is."""
LONGEST_LIFE_S = {"edge": 1.2, "hub": 1.8, "broker": 6.0}
STEP_SHARE = 0.95
RARITY = 2
"""How much rare steps are preferred: the power of how seldom they were hit."""
STOP_SHARE, SLOW_SHARE = 0.08, 0.12
STOP_LIMIT_S = 0.8
SLOW_COMMIT_S = 0.2
RESTORING_SHARE, RESTORE_SHARE = 0.4, 0.6
CALM_SHARE = 0.25


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


def rounds(seed: str, count: int, seconds: float) -> list[Round]:
    """Draw the rounds of an episode."""
    draw = Random(f"{seed}/rounds")
    share = RESTORE_SHARE if draw.random() < RESTORING_SHARE else 0.0
    return [Round(number, draw.uniform(0.7, 1.3) * seconds, draw.random() < share) for number in range(count)]


def ends_in_calm(seed: str) -> bool:
    """Draw whether an episode ends with the long calm that delays are measured in."""
    return Random(f"{seed}/calm").random() < CALM_SHARE


def fates(seed: str, actor: str, crashed: Callable[[str], int]) -> Iterator[Fate]:
    """Draw the lives of an actor, one after the other, without end.

    Args:
        seed: of the episode.
        actor: one of the three.
        crashed: tells how often somebody died at a step so far, in all runs: the rarest are drawn most.
    """
    draw = Random(f"{seed}/{actor}")
    bag = _steps(draw, actor, crashed)
    while True:
        life_s = draw.uniform(0.05, LONGEST_LIFE_S[actor])
        fate = Fate(actor, within_s=life_s)
        if draw.random() < STEP_SHARE and (step := next(bag, None)):
            # Early hits more often than late ones: a life should come to its end soon.
            nth = 1 + int(draw.random() ** 2 * HIT_LIMIT[step.often])
            fate = Fate(actor, step.name, nth, AT_FILE_STEP_LIMIT_S if step.needs_file else AT_STEP_LIMIT_S)
        elif actor != "broker" and draw.random() < STOP_SHARE:
            fate = replace(fate, stopped_s=draw.uniform(0.1, STOP_LIMIT_S))
        if actor == "hub" and draw.random() < SLOW_SHARE:
            fate = replace(fate, commit_takes_s=SLOW_COMMIT_S)
        yield fate


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


def _steps(draw: Random, actor: str, crashed: Callable[[str], int]) -> Iterator[Step]:
    """Draw steps of an actor without end, each the more often the more seldom it was fatal so far."""
    own: list[Step] = [each for each in STEPS if each.actor == actor]
    while own:
        yield draw.choices(own, [1 / (1 + crashed(step.name)) ** RARITY for step in own])[0]
