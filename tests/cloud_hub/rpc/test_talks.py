"""Nodes that talk to the hub past the broker, on a real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from telemed.topics import Down, Up
from telemed.v1 import talk_pb2, talk_pb2_grpc
from telemed.wire import CONTAINER_LIMIT_BYTES

from cloud_hub.rpc.talks import UNREAD_LIMIT
from tests.fakes.brokers import until
from tests.fakes.rpc_hub import CLINIC, HOME, RunningHub, metadata, running_hub, sqlite

pytestmark = pytest.mark.anyio


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    care = sqlite(tmp_path)
    async with running_hub(tmp_path, care) as server:
        yield server
    await asyncio.to_thread(care.close)


@pytest.fixture
async def channel(hub: RunningHub) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{hub.port}", options=[("grpc.enable_http_proxy", 0)]) as opened:
        yield opened


async def heard(call: grpc.aio.StreamStreamCall[talk_pb2.Upward, talk_pb2.Downward]) -> talk_pb2.Downward:
    message = await call.read()
    assert isinstance(message, talk_pb2.Downward)
    return message


async def test_a_node_speaks_for_itself_alone_and_hears_only_what_is_for_it(
    hub: RunningHub, channel: grpc.aio.Channel
) -> None:
    came: list[str] = []
    hub.server.talks.take = lambda topic, _payload: came.append(topic)
    stub = talk_pb2_grpc.TalkStub(channel)
    clinic, home = (stub.Hold(metadata=metadata(each.node)) for each in (CLINIC, HOME))
    for call in (clinic, home):
        await call.write(talk_pb2.Upward(what=Up.ALARM, payload=b"x"))
        assert (await heard(call)).taken == 1
    assert came == [CLINIC.up(Up.ALARM), HOME.up(Up.ALARM)]
    hub.server.talks.publish(HOME.down(Down.RECEIPT), b"for home", 0)
    hub.server.talks.publish(CLINIC.down(Down.RECEIPT), b"for the clinic", 0)
    assert (await heard(clinic)).payload == b"for the clinic"
    assert (await heard(home)).payload == b"for home"


async def test_whoever_does_not_show_who_calls_is_not_heard(hub: RunningHub, channel: grpc.aio.Channel) -> None:
    for shown in (None, metadata(CLINIC.node, "wrong"), metadata("hub")):
        call = talk_pb2_grpc.TalkStub(channel).Hold(metadata=shown)
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_what_is_nothing_that_goes_up_ends_the_call(hub: RunningHub, channel: grpc.aio.Channel) -> None:
    call = talk_pb2_grpc.TalkStub(channel).Hold(metadata=metadata(CLINIC.node))
    await call.write(talk_pb2.Upward(what="../../other", payload=b"x"))
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await call.details() == "talk-unreadable"


async def test_a_node_that_does_not_read_costs_a_bounded_queue(hub: RunningHub, channel: grpc.aio.Channel) -> None:
    call = talk_pb2_grpc.TalkStub(channel).Hold(metadata=metadata(CLINIC.node))
    await until(lambda: hub.registry.get_sample_value("hub_talks") == 1)
    for number in range(2 * UNREAD_LIMIT):
        hub.server.talks.publish(CLINIC.down(Down.EVENTS), number.to_bytes(2, "big"), 1)
    numbers = [int.from_bytes((await heard(call)).payload, "big") for _ in range(UNREAD_LIMIT)]
    assert numbers == list(range(UNREAD_LIMIT))


async def test_a_second_call_of_a_node_takes_the_place_of_the_first(hub: RunningHub, channel: grpc.aio.Channel) -> None:
    stub = talk_pb2_grpc.TalkStub(channel)
    first = stub.Hold(metadata=metadata(CLINIC.node))
    await first.write(talk_pb2.Upward(what=Up.HELLO))
    await first.read()
    second = stub.Hold(metadata=metadata(CLINIC.node))
    await second.write(talk_pb2.Upward(what=Up.HELLO))
    await second.read()
    first.cancel()
    await asyncio.sleep(0.1)
    hub.server.talks.publish(CLINIC.down(Down.RECEIPT), b"to the newest", 0)
    assert (await heard(second)).payload == b"to the newest"


async def test_a_message_larger_than_any_container_ends_the_call(hub: RunningHub, channel: grpc.aio.Channel) -> None:
    came: list[int] = []
    hub.server.talks.take = lambda _topic, payload: came.append(len(payload))
    call = talk_pb2_grpc.TalkStub(channel).Hold(metadata=metadata(CLINIC.node))
    await call.write(talk_pb2.Upward(what=Up.WAVES, payload=bytes(CONTAINER_LIMIT_BYTES)))
    assert (await heard(call)).taken == 1
    await call.write(talk_pb2.Upward(what=Up.WAVES, payload=bytes(CONTAINER_LIMIT_BYTES + 1)))
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert came == [CONTAINER_LIMIT_BYTES]
