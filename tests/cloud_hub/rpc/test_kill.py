"""kill -9 of the hub between every two steps: after it only what was not durable crosses the wire again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, select
from telemed.transfer import CHUNK_BYTES

from cloud_hub.ingest import failpoint
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import blob, transfer
from cloud_hub.store.transfers import State, Transfer, find
from edge_node.uplink.transfer.pace import Unlimited
from tests.fakes import rpc_process
from tests.fakes.ports import free_port
from tests.fakes.rpc_hub import CLINIC, sqlite
from tests.fakes.transfer_node import STUDY, node_config, running_node, write_file

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
CHUNKS = 24
POINTS = [
    "offered:kill:1",
    "hashes-committed:kill:1",
    "chunk-written:kill:1",
    "chunk-written:kill:13",
    "data-synced:kill:1",
    "data-synced:kill:4",
    "durable-committed:kill:1",
    "durable-committed:kill:4",
    "whole-verified:kill:1",
    "blob-named:kill:1",
    "complete-committed:kill:1",
]


class Steady(Unlimited):
    """A scheduler that takes its time, so that not all chunks share one sync."""

    async def turn(self, most_bytes: int) -> int:
        await asyncio.sleep(0.003)
        return await super().turn(most_bytes)


@contextlib.asynccontextmanager
async def hub(folder: Path, port: int, point: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a hub process while the block runs."""
    process = await asyncio.create_subprocess_exec(
        rpc_process.PYTHON, rpc_process.__file__, str(folder), str(port),
        env=rpc_process.environment(**{failpoint.VARIABLE: point}), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def rows(care: Database, transfer_id: str) -> Transfer | None:
    return care.read_blocking(lambda c: find(c, CLINIC, transfer_id)) if transfer_id else None


def taken(folder: Path) -> list[int]:
    """Chunks that hubs of this folder took, in their order."""
    path = folder / "taken"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.mark.parametrize("point", POINTS)
async def test_a_hub_killed_between_two_steps_is_sent_only_what_it_lacks(tmp_path: Path, point: str) -> None:
    port, folder = free_port(), tmp_path / "hub"
    folder.mkdir()
    path = write_file(tmp_path / "ct", CHUNKS * CHUNK_BYTES - 9)
    async with running_node(node_config(tmp_path, port), Steady()) as node:
        async with hub(folder, port, point) as process:
            parcel_id = await node.client.offer(path, STUDY)
            async with asyncio.timeout(20):
                assert await process.wait() == -9
        care, before = sqlite(folder), len(taken(folder))
        (hub_id,) = [care.read_blocking(lambda c: c.execute(select(transfer.c.transfer_id)).scalar())]
        row = rows(care, hub_id or "")
        believed = set(range(CHUNKS)) - set(row.chunks.missing()) if row else set()
        is_complete = row is not None and row.state is State.COMPLETE
        async with hub(folder, port, "") as process:
            parcel = await node.done(parcel_id, 20)
        expected = set() if is_complete else set(range(CHUNKS)) - believed
        assert sorted(taken(folder)[before:]) == sorted(expected)
        assert (folder / "blobs" / "blobs" / parcel.sha256[:2] / parcel.sha256).read_bytes() == path.read_bytes()
        assert list((folder / "blobs" / "incoming").iterdir()) == []
        for table in (transfer, blob):
            assert care.read_blocking(lambda c, t=table: c.execute(select(func.count()).select_from(t)).scalar()) == 1  # type: ignore[misc]
        care.close()
