"""Waits before trying again."""

from hypothesis import given
from hypothesis import strategies as st

from edge_node.uplink.backoff import wait_s


def test_the_bound_doubles_up_to_the_longest() -> None:
    bounds = [wait_s(failures, 0.5, 30, lambda: 1.0) for failures in (1, 2, 3, 7, 8, 1000)]
    assert bounds == [0.5, 1, 2, 30, 30, 30]


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_every_wait_lies_between_nothing_and_the_longest(failures: int, drawn: float) -> None:
    assert 0 <= wait_s(failures, 0.5, 30, lambda: drawn) <= 30
