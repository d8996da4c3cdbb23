"""What counts as a flood from a peer of a consult."""

import pytest

from edge_node.consult.quota import BYTES_PER_S, PACKETS_PER_S, Inflow, is_flood

BEFORE = Inflow(10.0, 5_000, 900_000)


@pytest.mark.parametrize(
    ("span_s", "packets", "size_bytes", "flood"),
    [
        (1.0, 60, 9_000, False),
        (1.0, PACKETS_PER_S + 1, 9_000, True),
        (1.0, 60, BYTES_PER_S + 1, True),
        (4.0, 2 * PACKETS_PER_S, 2 * BYTES_PER_S, False),
        (0.0, PACKETS_PER_S // 2, 0, False),
    ],
    ids=["a browser", "packets", "bytes", "a long sample", "two samples at once"],
)
def test_a_rate_over_the_quota_is_a_flood(span_s: float, packets: int, size_bytes: int, flood: bool) -> None:
    now = Inflow(BEFORE.at_s + span_s, BEFORE.packets + packets, BEFORE.size_bytes + size_bytes)
    assert is_flood(BEFORE, now) is flood
