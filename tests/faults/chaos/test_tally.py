"""What is counted over the runs, and how it is drawn."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from tests.faults.chaos import schedule, tally
from tests.faults.chaos.child import find
from tests.faults.chaos.seen import Violation
from tests.faults.chaos.steps import BY_NAME, STEPS
from tests.faults.chaos.tally import Counts, Tally

T = TypeVar("T")
ABOUT = {"seed": 7, "episode": 3, "date": "2026-11-26", "commit": "abc", "replay": "python -m tests.faults.chaos"}


def counts(crashes: int) -> Counts:
    return Counts(crashes=Counter({STEPS[0].name: crashes}), checks=Counter({"I1": 2}), longest_s={"edge": crashes})


def never(_step: str) -> int:
    return 0


def first(drawn: Iterator[T]) -> list[T]:
    return list(itertools.islice(drawn, 50))


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert first(schedule.fates("1/1", "hub", never)) == first(schedule.fates("1/1", "hub", never))
    assert first(schedule.fates("1/1", "hub", never)) != first(schedule.fates("1/2", "hub", never))
    assert first(schedule.weathers("1/1")) == first(schedule.weathers("1/1"))
    assert schedule.rounds("1/1", 4, 6) == schedule.rounds("1/1", 4, 6)


def test_a_step_that_was_seldom_hit_is_drawn_more_until_it_has_caught_up() -> None:
    own = [step.name for step in STEPS if step.actor == "hub"]
    crashed = Counter(dict.fromkeys(own, 50))
    crashed[own[3]] = 0
    fates = schedule.fates("1/1", "hub", lambda name: crashed[name])
    drawn = [fate.step for fate in itertools.islice(fates, 40) if fate.step]
    assert drawn.count(own[3]) > 30

    crashed = Counter()
    for fate in itertools.islice(schedule.fates("1/1", "hub", lambda name: crashed[name]), 1500):
        crashed.update([fate.step] if fate.step else [])
    assert min(crashed[name] for name in own) > 40


def test_the_place_of_every_step_is_there_in_the_product() -> None:
    for step in STEPS:
        if step.when != "at":
            assert callable(find(step.place)[2]), step.name
    assert len(BY_NAME) == len(STEPS)


def test_counts_add_up_over_runs_and_over_files(tmp_path: Path) -> None:
    kept = Tally()
    kept.take(counts(3), [], ABOUT)
    tally.save(kept, tmp_path / "chaos.json")
    again = tally.load(tmp_path / "chaos.json")
    again.take(counts(2), [], ABOUT)

    assert again.counts.crash_count == 5
    assert again.counts.checks["I1"] == 4
    assert again.counts.longest_s == {"edge": 3}


def test_an_episode_that_violates_anything_counts_nothing_and_is_named_with_its_seed(tmp_path: Path) -> None:
    kept = Tally()
    kept.take(counts(3), [Violation("I1", "6 of 7 lost")], ABOUT)
    tally.save(kept, tmp_path / "chaos.json")

    assert kept.counts.crash_count == 0
    page = (tmp_path / "chaos.md").read_text()
    assert "1 violations" in page
    assert "I1: 6 of 7 lost (seed 7, episode 3, 2026-11-26, abc; replay: `python -m tests.faults.chaos`)" in page


def test_the_page_has_a_row_for_every_step_even_if_nothing_died_there() -> None:
    page = tally.page(Tally())

    assert all(f"| {step.name} | 0 |" in page for step in STEPS)
