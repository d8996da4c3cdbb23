"""While the broker is dead everything goes to the hub itself; the operator is told, and nothing comes twice."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.fakes.brokers import find_mosquitto
from tests.flows.test_alarm_by_datagram import figures
from tests.flows.test_alarm_delay import CALM, Monitor, reporting
from tests.region.region import Clinic, Region, running, until
from tests.region.screen import Screen

CLINIC = Clinic(beds=("B01",))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that Mosquitto, started as root and soon another user, may look into."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def waiting(region: Region) -> float:
    return sum(value for name, value in figures(region).items() if name.startswith("edge_waiting_records{"))


def stuck(operator: httpx.Client) -> set[str]:
    screen = Screen(operator)
    screen.socket.close()
    return {one["code"] for site in screen.snapshot["sites"] for one in site["stuck"]}


@pytest.mark.slow
@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
@pytest.mark.timeout(300)
def test_measurements_reach_the_hub_without_a_broker_and_go_through_it_again_once_it_is_back(folder: Path) -> None:
    region = Region(folder, (CLINIC,), external_broker=True)
    with running(region), closing(region.signed_in(region.hub_url, "operator")) as operator:
        with reporting([Monitor(region, "B01", CALM)]):
            until(lambda: waiting(region) == 0, 20, "all is at the hub")
            region.kill("broker")
            until(lambda: "broker-silent" in stuck(operator), 40, "the operator is told")
            time.sleep(2)
            until(lambda: waiting(region) <= 3, 15, "what was measured without the broker is at the hub")
            region.start_mosquitto()
            until(lambda: "broker-silent" not in stuck(operator), 40, "the broker is used again")
        until(lambda: waiting(region) == 0, 15, "everything is at the hub")
