"""Real processes: a minute of faults violates nothing, and each planted bug is found."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.chaos import schedule, theme
from tests.faults.chaos.episode import Episode
from tests.faults.chaos.steps import BY_NAME, Need
from tests.faults.chaos.tally import Counts
from tests.faults.chaos.theme import Theme
from tests.faults.chaos.world import World, living
from tests.faults.relay.namespaces import Unavailable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
ROUND_S = 6.0
DISK = Theme(mishaps=(theme.DISK_OF_EDGE,))
CLOCKS = Theme(mishaps=theme.CLOCKS)
PLANTS = (
    ("edge", "answer-before-commit", Theme(), {"I5"}),
    ("edge", "number-used-again", Theme(), {"I1", "I2", "I5"}),
    ("hub", "watermark-before-rows", Theme(), {"I3"}),
    ("edge", "full-disk-answered", DISK, {"I5"}),
    ("edge", "own-clock-believed", CLOCKS, {"I9"}),
    ("hub", "unreadable-dropped", Theme(has_garbage=True), {"I1", "I3"}),
    ("hub", "second-machine-taken", Theme(is_cloned=True), {"I2"}),
    ("edge", "never-synced", Theme(), {"I1", "I5"}),
    ("hub", "never-synced", Theme(), {"I1", "I3", "I5"}),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything that is needed once for all tests; skipped by name where this machine cannot."""
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None:
        pytest.skip("Mosquitto is not installed")
    with ExitStack() as undo:
        try:
            yield undo.enter_context(living(Path(tmp_path_factory.mktemp("chaos")), 1, "mosquitto"))
        except Unavailable as reason:
            pytest.skip(str(reason))


def test_a_minute_of_kills_and_bad_links_violates_no_invariant(world: World) -> None:
    counts = Counts()
    for number in (3, 4):
        episode = Episode(world, f"ci/{number}", schedule.rounds(f"ci/{number}", 3, ROUND_S))
        episode.run()
        assert episode.found == []
        counts.add(episode.counts)

    assert counts.crash_count > 20
    assert counts.totals["messages"] > 200
    assert set(counts.checks) >= {"I1", "I2", "I3", "I4", "I5", "I6", "I7"}


@pytest.mark.parametrize("offers", ["second way", "comparison"])
def test_crashes_on_the_second_way_and_in_a_comparison_violate_no_invariant(world: World, offers: Need) -> None:
    rounds = [replace(each, offers=offers, forgets=True) for each in schedule.rounds(f"ci/{offers}", 2, 2 * ROUND_S)]
    episode = Episode(world, f"ci/{offers}", rounds)
    episode.run()

    assert episode.found == []
    assert any(BY_NAME[name].needs == offers for name in episode.counts.crashes if name in BY_NAME)


@pytest.mark.parametrize("befalls", [DISK, CLOCKS, Theme(damages=True, has_garbage=True, is_cloned=True)])
def test_what_befalls_the_machines_violates_no_invariant(world: World, befalls: Theme) -> None:
    episode = Episode(world, "ci/5", schedule.rounds("ci/5", 2, ROUND_S), befalls)
    episode.run()

    assert episode.found == []


@pytest.mark.parametrize(("actor", "plant", "befalls", "expected"), PLANTS)
def test_a_planted_bug_is_found(world: World, actor: str, plant: str, befalls: Theme, expected: set[str]) -> None:
    as_shipped = world.actors[actor].wishes
    world.actors[actor].wishes = replace(as_shipped, plant=plant)
    try:
        rounds = [
            replace(each, forgets=plant == "never-synced") for each in schedule.rounds(f"plant/{plant}", 4, ROUND_S)
        ]
        episode = Episode(world, f"plant/{plant}", rounds, befalls)
        episode.run()
    finally:
        world.actors[actor].wishes = as_shipped

    assert expected & {each.invariant for each in episode.found}, episode.found
