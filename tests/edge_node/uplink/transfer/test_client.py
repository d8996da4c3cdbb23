"""A real client and a real hub over loopback: order, budgets, resuming, refusals, both directions."""

import asyncio
import contextlib
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from telemed.errors import Code
from telemed.transfer import CHUNK_BYTES, FileKind
from telemed.v1 import transfer_pb2

from cloud_hub.rpc import limits
from cloud_hub.rpc.outbox import Outbox
from cloud_hub.store import releases, transfers
from cloud_hub.store.blobs import Blobs, Incoming, Room
from cloud_hub.store.engine import Database
from edge_node import __main__ as command_line
from edge_node.config import TransferBudget, TransferConfig
from edge_node.errors import LinkDown
from edge_node.uplink.transfer import offering, session
from edge_node.uplink.transfer.channel import Hub
from edge_node.uplink.transfer.flow import Lane
from edge_node.uplink.transfer.pace import Unlimited
from edge_node.uplink.transfer.parcel import Labels, Parcel
from edge_node.uplink.transfer.releases import Fetched, Release
from edge_node.uplink.transfer.spool import Spool
from edge_node.uplink.transfer.states import State
from tests.fakes.brokers import until
from tests.fakes.ports import free_port
from tests.fakes.rpc_hub import CLINIC, HOME, RunningHub, running_hub, sqlite
from tests.fakes.transfer_node import STUDY, RunningNode, node_config, running_node, write_file

pytestmark = pytest.mark.anyio
MIB = 1024 * 1024


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
async def node(hub: RunningHub, tmp_path: Path) -> AsyncIterator[RunningNode]:
    async with running_node(node_config(tmp_path, hub.port)) as running:
        yield running


class Slow(Unlimited):
    """A scheduler that grants a little at a time and remembers all it was asked and told."""

    def __init__(self, segment_bytes: int, window_bytes: int, wait_s: float = 0) -> None:
        super().__init__(window_bytes, segment_bytes)
        self.wait_s = wait_s
        self.turned_bytes = 0
        self.most_under_way_bytes = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def turn(self, most_bytes: int) -> int:
        await self.gate.wait()
        await asyncio.sleep(self.wait_s)
        granted = await super().turn(most_bytes)
        self.turned_bytes += granted
        under_way = self.turned_bytes - self.acked_bytes - self.lost_bytes
        self.most_under_way_bytes = max(self.most_under_way_bytes, under_way)
        return granted


async def test_a_file_goes_up_whole_and_its_own_copy_may_be_deleted(
    hub: RunningHub, node: RunningNode, tmp_path: Path
) -> None:
    path = write_file(tmp_path / "ct", 5 * MIB + 3)
    content = path.read_bytes()
    parcel_id = await node.client.offer(path, STUDY)
    path.unlink()
    parcel = await node.done(parcel_id)
    assert (parcel.durable_bytes, parcel.code) == (parcel.size_bytes, "")
    assert hub.server.blobs.path(parcel.sha256).read_bytes() == content
    assert node.counted("bytes", kind="study", outcome="sent") == len(content)
    assert node.counted("bytes", kind="study", outcome="durable") == len(content)
    assert node.counted("files", kind="study", outcome="done") == 1
    assert node.pace.acked_bytes == len(content) + 32 * 81
    (row,) = hub.completed
    assert (row.facts.name, row.facts.kind, row.address) == ("CT head", FileKind.STUDY, CLINIC)


async def test_what_can_be_packed_goes_packed_and_arrives_as_it_was(
    hub: RunningHub, node: RunningNode, tmp_path: Path
) -> None:
    path = tmp_path / "ct"
    path.write_bytes(b"the same again and again " * 60_000)
    content = path.read_bytes()
    parcel = await node.done(await node.client.offer(path, STUDY))
    assert hub.server.blobs.path(parcel.sha256).read_bytes() == content
    sent_bytes = node.counted("bytes", kind="study", outcome="sent")
    assert sent_bytes < len(content) / 50
    assert node.counted("bytes", kind="study", outcome="durable") == len(content)
    assert hub.counted("bytes", kind="study", outcome="received") == len(content)


async def test_a_hub_that_takes_nothing_packed_gets_chunks_as_they_are(
    hub: RunningHub, node: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_before = property(lambda _outgoing: False, lambda _outgoing, _value: None)
    monkeypatch.setattr(offering.Outgoing, "takes_packed", of_before)
    path = tmp_path / "ct"
    path.write_bytes(bytes(3 * CHUNK_BYTES))
    await node.done(await node.client.offer(path, STUDY))
    assert node.counted("bytes", kind="study", outcome="sent") == 3 * CHUNK_BYTES


async def test_pieces_are_what_was_granted_and_the_window_holds(hub: RunningHub, tmp_path: Path) -> None:
    pace = Slow(segment_bytes=1024, window_bytes=4096)
    async with running_node(node_config(tmp_path, hub.port), pace) as node:
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 3 * CHUNK_BYTES + 100), STUDY)
        await node.done(parcel_id)
    assert pace.turned_bytes == pace.acked_bytes == 3 * CHUNK_BYTES + 100 + 4 * 32
    assert pace.most_under_way_bytes <= 4096 + 1024
    assert hub.counted("bytes", kind="study", outcome="received") == 3 * CHUNK_BYTES + 100


@pytest.mark.parametrize("at_once_bytes", [0, offering.AT_ONCE_BYTES])
async def test_hashes_are_paced_too_whether_they_were_asked_for_or_not(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once_bytes: int
) -> None:
    monkeypatch.setattr(offering, "AT_ONCE_BYTES", at_once_bytes)
    pace = Slow(segment_bytes=4000, window_bytes=8000)
    async with running_node(node_config(tmp_path, hub.port), pace) as node:
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 8 * CHUNK_BYTES), STUDY)
        await node.done(parcel_id)
    assert pace.turned_bytes == 8 * CHUNK_BYTES + 8 * 32
    assert pace.most_under_way_bytes <= 12_000
    assert pace.acked_bytes == pace.turned_bytes


async def test_hashes_may_be_cut_anywhere_and_every_grant_is_accounted_for(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offering, "AT_ONCE_BYTES", 0)
    pace = Slow(segment_bytes=701, window_bytes=1400)
    async with running_node(node_config(tmp_path, hub.port), pace) as node:
        await node.done(await node.client.offer(write_file(tmp_path / "ct", 30 * CHUNK_BYTES + 1), STUDY))
    assert pace.turned_bytes == pace.acked_bytes == 30 * CHUNK_BYTES + 1 + 31 * 32


class Ended:
    """A call that the other side has ended."""

    async def write(self, _piece: object) -> None:
        raise asyncio.InvalidStateError


async def test_a_grant_whose_write_fails_is_lost_not_forgotten(node: RunningNode) -> None:
    client = node.client
    means = session.Means(client._agenda, client._spool, client._flow, client._metrics)
    sending, lane = session.Session(Hub(client._login, cast("Any", None)), means), Lane(client._flow)
    outgoing = offering.Outgoing(Parcel("p", "ab" * 32, 100, STUDY, 1), b"", "hub-id", deque([0]))
    piece = transfer_pb2.Piece(data=bytes(await lane.flow.grant(100)))
    with pytest.raises(LinkDown):
        await sending._send(cast("session.SendCall", Ended()), lane, outgoing, piece)
    lane.ended()
    assert (node.pace.lost_bytes, client._flow.under_way_bytes) == (len(piece.data), 0)


async def test_after_the_hub_was_gone_only_what_is_missing_crosses_again(tmp_path: Path, care: Database) -> None:
    size_bytes = 40 * CHUNK_BYTES
    port, pace = free_port(), Slow(16 * 1024, MIB, wait_s=0.002)
    async with running_node(node_config(tmp_path, port), pace) as node:
        async with running_hub(tmp_path, care, port=port):
            parcel_id = await node.client.offer(write_file(tmp_path / "ct", size_bytes), STUDY)
            await node.until(parcel_id, lambda parcel: parcel.durable_bytes > 5 * CHUNK_BYTES)
            pace.gate.clear()
        parcel = await node.until(parcel_id, lambda parcel: parcel.state is State.PAUSED)
        assert parcel.code == Code.LINK_DOWN
        pace.gate.set()
        async with running_hub(tmp_path, care, port=port) as hub:
            row = await hub.find(parcel.hub_id)
            missing = list(row.chunks.missing())
            assert 0 < len(missing) < 36
            await node.done(parcel_id)
            assert hub.counted("bytes", kind="study", outcome="received") == len(missing) * CHUNK_BYTES
            assert hub.counted("bytes", kind="study", outcome="repeated") == 0
    assert pace.lost_bytes + pace.acked_bytes == pace.turned_bytes


async def test_what_was_under_way_when_the_connection_ended_is_told_to_the_scheduler(
    tmp_path: Path, care: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = Slow(16 * 1024, MIB)
    async with running_node(node_config(tmp_path, free_port()), pace) as node:
        with monkeypatch.context() as silent:
            silent.setattr(Outbox, "received", lambda _self, _size: None)
            async with running_hub(tmp_path, care, port=node.client._login.port):
                parcel_id = await node.client.offer(write_file(tmp_path / "ct", 4 * CHUNK_BYTES + 1), STUDY)
                await node.until(parcel_id, lambda parcel: parcel.durable_bytes > 0)
        await until(lambda: node.client._flow.under_way_bytes == 0)
        assert pace.lost_bytes >= CHUNK_BYTES
        assert pace.lost_bytes + pace.acked_bytes == pace.turned_bytes


async def test_a_node_without_a_hub_says_so_and_goes_on_by_itself(tmp_path: Path, care: Database) -> None:
    port = free_port()
    async with running_node(node_config(tmp_path, port)) as node:
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 10), STUDY)
        await node.until(parcel_id, lambda parcel: (parcel.state, parcel.code) == (State.PAUSED, Code.LINK_DOWN))
        async with running_hub(tmp_path, care, port=port):
            parcel = await node.done(parcel_id)
            assert parcel.code == ""


async def test_a_node_with_a_wrong_secret_is_told_and_nothing_is_lost(hub: RunningHub, tmp_path: Path) -> None:
    config = node_config(tmp_path, hub.port)
    config.uplink.secret_file.write_text("wrong")
    async with running_node(config) as node:
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 10), STUDY)
        await node.until(parcel_id, lambda parcel: parcel.code == Code.IDENTITY_REFUSED)
    config = node_config(tmp_path, hub.port)
    async with running_node(config) as node:
        await node.done(parcel_id)


async def test_previews_come_first_and_studies_one_after_the_other(tmp_path: Path, care: Database) -> None:
    port = free_port()
    async with running_node(node_config(tmp_path, port)) as node:
        for name, group, is_preview in (("a1", "a", False), ("b1", "b", False), ("a2", "a", False), ("pb", "b", True)):
            path = write_file(tmp_path / name, CHUNK_BYTES, seed=ord(name[0]) * 100 + ord(name[1]))
            last = await node.client.offer(path, replace(STUDY, name=name, group=group, is_preview=is_preview))
        async with running_hub(tmp_path, care, port=port) as hub:
            await node.done(last)
            await until(lambda: len(hub.completed) == 4)
            assert [row.facts.name for row in hub.completed] == ["pb", "a1", "a2", "b1"]
            assert [row.facts.is_preview for row in hub.completed] == [True, False, False, False]


async def test_an_urgent_file_overtakes_one_that_is_being_sent(hub: RunningHub, tmp_path: Path) -> None:
    pace = Slow(16 * 1024, MIB, wait_s=0.001)
    async with running_node(node_config(tmp_path, hub.port), pace) as node:
        large = await node.client.offer(write_file(tmp_path / "large", 8 * MIB), STUDY)
        await node.until(large, lambda parcel: parcel.durable_bytes > 0)
        small = await node.client.offer(write_file(tmp_path / "small", 100), replace(STUDY, is_urgent=True))
        await node.done(small)
        (found,) = [parcel for parcel in await node.client.transfers() if parcel.parcel_id == large]
        assert (found.state, found.durable_bytes < 8 * MIB) == (State.SENDING, True)
        await node.done(large)


async def test_many_small_files_do_not_wait_for_each_other(hub: RunningHub, node: RunningNode, tmp_path: Path) -> None:
    ids = [
        await node.client.offer(write_file(tmp_path / str(seed), 2000, seed), replace(STUDY, group="series"))
        for seed in range(30)
    ]
    await node.done(ids[-1], within_s=18)
    await until(lambda: len(hub.completed) == 30)
    rows = await hub.care.read(client_rows)
    assert rows == 30


def client_rows(connection: Any) -> int:
    return len([row for row in transfers.group(connection, "baoshan", CLINIC.site, "series") if row.completed_ns])


async def test_a_used_up_budget_pauses_until_tomorrow_and_what_is_urgent_goes_all_the_same(
    hub: RunningHub, tmp_path: Path
) -> None:
    transfer = TransferConfig(study=TransferBudget(mib_per_day=1))
    async with running_node(node_config(tmp_path, hub.port, transfer=transfer)) as node:
        large = await node.client.offer(write_file(tmp_path / "large", 2 * MIB), STUDY)
        parcel = await node.until(large, lambda parcel: parcel.state is State.PAUSED)
        assert (parcel.code, parcel.durable_bytes) == (Code.BUDGET_USED, MIB)
        assert parcel.resume_ns > 0
        urgent = await node.client.offer(write_file(tmp_path / "urgent", MIB, 2), replace(STUDY, is_urgent=True))
        await node.done(urgent)
    async with running_node(node_config(tmp_path, hub.port, transfer=transfer)) as node:
        # What was spent is remembered over a restart.
        parcel = await node.until(large, lambda parcel: parcel.state is State.PAUSED)
        assert (parcel.code, parcel.durable_bytes) == (Code.BUDGET_USED, MIB)
    async with running_node(node_config(tmp_path, hub.port)) as node:
        await node.done(large)


async def test_outside_its_hours_a_kind_waits_and_says_until_when(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noon_ns = 1_795_665_600 * 10**9  # 2026-11-26 12:00 in Shanghai
    monkeypatch.setattr(time, "time_ns", lambda: noon_ns)
    transfer = TransferConfig(study=TransferBudget(hours=["22:00-06:00"]))
    async with running_node(node_config(tmp_path, hub.port, transfer=transfer)) as node:
        waits = await node.client.offer(write_file(tmp_path / "ct", 10), STUDY)
        exam = await node.client.offer(write_file(tmp_path / "exam", 10, 2), Labels(FileKind.EXAM, "gait"))
        await node.done(exam)
        parcel = await node.until(waits, lambda parcel: parcel.state is State.PAUSED)
        assert (parcel.code, parcel.resume_ns) == (Code.OUTSIDE_HOURS, noon_ns + 10 * 3600 * 10**9)


async def test_a_cancelled_file_stops_and_the_hub_gives_it_up(hub: RunningHub, tmp_path: Path) -> None:
    pace = Slow(16 * 1024, MIB)
    async with running_node(node_config(tmp_path, hub.port), pace) as node:
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 8 * MIB), STUDY)
        parcel = await node.until(parcel_id, lambda parcel: parcel.durable_bytes > 0)
        pace.gate.clear()
        assert await node.client.cancel(parcel_id)
        assert not await node.client.cancel(parcel_id)
        pace.gate.set()
        parcel = await node.until(parcel_id, lambda parcel: parcel.state is State.CANCELLED)

        async def is_withdrawn() -> bool:
            return (await hub.find(parcel.hub_id)).state == "withdrawn"

        await eventually(is_withdrawn)
        other = await node.client.offer(write_file(tmp_path / "other", 10, 3), STUDY)
        await node.done(other)
    assert hub.server.blobs.holds_bytes(parcel.hub_id) == 0


async def test_a_full_hub_puts_off_and_is_asked_again_later(
    hub: RunningHub, node: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_AFTER_S", 1)
    with monkeypatch.context() as full:
        full.setattr(Blobs, "room", lambda _self: Room(1000, 10))
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 10), STUDY)
        parcel = await node.until(parcel_id, lambda parcel: parcel.state is State.PAUSED)
        assert (parcel.code, parcel.resume_ns > 0) == (Code.STORE_NEARLY_FULL, True)
    await node.done(parcel_id)


async def test_a_hub_that_fills_up_meanwhile_keeps_what_it_has(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RETRY_AFTER_S", 1)
    pace = Slow(16 * 1024, MIB, wait_s=0.001)
    async with running_node(node_config(tmp_path, hub.port), pace) as node:
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 16 * MIB), STUDY)
        await node.until(parcel_id, lambda parcel: parcel.durable_bytes > 0)
        with monkeypatch.context() as full:
            full.setattr(Blobs, "room", lambda _self: Room(1000, 10))
            await node.until(parcel_id, lambda parcel: parcel.code == Code.STORE_NEARLY_FULL)
        await node.done(parcel_id)
    assert hub.counted("bytes", kind="study", outcome="repeated") == 0


async def test_a_file_over_the_hubs_limit_is_refused_in_words_and_can_be_tried_again(
    tmp_path: Path, care: Database
) -> None:
    port = free_port()
    async with running_node(node_config(tmp_path, port)) as node:
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 2 * MIB), STUDY)
        small = lambda config: config.model_copy(update={"largest_file_mib": 1})  # noqa: E731
        async with running_hub(tmp_path, care, small, port):
            parcel = await node.until(parcel_id, lambda parcel: parcel.state is State.REFUSED)
            assert parcel.code == Code.TOO_LARGE
        async with running_hub(tmp_path, care, port=port):
            assert await node.client.again(parcel_id)
            await node.done(parcel_id)


async def test_a_chunk_damaged_on_the_way_is_sent_again(
    hub: RunningHub, node: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(monkeypatch, times=3)
    parcel_id = await node.client.offer(write_file(tmp_path / "ct", 3 * CHUNK_BYTES), STUDY)
    await node.done(parcel_id)
    assert node.counted("bytes", kind="study", outcome="corrupt") == 3 * CHUNK_BYTES
    assert node.counted("bytes", kind="study", outcome="sent") == 6 * CHUNK_BYTES


async def test_a_chunk_that_keeps_arriving_damaged_is_refused_and_others_go_on(
    hub: RunningHub, node: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(monkeypatch, times=99)
    parcel_id = await node.client.offer(write_file(tmp_path / "ct", 3 * CHUNK_BYTES), STUDY)
    parcel = await node.until(parcel_id, lambda parcel: parcel.state is State.REFUSED)
    assert parcel.code == Code.CHUNK_CORRUPT
    other = await node.client.offer(write_file(tmp_path / "other", CHUNK_BYTES, 2), STUDY)
    await node.done(other)


def damage(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Make the hub read chunk 1 as damaged so many times."""
    right, left = Incoming.write_if_right, [times]

    def write_if_right(self: Incoming, index: int, data: bytes, right_hash: bytes) -> bool:
        if index == 1 and left[0]:
            left[0] -= 1
            return right(self, index, bytes(len(data)), right_hash)
        return right(self, index, data, right_hash)

    monkeypatch.setattr(Incoming, "write_if_right", write_if_right)


async def test_a_file_that_was_changed_after_it_was_queued_is_not_sent(hub: RunningHub, tmp_path: Path) -> None:
    path = write_file(tmp_path / "ct", 3 * CHUNK_BYTES)
    pace = Slow(16 * 1024, MIB)
    pace.gate.clear()
    async with running_node(node_config(tmp_path, hub.port), pace) as node:
        parcel_id = await node.client.offer(path, STUDY)
        with path.open("r+b") as file:
            file.write(b"changed")
        pace.gate.set()
        parcel = await node.until(parcel_id, lambda parcel: parcel.state is State.REFUSED)
        assert parcel.code == Code.FILE_CHANGED
        other = await node.client.offer(write_file(tmp_path / "other", 10, 2), STUDY)
        await node.done(other)


async def test_what_a_restored_hub_lost_is_sent_again_from_the_copies(tmp_path: Path, care: Database) -> None:
    port = free_port()
    async with running_node(node_config(tmp_path, port)) as node:
        async with running_hub(tmp_path, care, port=port):
            parcel_id = await node.client.offer(write_file(tmp_path / "ct", 3 * CHUNK_BYTES), STUDY)
            await node.done(parcel_id)
        yesterday = await asyncio.to_thread(sqlite, make(tmp_path / "yesterday"))
        async with running_hub(tmp_path / "yesterday", yesterday, port=port) as hub:
            node.client.look()
            await until(lambda: len(hub.completed) == 1)
            await node.done(parcel_id)
        await asyncio.to_thread(yesterday.close)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that only a look at a database shows."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def released(node: RunningNode, code: str) -> Release:
    """Wait until the one released file has this code, and return it."""

    async def has_code() -> bool:
        return [row.code for row in await node.client.fetched()] == [code]

    await eventually(has_code)
    (row,) = await node.client.fetched()
    return row


async def release(hub: RunningHub, tmp_path: Path, size_bytes: int, seed: int = 7) -> str:
    source = write_file(tmp_path / f"bundle-{seed}", size_bytes, seed)
    what = (FileKind.BUNDLE, f"model {seed}")
    return await releases.publish(hub.care, hub.server.blobs, source, [CLINIC], what)


async def test_a_released_bundle_comes_down_whole_and_the_hub_knows(
    hub: RunningHub, node: RunningNode, tmp_path: Path
) -> None:
    sha256 = await release(hub, tmp_path, 3 * MIB + 5)
    node.client.look()
    await until(lambda: len(node.fetched) == 1)
    (found,) = node.fetched
    assert (found.sha256, found.state, found.kind, found.name) == (sha256, Fetched.HERE, FileKind.BUNDLE, "model 7")
    assert node.client.path_of(found).read_bytes() == (tmp_path / "bundle-7").read_bytes()
    assert node.counted("bytes", kind="bundle", outcome="fetched") == 3 * MIB + 5
    node.client.look()

    async def is_held() -> bool:
        (row,) = await hub.care.read(lambda c: releases.released_to(c, CLINIC))
        return row.held_ns > 0

    await eventually(is_held)
    assert hub.counted("bytes", kind="bundle", outcome="fetched") == 3 * MIB + 5


async def test_a_bundle_for_another_site_is_neither_listed_nor_to_be_had(hub: RunningHub, tmp_path: Path) -> None:
    await release(hub, tmp_path, 1000)
    async with running_node(node_config(tmp_path, hub.port, HOME)) as home:
        await asyncio.sleep(0.3)
        assert await home.client.fetched() == []


async def test_fetching_goes_on_where_it_broke_off(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await release(hub, tmp_path, 20 * CHUNK_BYTES)
    right, left = Spool.write_if_right, [18]

    def breaks_off(self: Spool, sha256: str, index: int, data: bytes, right_hash: bytes) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(5, "Input/output error")
        return right(self, sha256, index, data, right_hash)

    with monkeypatch.context() as broken:
        broken.setattr(Spool, "write_if_right", breaks_off)
        async with running_node(node_config(tmp_path, hub.port)) as node:
            await until(lambda: left[0] < 0)
            (row,) = await node.client.fetched()
            assert len(row.chunks) == 16
    async with running_node(node_config(tmp_path, hub.port)) as node:
        await until(lambda: len(node.fetched) == 1)
        assert node.counted("bytes", kind="bundle", outcome="fetched") == 4 * CHUNK_BYTES


async def test_a_bundle_damaged_on_the_hubs_disk_is_not_taken_and_others_are(
    hub: RunningHub, node: RunningNode, tmp_path: Path
) -> None:
    damaged = await release(hub, tmp_path, 3 * CHUNK_BYTES)
    with hub.server.blobs.path(damaged).open("r+b") as file:
        file.seek(CHUNK_BYTES)
        file.write(b"rot")
    node.client.look()
    await until(lambda: hub.counted("faults", reason="blob-damaged") >= 1)
    assert node.fetched == []


async def test_a_chunk_damaged_on_the_way_down_is_asked_again_and_then_given_up(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await release(hub, tmp_path, 2 * CHUNK_BYTES)
    right = Spool.write_if_right

    def damaged(self: Spool, sha256: str, index: int, data: bytes, right_hash: bytes) -> bool:
        return right(self, sha256, index, b"x" + data[1:] if index == 1 else data, right_hash)

    monkeypatch.setattr(Spool, "write_if_right", damaged)
    async with running_node(node_config(tmp_path, hub.port)) as node:
        row = await released(node, Code.CHUNK_CORRUPT)
        assert (row.state, node.fetched) == (Fetched.REFUSED, [])
        assert node.counted("bytes", kind="bundle", outcome="corrupt") == 4 * CHUNK_BYTES


async def test_bundles_wait_where_the_disk_is_nearly_full_and_for_their_budget(
    hub: RunningHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await release(hub, tmp_path, 2 * MIB)
    with monkeypatch.context() as full:
        full.setattr(Spool, "used_share", lambda _self, _more=0: 0.81)
        async with running_node(node_config(tmp_path, hub.port)) as node:
            row = await released(node, Code.STORE_NEARLY_FULL)
            assert row.state is Fetched.PAUSED
    transfer = TransferConfig(bundle=TransferBudget(mib_per_day=1), look_every_s=0.1)
    async with running_node(node_config(tmp_path, hub.port, transfer=transfer)) as node:
        await released(node, Code.BUDGET_USED)
        assert node.counted("bytes", kind="bundle", outcome="fetched") == MIB


async def test_a_discarded_bundle_frees_its_place_and_does_not_come_again(
    hub: RunningHub, node: RunningNode, tmp_path: Path
) -> None:
    await release(hub, tmp_path, 1000)
    node.client.look()
    await until(lambda: len(node.fetched) == 1)
    await node.client.discard(node.fetched[0].sha256)
    await node.client._delete_unneeded()
    assert not node.client.path_of(node.fetched[0]).exists()
    node.client.look()
    await asyncio.sleep(0.3)
    assert len(node.fetched) == 1


async def test_a_file_sent_from_the_command_line_is_noticed_within_seconds(
    hub: RunningHub, node: RunningNode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(
        '[node]\nregion="baoshan"\nsite="baoshan-clinic"\nnode="edge-clinic"\nname_zh="站"\nname_en="Site"\n'
        f'[buffer]\nfolder="{CLINIC.node}"\n[uplink]\nsecret_file="{CLINIC.node}-secret"\n[[beds]]\nbed="B01"\nlabel="01"\n'
    )
    path = write_file(tmp_path / "ct.dcm", 100_000)
    words = ["send", str(path), "--config", str(config), "--kind", "study", "--name", "CT head", "--urgent"]
    assert await asyncio.to_thread(command_line.main, words) == 0
    parcel_id = capsys.readouterr().out.split()[-1]
    await node.done(parcel_id, within_s=4)
    assert await asyncio.to_thread(command_line.main, ["transfers", "--config", str(config)]) == 0
    told = capsys.readouterr().out
    assert f"{parcel_id}  study 'CT head', 98 KiB, urgent: safe at the hub\n" in told


async def test_nothing_that_blocks_runs_on_the_event_loop(
    hub: RunningHub, node: RunningNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def watch(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def checked(*arguments: Any, **named: Any) -> Any:
            is_small = name == "sha256" and (not arguments or len(arguments[0]) <= 4096)
            assert is_small or threading.current_thread() is not threading.main_thread(), name
            seen.add(name)
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, checked)

    for name in ("fsync", "fdatasync", "pwrite", "pread"):
        watch(os, name)
    watch(hashlib, "sha256")
    watch(hashlib, "file_digest")
    await release(hub, tmp_path, 3 * CHUNK_BYTES)
    node.client.look()
    parcel_id = await node.client.offer(await asyncio.to_thread(write_file, tmp_path / "ct", 3 * CHUNK_BYTES), STUDY)
    await node.done(parcel_id)
    await until(lambda: len(node.fetched) == 1)
    assert seen == {"fsync", "fdatasync", "pwrite", "pread", "sha256", "file_digest"}


async def test_a_client_that_is_stopped_ends_at_once_and_leaves_the_queue_sound(
    hub: RunningHub, tmp_path: Path
) -> None:
    pace = Slow(16 * 1024, MIB, wait_s=0.001)
    async with asyncio.timeout(5), contextlib.AsyncExitStack() as stack:
        node = await stack.enter_async_context(running_node(node_config(tmp_path, hub.port), pace))
        parcel_id = await node.client.offer(write_file(tmp_path / "ct", 8 * MIB), STUDY)
        await node.until(parcel_id, lambda parcel: parcel.durable_bytes > 0)
    async with running_node(node_config(tmp_path, hub.port)) as node:
        await node.done(parcel_id)


async def test_a_cancellation_passes_on_although_something_failed_on_the_way(node: RunningNode) -> None:
    begun = asyncio.Event()

    async def fails_when_cancelled() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise LinkDown("the call was cancelled")

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails_when_cancelled())

    task = asyncio.create_task(node.client._attempt(work))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
