"""Calls of nodes on a real server: what is taken, what is refused, and how badly a caller may behave."""

import asyncio
import contextlib
import os
import resource
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from telemed.errors import Code
from telemed.transfer import CHUNK_BYTES, MESSAGE_LIMIT_BYTES, packed
from telemed.v1 import transfer_pb2

from cloud_hub import errors
from cloud_hub.config import RpcConfig
from cloud_hub.errors import ConfigRefused, StoreFailure
from cloud_hub.rpc import finishing, limits
from cloud_hub.rpc.judging import STATUS
from cloud_hub.store import transfers
from cloud_hub.store.blobs import Blobs, Incoming, Room
from cloud_hub.store.engine import Database
from cloud_hub.store.transfers import State
from tests.fakes.bare_node import BareNode, Content, Heard, SendCall
from tests.fakes.brokers import until
from tests.fakes.rpc_hub import CLINIC, HOME, RunningHub, metadata, running_hub, sqlite

pytestmark = pytest.mark.anyio
FILE = Content(os.urandom(3 * CHUNK_BYTES + 100))


@pytest.fixture
async def care(tmp_path: Path) -> AsyncIterator[Database]:
    database = sqlite(tmp_path)
    yield database
    await asyncio.to_thread(database.close)


@pytest.fixture
async def hub(tmp_path: Path, care: Database) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path, care) as running:
        yield running


@pytest.fixture
async def node(hub: RunningHub) -> AsyncIterator[BareNode]:
    async with hub.stub() as stub:
        yield BareNode(stub)


def changed(**values: object) -> Callable[[RpcConfig], RpcConfig]:
    return lambda config: config.model_copy(update=values)


async def status(call: Any) -> grpc.StatusCode:
    """How a call ended; what it told before must be read first."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        while hasattr(call, "read") and await call.read() is not grpc.aio.EOF:
            pass
    code: grpc.StatusCode = await call.code()
    return code


async def test_a_file_that_is_sent_is_whole_under_its_hash(hub: RunningHub, node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    heard = await node.send(FILE, transfer_id, [2, 0, 3, 1])
    assert sorted(heard.durable) == [0, 1, 2, 3]
    assert (heard.received_bytes, heard.complete, heard.refused) == (len(FILE.data), [transfer_id], [])
    assert hub.server.blobs.path(FILE.sha256).read_bytes() == FILE.data
    assert [(each.transfer_id, each.state) for each in hub.completed] == [(transfer_id, State.COMPLETE)]
    assert hub.counted("bytes", kind="study", outcome="received") == len(FILE.data)
    assert hub.counted("files", kind="study", outcome="complete") == 1
    assert (await node.offer(FILE)).is_complete


async def test_a_packed_chunk_is_stored_as_it_was_and_one_that_is_none_is_asked_for_again(
    hub: RunningHub, node: BareNode
) -> None:
    file = Content(b"the same again and again " * 6000)
    answer = await node.offer(file)
    assert answer.lacking.takes_packed
    name = answer.lacking.transfer_id
    async with node.sending() as call:
        for index in range(file.count):
            frame = packed(file.chunk(index)) or b""
            wrong = b"no frame" if index == 1 else frame
            at = index * CHUNK_BYTES
            await call.write(transfer_pb2.Piece(transfer_id=name, offset=at, data=wrong[:5], packed_bytes=len(wrong)))
            await call.write(transfer_pb2.Piece(offset=at + 5, data=wrong[5:], packed_bytes=len(wrong)))
        await call.done_writing()
        heard = await node.heard(call)
    assert (sorted(heard.durable), heard.corrupt) == ([0, 2], [1])
    assert heard.received_bytes < 1000
    assert (await node.send(file, name, [1])).complete == [name]
    assert hub.server.blobs.path(file.sha256).read_bytes() == file.data


async def test_whoever_waits_for_a_file_is_told_although_the_node_is_gone_by_then(
    hub: RunningHub, node: BareNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer_id, right, committed = await node.transfer_id(FILE), transfers.complete, asyncio.Event()
    loop, goes_on = asyncio.get_running_loop(), threading.Event()

    def held_up(*arguments: Any) -> None:
        loop.call_soon_threadsafe(committed.set)
        goes_on.wait(5)
        right(*arguments)

    monkeypatch.setattr(transfers, "complete", held_up)
    async with node.sending() as call:
        for index in range(4):
            piece = transfer_pb2.Piece(transfer_id=transfer_id, offset=index * CHUNK_BYTES, data=FILE.chunk(index))
            await call.write(piece)
        await committed.wait()
    await until(lambda: hub.registry.get_sample_value("hub_transfer_calls") == 0)
    goes_on.set()
    await until(lambda: [row.transfer_id for row in hub.completed] == [transfer_id])


async def test_the_same_content_in_another_group_is_complete_without_being_sent(
    hub: RunningHub, node: BareNode
) -> None:
    await node.send(FILE, await node.transfer_id(FILE), range(4))
    assert (await node.offer(FILE, group_id="second study")).is_complete
    assert (await node.offer(FILE, group_id="second study")).is_complete
    assert [row.facts.group_id for row in hub.completed] == ["", "second study"]
    assert hub.counted("files", kind="study", outcome="known") == 2


async def test_a_file_that_broke_off_goes_on_where_it_stopped(node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    assert sorted((await node.send(FILE, transfer_id, [0, 2])).durable) == [0, 2]
    answer = await node.offer(FILE)
    assert [(run.first, run.count) for run in answer.lacking.missing] == [(1, 1), (3, 1)]
    assert (await node.send(FILE, transfer_id, [1, 3])).complete == [transfer_id]


async def test_pieces_without_a_name_belong_to_the_file_of_the_piece_before(node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    async with node.sending() as call:
        for at in range(0, len(FILE.data), 20_000):
            ends = [min(at + 20_000, len(FILE.data), -(-(at + 1) // CHUNK_BYTES) * CHUNK_BYTES)]
            while ends[-1] < min(at + 20_000, len(FILE.data)):
                ends.append(min(at + 20_000, len(FILE.data)))
            for start, end in zip([at, *ends], ends, strict=False):
                name = transfer_id if at == 0 else ""
                await call.write(transfer_pb2.Piece(transfer_id=name, offset=start, data=FILE.data[start:end]))
        await call.done_writing()
        assert (await node.heard(call)).complete == [transfer_id]


async def test_whoever_does_not_show_who_calls_is_unauthenticated_on_every_call(hub: RunningHub) -> None:
    methods = transfer_pb2.DESCRIPTOR.services_by_name["Transfer"].methods
    assert len(methods) == 5
    async with hub.stub() as stub:
        for shown in (None, metadata("edge-clinic", "wrong"), metadata("hub"), metadata("edge-clinic")[:1]):
            for method in methods:
                start = getattr(stub, method.name)
                request = getattr(transfer_pb2, method.input_type.name)()
                call = start(metadata=shown) if method.client_streaming else start(request, metadata=shown)
                assert await status(call) is grpc.StatusCode.UNAUTHENTICATED, method.name
                assert await call.details() == "caller-unknown"
    assert hub.counted("faults", reason="caller-unknown") == 4 * len(methods)


async def test_a_node_of_another_region_is_a_stranger(tmp_path: Path, care: Database) -> None:
    async with running_hub(tmp_path, care) as hub, hub.stub() as stub:
        hub.server._parts.region = "elsewhere"
        call = stub.List(transfer_pb2.ListRequest(), metadata=metadata("edge-clinic"))
        assert await status(call) is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("change", [{"site": HOME.site}, {"node": HOME.node}])
async def test_offering_a_file_of_another_site_is_denied(node: BareNode, change: dict[str, str]) -> None:
    call = node.stub.Offer(metadata=metadata("edge-clinic"))
    await call.write(transfer_pb2.OfferPart(head=FILE.head(CLINIC, **change)))
    assert await status(call) is grpc.StatusCode.PERMISSION_DENIED


async def test_the_file_of_another_site_cannot_be_found_written_or_withdrawn(hub: RunningHub, node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    stranger = BareNode(node.stub, HOME)
    heard = await stranger.send(FILE, transfer_id, [0, 1, 2, 3])
    assert (heard.durable, heard.complete) == ([], [])
    assert heard.refused == [(Code.TRANSFER_UNKNOWN, 1)]
    asked = transfer_pb2.WithdrawRequest(transfer_id=transfer_id)
    await stranger.stub.Withdraw(asked, metadata=metadata("edge-home"))
    assert (await hub.find(transfer_id)).state is State.RECEIVING
    assert (await stranger.offer(FILE)).lacking.transfer_id != transfer_id


async def test_a_damaged_chunk_is_asked_again_three_times_and_then_refused(hub: RunningHub, node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    damaged = Content(bytes(len(FILE.data)))
    heard = [await node.send(damaged, transfer_id, [1]) for _ in range(4)]
    assert [each.corrupt for each in heard] == [[1], [1], [1], []]
    assert heard[3].refused == [(Code.CHUNK_CORRUPT, 0)]
    row = await hub.find(transfer_id)
    assert (row.state, row.code) == (State.REFUSED, "chunk-corrupt")
    assert hub.counted("bytes", kind="study", outcome="corrupt") == 4 * CHUNK_BYTES
    assert hub.server.blobs.holds_bytes(transfer_id) == 0


async def test_a_damaged_chunk_that_comes_right_again_does_no_harm(node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    assert (await node.send(Content(bytes(len(FILE.data))), transfer_id, [0])).corrupt == [0]
    assert (await node.send(FILE, transfer_id, [0, 1, 2, 3])).complete == [transfer_id]


async def test_a_chunk_that_breaks_off_counts_for_nothing(node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    async with node.sending() as call:
        await call.write(transfer_pb2.Piece(transfer_id=transfer_id, offset=0, data=FILE.chunk(0)))
        await call.write(transfer_pb2.Piece(offset=CHUNK_BYTES, data=FILE.chunk(1)[:-1]))
        await call.done_writing()
        assert (await node.heard(call)).durable == [0]
    assert [run.first for run in (await node.offer(FILE)).lacking.missing] == [1]


@pytest.mark.parametrize(
    ("offset", "size_bytes"), [(7, 10), (0, CHUNK_BYTES + 1), (CHUNK_BYTES * 3, 101), (CHUNK_BYTES * 9, 1), (2**63, 1)]
)
async def test_a_piece_outside_its_place_ends_the_call(node: BareNode, offset: int, size_bytes: int) -> None:
    transfer_id = await node.transfer_id(FILE)
    async with node.sending() as call:
        await call.write(transfer_pb2.Piece(transfer_id=transfer_id, offset=offset, data=bytes(size_bytes)))
        assert await status(call) is grpc.StatusCode.INVALID_ARGUMENT
        assert await call.details() == "piece-misplaced"


async def test_a_file_whose_whole_does_not_match_is_refused(hub: RunningHub, node: BareNode) -> None:
    liar = Content(FILE.data)
    answer = await node.offer(liar, sha256=bytes(32))
    heard = await node.send(liar, answer.lacking.transfer_id, range(4))
    assert sorted(heard.durable) == [0, 1, 2, 3]
    assert (heard.complete, heard.refused) == ([], [(Code.FILE_MISMATCH, 0)])
    assert not hub.server.blobs.path("00" * 32).exists()


async def test_a_chunk_that_the_hubs_disk_damaged_is_asked_for_again(hub: RunningHub, node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    await node.send(FILE, transfer_id, [0, 1, 2])
    with (hub.server.blobs.folder / "incoming" / transfer_id).open("r+b") as file:
        file.seek(CHUNK_BYTES)
        file.write(bytes(16))
    heard = await node.send(FILE, transfer_id, [3])
    assert (heard.corrupt, heard.complete) == ([1], [])
    assert [run.first for run in (await node.offer(FILE)).lacking.missing] == [1]
    assert (await node.send(FILE, transfer_id, [1])).complete == [transfer_id]


async def test_rows_are_believed_only_as_far_as_the_file_reaches(hub: RunningHub, node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    await node.send(FILE, transfer_id, [0, 1, 2])
    os.truncate(hub.server.blobs.folder / "incoming" / transfer_id, CHUNK_BYTES + 5)
    assert [(run.first, run.count) for run in (await node.offer(FILE)).lacking.missing] == [(1, 3)]
    assert (await node.send(FILE, transfer_id, [1, 2, 3])).complete == [transfer_id]


@pytest.mark.parametrize("size_bytes", [0, 128, 129, 160])
async def test_hashes_that_are_not_those_of_the_head_are_refused(node: BareNode, size_bytes: int) -> None:
    answer = await node.offer(FILE, bytes(size_bytes))
    assert answer.refused.code == Code.OFFER_REFUSED
    assert answer.refused.zh


async def test_a_file_over_the_limit_is_refused_in_words(tmp_path: Path, care: Database) -> None:
    async with running_hub(tmp_path, care, changed(largest_file_mib=1)) as hub, hub.stub() as stub:
        answer = await BareNode(stub).offer(Content(b"x"), size_bytes=1024 * 1024 + 1)
        assert (answer.refused.code, answer.refused.retry_after_s) == (Code.TOO_LARGE, 0)
        assert answer.refused.en


async def test_a_node_may_have_so_many_files_under_way(tmp_path: Path, care: Database) -> None:
    async with running_hub(tmp_path, care, changed(files_per_node=2)) as hub, hub.stub() as stub:
        node, home = BareNode(stub), BareNode(stub, HOME)
        first = await node.transfer_id(Content(b"1"))
        await node.transfer_id(Content(b"2"))
        assert (await node.offer(Content(b"3"))).refused.code == Code.TOO_MANY_OPEN
        assert (await node.offer(Content(b"1"))).lacking.transfer_id == first
        assert (await home.offer(Content(b"3"))).HasField("lacking")
        await node.send(Content(b"1"), first, [0])
        assert (await node.offer(Content(b"3"))).HasField("lacking")


async def test_a_node_may_have_so_many_calls_open(tmp_path: Path, care: Database) -> None:
    async with running_hub(tmp_path, care, changed(calls_per_node=2)) as hub, hub.stub() as stub:
        node = BareNode(stub)
        async with node.sending() as first, node.sending() as second:
            for call in (first, second):
                await call.write(transfer_pb2.Piece(transfer_id="none", data=b"x"))
                await call.read()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.List(transfer_pb2.ListRequest(), metadata=metadata("edge-clinic"))
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await stub.List(transfer_pb2.ListRequest(), metadata=metadata("edge-home"))
        await until(lambda: hub.registry.get_sample_value("hub_transfer_calls") == 0)


async def test_a_message_over_the_limit_is_resource_exhausted_and_harms_nobody(hub: RunningHub, node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with node.sending() as call, node.sending() as beside:
        await beside.write(transfer_pb2.Piece(transfer_id=transfer_id, offset=0, data=FILE.chunk(0)))
        await call.write(transfer_pb2.Piece(transfer_id=transfer_id, data=bytes(MESSAGE_LIMIT_BYTES + 1)))
        assert await status(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
        await beside.done_writing()
        assert (await node.heard(beside)).durable == [0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    assert hub.server.listening.is_set()


async def test_a_flood_of_tiny_messages_is_resource_exhausted(node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    async with node.sending() as call:
        for at in range(limits.FREE_MESSAGES + 1):
            await call.write(transfer_pb2.Piece(transfer_id=transfer_id, offset=at, data=FILE.data[at : at + 1]))
        assert await status(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await call.details() == "call-wasteful"


async def test_a_flood_of_the_same_chunk_packed_small_is_resource_exhausted(node: BareNode) -> None:
    file = Content(bytes(2 * CHUNK_BYTES))
    frame = packed(file.chunk(0)) or b""
    assert 0 < len(frame) < limits.LEAST_MEAN_BYTES
    transfer_id = await node.transfer_id(file)
    async with node.sending() as call:
        for _ in range(limits.FREE_MESSAGES + 10):
            await call.write(transfer_pb2.Piece(transfer_id=transfer_id, data=frame, packed_bytes=len(frame)))
        assert await status(call) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await call.details() == "call-wasteful"


async def test_a_file_of_nothing_but_zeros_comes_in_thousands_of_small_pieces(node: BareNode, hub: RunningHub) -> None:
    file = Content(bytes((limits.FREE_MESSAGES + 500) * CHUNK_BYTES))
    frame = packed(file.chunk(0)) or b""
    transfer_id = await node.transfer_id(file)
    async with node.sending() as call:
        for index in range(file.count):
            piece = transfer_pb2.Piece(
                transfer_id=transfer_id, offset=index * CHUNK_BYTES, data=frame, packed_bytes=len(frame)
            )
            await call.write(piece)
        await call.done_writing()
        assert (await node.heard(call)).complete == [transfer_id]


async def flood(call: SendCall, transfer_id: str) -> None:
    """Send pieces without end and without reading, until the hub hangs up."""
    while True:
        for at in range(0, CHUNK_BYTES, 128):
            data = FILE.data[at : at + 128]
            await call.write(transfer_pb2.Piece(transfer_id=transfer_id, offset=at, data=data))


@pytest.mark.slow
async def test_a_node_that_does_not_read_is_cut_off_and_what_it_was_told_stays(tmp_path: Path, care: Database) -> None:
    narrow = (("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0))
    async with running_hub(tmp_path, care, changed(write_limit_s=0.5)) as hub, hub.stub(*narrow) as stub:
        node = BareNode(stub)
        transfer_id = await node.transfer_id(FILE)
        async with node.sending() as call, asyncio.timeout(15):
            with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
                await flood(call, transfer_id)
        assert hub.counted("faults", reason="reader-stalled") == 1
        await until(lambda: hub.registry.get_sample_value("hub_transfer_calls") == 0)
        assert [(run.first, run.count) for run in (await node.offer(FILE)).lacking.missing] == [(1, 3)]
        assert (await node.send(FILE, transfer_id, [1, 2, 3])).complete == [transfer_id]


async def test_an_idle_call_is_closed(tmp_path: Path, care: Database) -> None:
    async with (
        running_hub(tmp_path, care, changed(idle_s=0.1)) as hub,
        hub.stub() as stub,
        BareNode(stub).sending() as call,
    ):
        assert await BareNode(stub).heard(call) == Heard()
        assert await status(call) is grpc.StatusCode.OK


async def test_a_disk_above_its_watermark_asks_to_come_again_later(
    hub: RunningHub, node: BareNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer_id = await node.transfer_id(FILE)
    await node.send(FILE, transfer_id, [0])
    with monkeypatch.context() as full:
        full.setattr(Blobs, "room", lambda _self: Room(1000, 100))
        for content in (FILE, Content(b"other")):
            answer = await node.offer(content)
            assert (answer.refused.code, answer.refused.retry_after_s) == (Code.STORE_NEARLY_FULL, 60)
        heard = await node.send(FILE, transfer_id, [1])
        assert (heard.durable, heard.refused) == ([1], [(Code.STORE_NEARLY_FULL, 60)])
    assert [(run.first, run.count) for run in (await node.offer(FILE)).lacking.missing] == [(2, 2)]
    assert (await node.send(FILE, transfer_id, [2, 3])).complete == [transfer_id]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two mebibytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("a disk of its own cannot be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


async def test_a_disk_that_is_really_full_loses_nothing_and_goes_on_once_there_is_room(
    small_disk: Path, care: Database
) -> None:
    async with running_hub(small_disk, care, changed(disk_limit_pct=100)) as hub, hub.stub() as stub:
        node = BareNode(stub)
        transfer_id = await node.transfer_id(FILE)
        await node.send(FILE, transfer_id, [0])
        await asyncio.to_thread(fill, small_disk / "other")
        heard = await node.send(FILE, transfer_id, [1, 2, 3])
        assert (heard.complete, heard.refused) == ([], [(Code.STORE_NEARLY_FULL, limits.RETRY_AFTER_S)])
        assert (await node.offer(FILE)).refused.code == Code.STORE_NEARLY_FULL
        (small_disk / "other").unlink()
        missing = [run.first for run in (await node.offer(FILE)).lacking.missing]
        assert missing == [1]
        assert (await node.send(FILE, transfer_id, [1, 2, 3])).complete == [transfer_id]


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def test_what_is_whole_stays_complete_on_a_full_disk(
    node: BareNode, hub: RunningHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.send(FILE, await node.transfer_id(FILE), range(4))
    monkeypatch.setattr(Blobs, "room", lambda _self: Room(1000, 0))
    assert (await node.offer(FILE)).is_complete


async def test_a_sync_that_fails_makes_nothing_durable(
    hub: RunningHub, node: BareNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer_id = await node.transfer_id(FILE)

    def fails(_self: Incoming) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(Incoming, "sync", fails)
        async with node.sending() as call:
            await call.write(transfer_pb2.Piece(transfer_id=transfer_id, offset=0, data=FILE.chunk(0)))
            assert await status(call) is grpc.StatusCode.UNAVAILABLE
    assert len((await hub.find(transfer_id)).chunks) == 0


async def test_a_store_that_fails_ends_the_call_and_makes_nothing_durable(
    hub: RunningHub, node: BareNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer_id = await node.transfer_id(FILE)

    async def fails(_self: Database, *_: object) -> None:
        raise StoreFailure("care: away")

    with monkeypatch.context() as broken:
        broken.setattr(Database, "write", fails)
        async with node.sending() as call:
            await call.write(transfer_pb2.Piece(transfer_id=transfer_id, offset=0, data=FILE.chunk(0)))
            assert await status(call) is grpc.StatusCode.UNAVAILABLE
            assert await call.details() == "store-failure"
    assert len((await hub.find(transfer_id)).chunks) == 0


async def test_a_withdrawn_file_is_gone_and_a_complete_one_stays(hub: RunningHub, node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    await node.send(FILE, transfer_id, [0])
    asked = transfer_pb2.WithdrawRequest(transfer_id=transfer_id)
    for _ in range(2):
        assert (await node.stub.Withdraw(asked, metadata=metadata("edge-clinic"))).is_withdrawn
    assert hub.server.blobs.holds_bytes(transfer_id) == 0
    assert (await node.send(FILE, transfer_id, [1])).refused == [(Code.TRANSFER_UNKNOWN, 1)]
    await node.send(FILE, await node.transfer_id(FILE), range(4))
    assert not (await node.stub.Withdraw(asked, metadata=metadata("edge-clinic"))).is_withdrawn
    assert hub.server.blobs.path(FILE.sha256).exists()


async def test_the_hub_says_which_files_it_lost(node: BareNode) -> None:
    await node.send(FILE, await node.transfer_id(FILE), range(4))
    asked = transfer_pb2.ListRequest(sent=[bytes.fromhex(FILE.sha256), bytes(32)])
    answer = await node.stub.List(asked, metadata=metadata("edge-clinic"))
    assert list(answer.lost) == [bytes(32)]


async def test_a_whole_that_was_named_but_not_noted_is_complete_after_an_empty_piece(
    hub: RunningHub, node: BareNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer_id = await node.transfer_id(FILE)

    async def stops_short(*_: object) -> finishing.Finished:
        hub.server.blobs.publish(transfer_id, FILE.sha256)
        raise StoreFailure("care: away")

    with monkeypatch.context() as broken:
        broken.setattr(finishing, "finish", stops_short)
        async with node.sending() as call:
            for index in range(4):
                await call.write(
                    transfer_pb2.Piece(transfer_id=transfer_id, offset=index * CHUNK_BYTES, data=FILE.chunk(index))
                )
            assert await status(call) is grpc.StatusCode.UNAVAILABLE
    answer = await node.offer(FILE)
    assert (answer.HasField("lacking"), list(answer.lacking.missing)) == (True, [])
    async with node.sending() as call:
        await call.write(transfer_pb2.Piece(transfer_id=transfer_id))
        await call.done_writing()
        assert (await node.heard(call)).complete == [transfer_id]


async def test_an_empty_piece_of_an_unfinished_file_is_misplaced(node: BareNode) -> None:
    transfer_id = await node.transfer_id(FILE)
    async with node.sending() as call:
        await call.write(transfer_pb2.Piece(transfer_id=transfer_id))
        assert await status(call) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_second_hub_on_the_same_port_is_refused(hub: RunningHub, care: Database, tmp_path: Path) -> None:
    with pytest.raises(ConfigRefused, match=r"rpc\.port"):
        async with running_hub(tmp_path / "second", care, port=hub.port):
            pass


async def test_a_file_of_which_nothing_was_heard_for_long_is_given_up(tmp_path: Path, care: Database) -> None:
    async with running_hub(tmp_path, care) as hub, hub.stub() as stub:
        transfer_id = await BareNode(stub).transfer_id(FILE)
        await BareNode(stub).send(FILE, transfer_id, [0])
        hub.server._parts.clock = lambda: 2**62
        await hub.server._give_up_old()
        assert (await hub.find(transfer_id)).state is State.WITHDRAWN
        assert hub.server.blobs.holds_bytes(transfer_id) == 0


async def test_files_of_unknown_transfers_are_swept_at_the_start(tmp_path: Path, care: Database) -> None:
    async with running_hub(tmp_path, care) as hub, hub.stub() as stub:
        transfer_id = await BareNode(stub).transfer_id(FILE)
        await BareNode(stub).send(FILE, transfer_id, [0, 1])
    stray = tmp_path / "blobs" / "incoming" / "00000000-0000-0000-0000-000000000000"
    stray.write_bytes(b"left over")
    async with running_hub(tmp_path, care) as hub, hub.stub() as stub:
        assert not stray.exists()
        assert [(run.first, run.count) for run in (await BareNode(stub).offer(FILE)).lacking.missing] == [(2, 2)]


def test_every_failure_a_node_may_see_has_a_status() -> None:
    faults = set(errors.TransferFault.__subclasses__()) - {errors.ReaderStalled}
    assert faults <= set(STATUS)
