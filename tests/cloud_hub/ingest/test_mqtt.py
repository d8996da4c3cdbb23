"""What the hub's connection to the broker makes of packets that no sound broker sends."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from gmqtt.mqtt.package import Package
from structlog.testing import capture_logs

from cloud_hub.ingest import mqtt

pytestmark = pytest.mark.anyio

PUBLISH_QOS_0 = 0x30


async def test_a_message_that_breaks_off_is_told_of_and_the_next_one_is_taken() -> None:
    taken: list[tuple[str, bytes]] = []
    client = mqtt._Client("hub.ingest", lambda topic, payload: taken.append((topic, payload)))
    client._connection = SimpleNamespace(_last_data_in=0.0)
    with capture_logs() as told:
        client._arrived(Package(PUBLISH_QOS_0, b"\0"))
        client._arrived(Package(PUBLISH_QOS_0, b"\0\2up" + b"whole"))
        client._arrived(Package(PUBLISH_QOS_0, b"\0\1\xff" + b"of no topic"))
    assert [one["event"] for one in told] == ["message-failed"]
    assert taken == [("up", b"whole"), ("\ufffd", b"of no topic")]


async def test_what_is_told_in_one_turn_goes_in_one_write_and_in_order() -> None:
    written: list[bytes] = []
    ended: list[bool] = []
    connection = SimpleNamespace(_last_data_in=0.0, send_package=written.append, is_closing=lambda: bool(ended))

    def publish(message: Any) -> tuple[int, bytes]:
        written.append(b"qos 1: " + message.payload)
        return 7, b""

    connection.publish = publish
    client = mqtt._Client("hub.ingest", lambda _topic, _payload: None)
    client._connection = connection
    client._connack_received.set()
    client._arrived(Package(PUBLISH_QOS_0 | 0b10, b"\0\2up\0\5" + b"payload"))
    client._arrived(Package(PUBLISH_QOS_0 | 0b10, b"\0\2up\0\6" + b"payload"))
    client.tell("d", b"x" * 130, 0)
    client.tell("d", b"y", 0)
    assert written == [], "not before this turn is over"
    await asyncio.sleep(0)
    answers, told = b"\x40\2\0\5\x40\2\0\6", b"\x30\x85\1\0\1d" + b"x" * 130 + b"\x30\4\0\1dy"
    assert written == [answers, told]

    written.clear()
    client.tell("d", b"1", 0)
    client.tell("d", b"2", 1)
    client.tell("d", b"3", 0)
    await asyncio.sleep(0)
    assert written == [b"\x30\4\0\1d1", b"qos 1: 2", b"\x30\4\0\1d3"]

    client.tell("d", b"of a line that is gone", 0)
    ended.append(True)
    await asyncio.sleep(0)
    assert len(written) == 3
