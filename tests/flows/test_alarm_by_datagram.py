"""While the broker hangs, an alarm still reaches the hub, and the node is told so."""

import os
import signal
import time
from contextlib import closing

import httpx
import pytest

from tests.flows.test_alarm_delay import CALM, Monitor, listening, reporting
from tests.region.region import Clinic, Region, running, until

CLINIC = Clinic(beds=("B01",))


def figures(region: Region) -> dict[str, float]:
    text = httpx.get(f"{region.page_url()}/metrics", timeout=5).text
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_alarm_reaches_the_hub_and_is_receipted_without_the_broker(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(Region(tmp_path_factory.mktemp("region"), (CLINIC,))) as region:
        still = Monitor(region, "B01", CALM | {"rr": "0"})
        with (
            closing(region.signed_in(region.hub_url, "physician")) as physician,
            listening(physician) as hub,
            reporting([still]),
        ):
            until(lambda: figures(region)['edge_alarm_path_up{way="route"}'] == 1, 10, "the datagram path is up")
            os.kill(region.broker_pid(), signal.SIGSTOP)
            time.sleep(2)
            still.changed.set()
            key = ("baoshan-clinic:B01", "apnoea", "high")
            until(lambda: key in hub, 10, "the alarm is on the hub's screen")
            assert hub[key] - still.said_at < 2
            until(lambda: figures(region)['edge_waiting_records{class="alarm"}'] == 0, 5, "the receipt came back")
            assert figures(region)['edge_waiting_records{class="vitals"}'] > 0
            os.kill(region.broker_pid(), signal.SIGCONT)
