"""What the minutes make of sets in any order: as if each value were looked at alone."""

from decimal import Decimal
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from telemed.v1 import sample_pb2

from cloud_hub.store.trends import Trends

BEGIN_NS, MINUTE_NS = 1_800_000_000 * 10**9, 60 * 10**9
BEGIN_MINUTE = BEGIN_NS // MINUTE_NS
VALID, DOUBTFUL = sample_pb2.QUALITY_VALID, sample_pb2.QUALITY_QUESTIONABLE


class Given(NamedTuple):
    """A value of a set."""

    measure: str
    text: str
    quality: "sample_pb2.Quality.ValueType"
    own_s: int | None
    """Second of its own time; None: that of its set."""


values = st.builds(
    Given,
    st.sampled_from(["hr", "spo2", "no-measure"]),
    st.sampled_from(["96", "97", "97.0", "9.70e1", "-3", "", "abc"]),
    st.sampled_from([VALID, VALID, VALID, DOUBTFUL]),
    st.none() | st.integers(0, 150),
)


def numerics(at_s: int, some: list[Given]) -> sample_pb2.NumericSet:
    sample = sample_pb2.NumericSet(measured_at_unix_ns=BEGIN_NS + at_s * 10**9)
    for value in some:
        own_ns = 0 if value.own_s is None else BEGIN_NS + value.own_s * 10**9
        sample.values.add(
            measure=value.measure, value=value.text, quality=value.quality, measured_at_unix_ns=own_ns
        )  # fmt: skip
    return sample


@given(st.lists(st.tuples(st.integers(0, 150), st.lists(values, max_size=5)), max_size=12))
def test_minutes_come_out_as_if_each_value_were_looked_at_alone(sets: list[tuple[int, list[Given]]]) -> None:
    expected: dict[tuple[int, str], tuple[int, str, str, str, int]] = {}
    for at_s, some in sets:
        for value in some:
            at_ns = BEGIN_NS + (at_s if value.own_s is None else value.own_s) * 10**9
            if value.quality != VALID or value.measure == "no-measure" or value.text in ("", "abc"):
                continue
            key = (at_ns // MINUTE_NS - BEGIN_MINUTE, value.measure)
            n, low, high, last, last_ns = expected.get(key, (0, value.text, value.text, value.text, at_ns))
            low = value.text if Decimal(value.text) < Decimal(low) else low
            high = value.text if Decimal(value.text) > Decimal(high) else high
            last, last_ns = (value.text, at_ns) if at_ns >= last_ns else (last, last_ns)
            expected[key] = (n + 1, low, high, last, last_ns)
    trends = Trends()
    trends.stage((1, numerics(at_s, some)) for at_s, some in sets)
    trends.kept()
    assert {
        (minute - BEGIN_MINUTE, measure): (fold.n, fold.low, fold.high, fold.last, fold.last_ns)
        for (_, minute), folds in trends._folded.items()
        for measure, fold in folds.items()
    } == expected
