"""What a peer counts."""

import pytest

from edge_node.consult.peer import Count, sent_share


@pytest.mark.parametrize(
    ("taken", "sent", "rung_fps", "share"),
    [(25, 25, 30, 1.0), (30, 15, 15, 1.0), (30, 10, 30, 1 / 3), (0, 0, 30, 1.0), (25, 0, 0.2, 1.0)],
)
def test_a_slow_camera_or_a_low_rung_is_no_load(taken: int, sent: int, rung_fps: float, share: float) -> None:
    assert sent_share(Count(10.0, 100, 200), Count(11.0, 100 + sent, 200 + taken), rung_fps) == pytest.approx(share)
