"""A short run of how near ingest comes to its limit: real broker, real hub; how fast it goes is the bench's word."""

import pytest

from bench import ingest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_every_rate_is_measured_with_what_the_product_stores_today() -> None:
    rates = ingest.measure(400)
    assert rates.messages == 400
    assert min(rates.broker_and_counter_per_s, rates.batched_upserts_per_s, rates.hub_ingest_per_s) > 0
    assert rates.limit_per_s == min(rates.broker_and_counter_per_s, rates.batched_upserts_per_s)
