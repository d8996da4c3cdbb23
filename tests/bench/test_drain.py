"""A short run of the drain: real processes at the two ends of a packet tunnel; how fast it goes is the bench's word."""

import pytest

from bench import drain
from tests.faults.relay.namespaces import Unavailable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
HOURS = 0.05


def test_what_was_written_without_a_link_is_all_at_the_hub_and_live_values_are_back() -> None:
    try:
        outcome = drain.measure(HOURS)
    except Unavailable as reason:
        pytest.skip(str(reason))
    # That all is at the hub, and every bed live on the screen, `measure` itself waits for.
    assert outcome.messages == HOURS * 3600 * len(drain.BEDS)
    assert outcome.buffer_mib > 0
    assert 0 < outcome.live_again_s <= outcome.drained_s
    assert 0 < outcome.link_share <= 1
