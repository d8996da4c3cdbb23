"""What is counted over the runs, and how it is drawn."""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.faults.chaos import schedule, tally, theme
from tests.faults.chaos.child import find
from tests.faults.chaos.schedule import Round
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


def round_for(offers: Need = "", seeks: tuple[str, ...] = ()) -> Round:
    return Round(1, 20.0, restores=False, offers=offers, seeks=seeks)


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    same = first(schedule.fates("hub", never(), round_for(), "1/1"))
    assert same == first(schedule.fates("hub", never(), round_for(), "1/1"))
    assert same != first(schedule.fates("hub", never(), round_for(), "1/2"))
    assert first(schedule.weathers("1/1")) == first(schedule.weathers("1/1"))
    assert schedule.rounds("1/1", 4, 6) == schedule.rounds("1/1", 4, 6)


def drawn(crashed: dict[str, int], lives: int, each: Round) -> Counter[str]:
    """Return which steps end the first lives of a hub."""
    fates = schedule.fates("hub", Counter(crashed), each, "1/1")
    return Counter(fate.step for fate in itertools.islice(fates, lives) if fate.step)


def test_the_steps_with_the_fewest_crashes_are_drawn_most_until_they_have_caught_up() -> None:
    plain = round_for(seeks=schedule.BOTH)
    own = [step.name for step in STEPS if step.actor == "hub" and not step.needs]
    crashed = dict.fromkeys((step.name for step in STEPS if step.actor == "hub"), 60)
    behind = own[3:6]
    seldom = drawn(crashed | dict.fromkeys(behind, 20), 40, plain)
    assert sum(seldom[name] for name in behind) > 15

    even = drawn(crashed, 4000, plain)
    assert max(even[name] for name in own) < 1.3 * min(even[name] for name in own)


def test_a_step_that_needs_something_is_drawn_only_where_that_goes_on() -> None:
    for need in (need for need, actor in schedule.REACHED if actor == "hub"):
        steps = {BY_NAME[name].needs for name in drawn({}, 400, round_for(need))}
        assert need in steps
        assert steps <= {"", "file", need}
    assert "" not in {BY_NAME[name].needs for name in drawn({}, 400, round_for("second way"))}


def test_a_round_that_seeks_steps_ends_every_life_at_one_of_them_while_the_others_live_on() -> None:
    for offers, seeks in schedule.AIMS:
        each = round_for(offers, seeks)
        for actor in (*schedule.BOTH, "broker"):
            lives = first(schedule.fates(actor, never(), each, "1/1"))
            if actor in seeks:
                assert all(BY_NAME[life.step] in schedule.sought(offers, (actor,)) for life in lives)
            else:
                assert all(life.step == "" and life.within_s >= schedule.ASIDE_LIFE_S[0] for life in lives)


def test_every_step_of_edge_and_hub_is_sought_by_some_round() -> None:
    reached = [step for aim in schedule.AIMS for step in schedule.sought(*aim)]

    assert sorted(step.name for step in reached) == sorted(step.name for step in STEPS if step.actor != "send")


def test_the_more_crashes_steps_lack_to_the_goal_the_more_rounds_seek_them() -> None:
    every = {step.name: schedule.GOAL for step in STEPS}
    behind = next(step for step in STEPS if (step.actor, step.needs) == ("edge", "comparison"))
    ahead = next(step for step in STEPS if (step.actor, step.needs) == ("hub", "file"))

    assert not schedule.is_lacking(every)
    assert {each.seeks for each in schedule.rounds("1/1", 9, 8, every)} == {()}
    lacking = every | {behind.name: 10, ahead.name: schedule.GOAL - 10}
    assert schedule.is_lacking(lacking)
    sought = Counter((each.offers, each.seeks) for each in schedule.rounds("1/1", 400, 8, lacking))
    assert set(sought) == {("comparison", ("edge",)), ("file", ("hub",))}
    assert sought["comparison", ("edge",)] == 360


@pytest.mark.parametrize("own", schedule.OWN)
def test_renewals_and_bundles_are_sought_in_episodes_of_their_own_and_in_no_other(own: Need) -> None:
    nothing: dict[str, int] = {}
    renewed = {step.name: schedule.GOAL for step in STEPS if step.needs == own}

    ending = {each.offers for each in schedule.rounds("1/1", 40, 8, nothing, own=own)}
    assert ending == {own}
    other = {each.offers for each in schedule.rounds("1/1", 40, 8, nothing)}
    assert other == set(schedule.OFFERS) - set(schedule.OWN)
    every = {step.name: schedule.GOAL for step in STEPS}
    assert own not in {each.offers for each in schedule.rounds("1/1", 40, 8, every)}
    assert own in {each.offers for each in schedule.rounds("1/1", 40, 8, every, own=own)}
    caught_up = {each.offers for each in schedule.rounds("1/1", 40, 8, renewed, own=own)}
    assert caught_up == set(schedule.OFFERS) - set(schedule.OWN)


def test_what_is_sought_befalls_more_episodes() -> None:
    plain = Counter(theme.of_episode(f"1/{number}").own for number in range(400))
    sought = Counter(theme.of_episode(f"1/{number}", schedule.OWN).own for number in range(400))

    for own in schedule.OWN:
        assert 20 < plain[own] < sought[own]


def test_what_an_episode_draws_is_decided_by_its_seed_and_the_tally_it_begins_from() -> None:
    begun = {STEPS[0].name: 3}
    assert drawn(begun, 50, round_for()) == drawn(dict(begun), 50, round_for())
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


def test_of_one_bug_that_shows_in_a_hundred_streams_a_few_are_told() -> None:
    kept = Tally()
    kept.take(Counts(), [Violation("I1", f"stream {number}") for number in range(100)], {"seed": 7})
    assert [each["what"] for each in kept.violations[-2:]] == ["stream 3", "96 other violations of the same episode"]
    assert len(kept.violations) == 5


def test_the_page_has_a_row_for_every_step_even_if_nothing_died_there() -> None:
    page = tally.page(Tally())

    assert all(f"| {step.name} | 0 |" in page for step in STEPS)
