"""What is counted over the runs, and how it is drawn."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.chaos import schedule, tally
from tests.faults.chaos.child import find
from tests.faults.chaos.seen import Violation
from tests.faults.chaos.steps import BY_NAME, STEPS, Need
from tests.faults.chaos.tally import Counts, Tally

T = TypeVar("T")
ABOUT = {"seed": 7, "episode": 3, "date": "2026-11-26", "commit": "abc", "replay": "python -m tests.faults.chaos"}


def counts(crashes: int) -> Counts:
    return Counts(crashes=Counter({STEPS[0].name: crashes}), checks=Counter({"I1": 2}), longest_s={"edge": crashes})


def never() -> Counter[str]:
    return Counter()


def first(drawn: Iterator[T]) -> list[T]:
    return list(itertools.islice(drawn, 50))


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    assert first(schedule.fates("1/1", "hub", never())) == first(schedule.fates("1/1", "hub", never()))
    assert first(schedule.fates("1/1", "hub", never())) != first(schedule.fates("1/2", "hub", never()))
    assert first(schedule.weathers("1/1")) == first(schedule.weathers("1/1"))
    assert schedule.rounds("1/1", 4, 6) == schedule.rounds("1/1", 4, 6)


def drawn(crashed: dict[str, int], lives: int, offers: Need = "") -> Counter[str]:
    """Return which steps end the first lives of a hub."""
    fates = schedule.fates("1/1", "hub", Counter(crashed), offers, "hub")
    return Counter(fate.step for fate in itertools.islice(fates, lives) if fate.step)


def test_the_steps_with_the_fewest_crashes_are_drawn_most_until_they_have_caught_up() -> None:
    own = [step.name for step in STEPS if step.actor == "hub" and not step.needs]
    crashed = dict.fromkeys((step.name for step in STEPS if step.actor == "hub"), 60)
    behind = own[3:6]
    seldom = drawn(crashed | dict.fromkeys(behind, 20), 40)
    assert sum(seldom[name] for name in behind) > 15

    even = drawn(crashed, 4000)
    assert max(even[name] for name in own) < 1.3 * min(even[name] for name in own)


def test_a_step_that_needs_something_is_drawn_only_where_that_goes_on() -> None:
    for need in schedule.OFFERS:
        steps = {BY_NAME[name].needs for name in drawn({}, 400, need)}
        assert need in steps
        assert steps <= {"", "file", need}
    assert "" not in {BY_NAME[name].needs for name in drawn({}, 400, "second way")}


def test_an_episode_seeks_the_steps_of_the_actor_that_lacks_most_crashes_to_the_goal() -> None:
    every = {step.name: schedule.GOAL for step in STEPS}
    hub = next(step.name for step in STEPS if step.actor == "hub")

    assert schedule.aim(every) == ""
    assert schedule.aim(every | {hub: schedule.GOAL - 1}) == "hub"


def test_what_an_episode_draws_is_decided_by_its_seed_and_the_tally_it_begins_from() -> None:
    begun = {STEPS[0].name: 3}
    assert drawn(begun, 50) == drawn(dict(begun), 50)
    assert schedule.rounds("1/1", 9, 8, begun) == schedule.rounds("1/1", 9, 8, dict(begun))
    assert tally.name_of(begun) != tally.name_of({STEPS[0].name: 4})


def test_a_replay_finds_the_tally_that_a_violation_names(tmp_path: Path) -> None:
    kept, begun = Tally(), {STEPS[0].name: 3}
    kept.take(counts(3), [Violation("I1", "6 of 7 lost")], ABOUT | {"began_from": begun})
    tally.save(kept, tmp_path / "chaos.json")

    again = tally.load(tmp_path / "chaos.json")
    assert tally.named(again, tally.name_of(begun)) == begun
    with pytest.raises(tally.TallyUnknown):
        tally.named(again, "12345678")


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
