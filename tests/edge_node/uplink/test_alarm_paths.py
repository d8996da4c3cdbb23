"""Every alarm goes to every datagram path until the hub has it."""

import pytest
from telemed.v1 import uplink_pb2

from edge_node.uplink.alarm_paths import AlarmPaths
from edge_node.uplink.datagram import AlarmPath, PathEvents
from edge_node.uplink.datagram_socket import PathSettings
from edge_node.uplink.session import Credentials
from tests.fakes.outbox import EPOCH, MemoryOutbox

STREAM = "monitor-1/alarm"
pytestmark = pytest.mark.anyio


def path(interface: str) -> AlarmPath:
    return AlarmPath(PathSettings(interface=interface), Credentials("edge-1", "s"), PathEvents(lambda _receipts: None))


def receipt(contig: int) -> uplink_pb2.Receipt:
    return uplink_pb2.Receipt(stream=STREAM, epoch=EPOCH, contig=contig, max=contig)


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


@pytest.fixture
def paths(outbox: MemoryOutbox) -> AlarmPaths:
    return AlarmPaths(outbox, [path("wwan0"), path("eth0")])


def waiting(paths: AlarmPaths) -> list[int]:
    return [each.repeats.waiting for each in paths.paths]


async def test_each_alarm_is_repeated_on_each_path_until_a_receipt_by_any(
    outbox: MemoryOutbox, paths: AlarmPaths
) -> None:
    outbox.store(STREAM, 3)
    await paths.offer()
    await paths.offer()
    assert waiting(paths) == [3, 3]

    outbox.acked[STREAM] = 2
    paths.take([receipt(2)])
    await paths.offer()
    assert waiting(paths) == [1, 1]


async def test_what_a_path_cannot_hold_is_offered_when_there_is_room(outbox: MemoryOutbox, paths: AlarmPaths) -> None:
    outbox.store(STREAM, 400)
    await paths.offer()
    assert waiting(paths) == [256, 256]

    outbox.acked[STREAM] = 200
    paths.take([receipt(200)])
    await paths.offer()
    assert waiting(paths) == [200, 200]


async def test_what_a_restored_hub_lost_is_offered_again(outbox: MemoryOutbox, paths: AlarmPaths) -> None:
    outbox.store(STREAM, 5)
    await paths.offer()
    outbox.acked[STREAM] = 5
    paths.take([receipt(5)])
    await paths.offer()
    assert waiting(paths) == [0, 0]

    outbox.acked[STREAM] = 1
    await paths.offer()
    assert waiting(paths) == [4, 4]
