"""What an episode is waited for with at its end."""

from edge_node.alarms.ruleset import load
from tests.faults.chaos.ending import FILES_LIMIT_S, PAUSED_S, SAVE_LIMIT_S
from tests.faults.chaos.episode import DRAIN_LIMIT_S
from tests.faults.chaos.place import RULESET


def test_no_silent_monitor_is_an_alarm_before_the_last_look() -> None:
    # Saved before and after the link is back, drained, written down, files and downloads.
    longest_s = 3 * SAVE_LIMIT_S + DRAIN_LIMIT_S + 2 * FILES_LIMIT_S + PAUSED_S

    assert load(RULESET).silence.least_s > 2 * longest_s
