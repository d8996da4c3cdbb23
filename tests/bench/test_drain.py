"""A short run of the drain: real processes at the two ends of a packet tunnel."""

import pytest

from bench import drain
from tests.faults.relay.namespaces import Unavailable

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_what_was_written_without_a_link_is_all_at_the_hub_and_live_values_are_back() -> None:
    try:
        outcome = drain.measure(0.02)
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert outcome.messages == 72 * len(drain.BEDS)
    assert outcome.live_again_s < 60
    assert outcome.buffer_mib > 0
