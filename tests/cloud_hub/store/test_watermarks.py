"""The watermark against a plain set of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_hub.store import watermarks
from cloud_hub.store.watermarks import Watermark

BATCHES = st.lists(st.lists(st.integers(1, 60), max_size=12), max_size=12)


def missing(mark: Watermark) -> set[int]:
    return {number for first, last in mark.gaps for number in range(first, last + 1)}


@given(BATCHES)
def test_it_says_what_a_set_of_the_numbers_says(batches: list[list[int]]) -> None:
    mark, model = Watermark(), set[int]()
    for batch in batches:
        before = mark.contig
        mark, model = mark.plus(batch), model | set(batch)
        top = max(model, default=0)
        first_missing = min(set(range(1, top + 2)) - model)
        assert (mark.contig, mark.max) == (first_missing - 1, top)
        assert missing(mark) == set(range(1, top + 1)) - model
        assert mark.contig >= before
        assert [n for n in range(1, 62) if mark.has(n)] == sorted(model)


RUNS = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), max_size=8)


@given(BATCHES, RUNS)
def test_a_run_is_accounted_for_as_its_numbers_are(batches: list[list[int]], runs: list[tuple[int, int]]) -> None:
    mark = Watermark()
    for batch in batches:
        mark = mark.plus(batch)
    for first, more in runs:
        expected = mark.plus(range(first, first + more + 1))
        mark = mark.plus_run(first, first + more)
        assert mark == expected


@given(BATCHES)
def test_with_too_many_gaps_it_only_ever_forgets_stored_numbers(batches: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watermarks, "GAP_LIMIT", 3)
        mark, model = Watermark(), set[int]()
        for batch in batches:
            before = mark
            mark, model = mark.plus(batch), model | set(batch)
            assert len(mark.gaps) <= 3
            assert {n for n in range(1, 62) if mark.has(n)} <= model
            assert mark.contig >= before.contig
            assert mark.is_exact or len(mark.gaps) == 3
        assert mark.plus(model).contig == Watermark().plus(model).contig


def test_a_jump_over_a_million_flags_the_stream_and_keeps_one_gap() -> None:
    mark = Watermark().plus([1, 2, 1_000_000_003])
    assert mark.is_quarantined
    assert (mark.contig, mark.max, mark.gaps) == (2, 1_000_000_003, ((3, 1_000_000_002),))
    assert not Watermark().plus([1, 1_000_002]).is_quarantined
