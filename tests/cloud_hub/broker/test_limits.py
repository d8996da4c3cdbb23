"""Mosquitto as its generated settings make it: what a busy hub has no time for now, it gets later."""

import asyncio
import time
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from telemed.topics import Up

from bench.publisher import packets, publish
from tests.fakes.brokers import SECRETS, RunningBroker, find_mosquitto, running_broker
from tests.fakes.containers import CLINIC

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
MESSAGES = 6_000


@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed (Debian: mosquitto)")
async def test_what_comes_while_the_hub_reads_nothing_is_kept_for_it(tmp_path: Path) -> None:
    async with running_broker("mosquitto", tmp_path) as broker:
        assert await asyncio.to_thread(_late_reader_gets, broker) == MESSAGES


def _late_reader_gets(broker: RunningBroker) -> int:
    """Return how many of the messages reach a subscriber that reads nothing until all are published."""
    got: list[str] = []
    granted: list[int] = []
    hub = paho.Client(CallbackAPIVersion.VERSION2, client_id="hub.ingest")
    hub.username_pw_set("hub", SECRETS["hub"]["secret"])
    hub.on_connect = lambda client, *_: client.subscribe("up/#", 1)
    hub.on_subscribe = lambda *_: granted.append(1)
    hub.on_message = lambda _client, _data, message: got.append(message.topic)
    hub.connect("127.0.0.1", broker.port)
    while not granted:
        hub.loop(0.1)
    load = packets([(CLINIC.up(Up.VITALS), bytes(1_000))] * MESSAGES)
    publish(broker.port, CLINIC.node, SECRETS[CLINIC.node]["secret"], load)
    until_s = time.monotonic() + 10
    while len(got) < MESSAGES and time.monotonic() < until_s:
        hub.loop(0.1)
    hub.disconnect()
    while hub.loop(0.1) == paho.MQTT_ERR_SUCCESS:
        pass
    return len(got)
