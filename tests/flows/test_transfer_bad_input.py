"""Bad input 25, 26 and 27 (reliability 4.4) against a hub process: it stays up, and what was told durable stays so."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
import pytest
from telemed.transfer import CHUNK_BYTES, MESSAGE_LIMIT_BYTES
from telemed.v1 import transfer_pb2, transfer_pb2_grpc

from tests.fakes import rpc_process
from tests.fakes.bare_node import BareNode, Content, SendCall
from tests.fakes.ports import free_port
from tests.fakes.rpc_hub import HOME, metadata

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
FILE = Content(os.urandom(3 * CHUNK_BYTES))
MEMORY_LIMIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub process and a node on a bare client."""

    process: psutil.Process
    node: BareNode

    async def is_sound(self) -> bool:
        """Whether it still takes a file of another node."""
        other, content = BareNode(self.node.stub, HOME), Content(os.urandom(100))
        transfer_id = await other.transfer_id(content)
        return (await other.send(content, transfer_id, [0])).complete == [transfer_id]


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    port = free_port()
    program = await asyncio.create_subprocess_exec(
        rpc_process.PYTHON, rpc_process.__file__, str(tmp_path), str(port), "impatient",
        env=rpc_process.environment(), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout is not None
    # A narrow window, so that a client that does not read is noticed after little.
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_send_message_length", 16 * MESSAGE_LIMIT_BYTES),
        ("grpc.http2.lookahead_bytes", 1),
        ("grpc.http2.bdp_probe", 0),
    ]
    try:
        assert await program.stdout.readline() == b"ready\n"
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            yield Hub(psutil.Process(program.pid), BareNode(transfer_pb2_grpc.TransferStub(channel)))
    finally:
        program.kill()
        await program.wait()


async def code(call: SendCall) -> grpc.StatusCode:
    with contextlib.suppress(grpc.aio.AioRpcError):
        while await call.read() is not grpc.aio.EOF:
            pass
    found: grpc.StatusCode = await call.code()
    return found


async def test_25_messages_too_large_or_far_too_many_are_resource_exhausted(hub: Hub) -> None:
    transfer_id = await hub.node.transfer_id(FILE)
    await hub.node.send(FILE, transfer_id, [0])
    before_bytes = hub.process.memory_info().rss
    async with hub.node.sending() as call:
        await call.write(transfer_pb2.Piece(transfer_id=transfer_id, data=bytes(8 * MESSAGE_LIMIT_BYTES)))
        assert await code(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
    async with hub.node.sending() as call:
        reading = asyncio.create_task(code(call))
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for at in range(100_000):
                piece = transfer_pb2.Piece(transfer_id=transfer_id, offset=CHUNK_BYTES + at, data=FILE.data[:1])
                await call.write(piece)
        # A client that is still writing when the call ends may see its own failure before the hub's status.
        assert await reading in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
    assert hub.process.memory_info().rss - before_bytes < MEMORY_LIMIT_BYTES
    assert await hub.is_sound()
    assert (await hub.node.send(FILE, transfer_id, [1, 2])).complete == [transfer_id]


async def test_26_a_client_that_stops_reading_is_cut_off_and_its_watermark_is_intact(hub: Hub) -> None:
    transfer_id = await hub.node.transfer_id(FILE)
    before_bytes = hub.process.memory_info().rss
    async with hub.node.sending() as call, asyncio.timeout(30):
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                for at in range(0, CHUNK_BYTES, 128):
                    data = FILE.data[at : at + 128]
                    await call.write(transfer_pb2.Piece(transfer_id=transfer_id, offset=at, data=data))
    assert hub.process.memory_info().rss - before_bytes < MEMORY_LIMIT_BYTES
    assert [run.first for run in (await hub.node.offer(FILE)).lacking.missing] == [1]
    assert await hub.is_sound()
    assert (await hub.node.send(FILE, transfer_id, [1, 2])).complete == [transfer_id]


async def test_27_no_wrong_or_foreign_identity_gets_nowhere(hub: Hub) -> None:
    transfer_id = await hub.node.transfer_id(FILE)
    for shown in (None, metadata("edge-clinic", "wrong"), metadata("hub")):
        assert await code(hub.node.stub.Send(metadata=shown)) is grpc.StatusCode.UNAUTHENTICATED
    foreign = hub.node.stub.Offer(metadata=metadata("edge-home"))
    await foreign.write(transfer_pb2.OfferPart(head=FILE.head()))
    assert await foreign.code() is grpc.StatusCode.PERMISSION_DENIED
    assert (await BareNode(hub.node.stub, HOME).send(FILE, transfer_id, [0])).durable == []
    assert [run.count for run in (await hub.node.offer(FILE)).lacking.missing] == [3]
    assert await hub.is_sound()
