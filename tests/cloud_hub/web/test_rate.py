"""The buckets that hold the requests of a session."""

from cloud_hub.web import rate
from cloud_hub.web.rate import Buckets


def test_a_bucket_gives_its_burst_then_one_at_a_time_as_it_fills() -> None:
    buckets = Buckets(60)
    assert [buckets.wait_s(b"a", 0.0) for _ in range(60)] == [0.0] * 60
    assert buckets.wait_s(b"a", 0.0) == 1.0
    assert buckets.wait_s(b"a", 0.75) == 0.25
    assert buckets.wait_s(b"a", 1.0) == 0.0
    assert buckets.wait_s(b"a", 1.0) == 1.0
    assert buckets.wait_s(b"b", 1.0) == 0.0


def test_a_bucket_never_holds_more_than_a_minutes_worth() -> None:
    buckets = Buckets(10)
    buckets.wait_s(b"a", 0.0)
    assert [buckets.wait_s(b"a", 3600.0) for _ in range(11)] == [0.0] * 10 + [6.0]


def test_the_session_longest_unheard_is_forgotten_first() -> None:
    buckets = Buckets(10)
    for number in range(rate.REMEMBERED):
        buckets.wait_s(str(number).encode(), 0.0)
    buckets.wait_s(b"0", 0.0)
    buckets.wait_s(b"new", 0.0)
    assert b"0" in buckets._of
    assert b"1" not in buckets._of
    assert len(buckets._of) == rate.REMEMBERED
