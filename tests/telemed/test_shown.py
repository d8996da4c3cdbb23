"""What is written down of being shown somebody: by session, kind and person, again after a while, not for ever."""

from telemed.shown import STRETCH_NS, Shown


def test_what_was_written_is_remembered_by_session_kind_and_person() -> None:
    shown = Shown(9)
    for key in (("s", "live-view", "a"), ("s", "live-view", "b"), ("s", "trend-read", "a"), ("t", "live-view", "a")):
        assert [shown.is_due(key, 1), shown.is_due(key, 2)] == [True, False]
    assert not shown.is_due(("s", "live-view", "a"), STRETCH_NS)
    assert shown.is_due(("s", "live-view", "a"), 1 + STRETCH_NS)
    assert not shown.is_due(("s", "live-view", "a"), 2 * STRETCH_NS)


def test_a_clock_that_was_set_back_keeps_nothing_from_being_written() -> None:
    shown = Shown(9)
    assert shown.is_due(("s", "live-view", "a"), 9 * STRETCH_NS)
    assert shown.is_due(("s", "live-view", "a"), 2 * STRETCH_NS)
    assert not shown.is_due(("s", "live-view", "a"), 2 * STRETCH_NS + 1)


def test_what_could_not_be_written_is_due_again() -> None:
    shown = Shown(9)
    assert shown.is_due(("s",), 1)
    shown.forget(("s",))
    assert shown.is_due(("s",), 2)


def test_the_oldest_are_forgotten_first() -> None:
    shown = Shown(3)
    assert [shown.is_due((name,), 1) for name in "abcad"] == [True, True, True, False, True]
    assert len(shown) == 3
    assert [shown.is_due((name,), 2) for name in "da"] == [False, True]
