"""What may be deleted, and how long the room lasts."""

import pytest
from telemed.topics import Up

from edge_node.buffer import retention

MONTH_HOURS = 24 * 30


@pytest.mark.parametrize(
    ("up", "used_share", "hours"),
    [
        (Up.WAVES, 0.70, MONTH_HOURS),
        (Up.WAVES, 0.71, 24),
        (Up.WAVES, 0.99, 24),
        (Up.VITALS, 0.99, MONTH_HOURS),
        (Up.ALARM, 0.99, MONTH_HOURS),
        (Up.CARE, 0.99, MONTH_HOURS),
    ],
)
def test_waves_go_first_and_alarms_and_events_never_early(up: Up, used_share: float, hours: float) -> None:
    assert retention.keep_hours(up, used_share, MONTH_HOURS) == hours


def test_a_short_keeping_is_never_made_longer() -> None:
    assert retention.keep_hours(Up.WAVES, 0.75, 12) == 12


def test_hours_left_follow_the_measured_rate() -> None:
    assert retention.hours_left(3600 * 1000, written_bytes=60_000, over_s=60) == 1
    assert retention.hours_left(1, written_bytes=1, over_s=29) is None
    assert retention.hours_left(1, written_bytes=0, over_s=60) is None
    assert retention.hours_left(-5, written_bytes=60, over_s=60) == 0
