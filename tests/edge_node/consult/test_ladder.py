"""The ladder of a consult: fast down, slow up, and never off the end."""

import pytest

from edge_node.consult.ladder import (
    BAD_SAMPLES,
    FIRST_HOLD_S,
    LOWEST,
    RUNGS,
    Cause,
    Ladder,
    LinkSample,
    ladder_from,
    step,
)


def _run(ladder: Ladder, start_s: float, seconds: int, loss: float = 0.0, rtt_s: float = 0.05) -> Ladder:
    for second in range(seconds):
        ladder = step(ladder, LinkSample(start_s + second, loss, rtt_s))
    return ladder


def test_rungs_are_those_of_decision_35_in_its_order() -> None:
    assert [rung.name for rung in RUNGS] == ["1080p", "720p", "480p", "240p", "240p5", "stills", "recorded"]
    assert [rung.fps for rung in RUNGS[3:5]] == [15, 5]


def test_one_bad_second_changes_nothing() -> None:
    ladder = step(ladder_from("720p"), LinkSample(0, 0.5, 0.05))
    assert ladder.rung.name == "720p"


def test_two_bad_seconds_step_down_one_rung_and_say_why() -> None:
    ladder = _run(ladder_from("720p"), 0, BAD_SAMPLES, loss=0.2)
    assert (ladder.rung.name, ladder.cause) == ("480p", Cause.LOSS)
    assert _run(ladder_from("720p"), 0, BAD_SAMPLES, rtt_s=1.2).cause is Cause.DELAY


def test_lasting_trouble_ends_at_stills_and_never_by_itself_at_a_recorded_exam() -> None:
    assert _run(ladder_from("1080p"), 0, 600, loss=0.6).index == LOWEST


def test_a_good_link_climbs_back_one_rung_at_a_time_after_its_hold_and_not_above_its_top() -> None:
    ladder = _run(ladder_from("720p"), 0, 5, loss=0.2)
    low = ladder.index
    assert _run(ladder, 10, int(FIRST_HOLD_S)).index == low
    assert _run(ladder, 10, int(FIRST_HOLD_S) + 1).index == low - 1
    climbed = _run(ladder, 10, 120)
    assert (climbed.rung.name, climbed.cause) == ("720p", Cause.NONE)


def test_a_climb_that_fails_makes_the_next_one_wait_twice_as_long() -> None:
    ladder = _run(_run(ladder_from("480p"), 0, 2, loss=0.2), 10, int(FIRST_HOLD_S) + 1)
    assert ladder.rung.name == "480p"
    fallen = _run(ladder, 23, 2, loss=0.2)
    assert (fallen.rung.name, fallen.hold_s) == ("240p", 2 * FIRST_HOLD_S)
    assert _run(fallen, 30, int(FIRST_HOLD_S) + 2).rung.name == "240p"
    assert _run(_run(fallen, 25, 4, loss=0.2), 30, 1).hold_s == 2 * FIRST_HOLD_S


def test_a_middling_link_stays_where_it_is() -> None:
    ladder = _run(ladder_from("720p"), 0, 2, loss=0.2)
    assert _run(ladder, 10, 300, loss=0.05).index == ladder.index


def test_a_busy_node_steps_down_too() -> None:
    ladder = ladder_from("720p")
    for second in range(2):
        ladder = step(ladder, LinkSample(second, 0, 0.05, sent_share=0.3))
    assert (ladder.rung.name, ladder.cause) == ("480p", Cause.LOAD)


def test_the_picture_gives_way_to_measurements_that_find_no_room_on_the_link() -> None:
    ladder = ladder_from("720p")
    for second in range(2):
        ladder = step(ladder, LinkSample(second, 0, 0.05, is_pressed=True))
    assert (ladder.rung.name, ladder.cause) == ("480p", Cause.PRESSED)


def test_an_unknown_rung_is_refused() -> None:
    with pytest.raises(ValueError, match="no rung"):
        ladder_from("4k")
