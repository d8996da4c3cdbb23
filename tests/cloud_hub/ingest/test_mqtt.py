"""What the hub's connection to the broker makes of packets that no sound broker sends."""

from types import SimpleNamespace

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
