"""The whole way of a file with its rows on SQLite and on PostgreSQL."""

import asyncio
from pathlib import Path

import pytest
from telemed.transfer import CHUNK_BYTES, FileKind

from cloud_hub.store import releases, transfers
from cloud_hub.store.engine import Database
from tests.fakes.brokers import until
from tests.fakes.rpc_hub import CLINIC, running_hub
from tests.fakes.transfer_node import STUDY, node_config, running_node, write_file

pytestmark = pytest.mark.anyio


async def test_a_file_goes_up_and_a_bundle_comes_down(care_db: Database, tmp_path: Path) -> None:
    async with running_hub(tmp_path, care_db) as hub, running_node(node_config(tmp_path, hub.port)) as node:
        up = await node.client.offer(write_file(tmp_path / "ct", 20 * CHUNK_BYTES + 1), STUDY)
        parcel = await node.done(up)
        bundle = write_file(tmp_path / "model", 5 * CHUNK_BYTES, 2)
        await releases.publish(hub.care, hub.server.blobs, bundle, [CLINIC], (FileKind.BUNDLE, "model"))
        node.client.look()
        await until(lambda: len(node.fetched) == 1)
        assert (await hub.find(parcel.hub_id)).completed_ns > 0
        assert hub.counted("bytes", kind="study", outcome="received") == 20 * CHUNK_BYTES + 1


async def test_a_file_goes_on_after_a_restart_of_the_hub(care_db: Database, tmp_path: Path) -> None:
    async with running_hub(tmp_path, care_db) as hub:
        port = hub.port
        async with running_node(node_config(tmp_path, port)) as node:
            parcel_id = await node.client.offer(write_file(tmp_path / "ct", 400 * CHUNK_BYTES), STUDY)
            parcel = await node.until(parcel_id, lambda each: each.durable_bytes > CHUNK_BYTES)
    row = await care_db.read(lambda c: transfers.find(c, CLINIC, parcel.hub_id))
    assert row is not None
    missing = len(list(row.chunks.missing()))
    async with running_hub(tmp_path, care_db, port=port) as hub, running_node(node_config(tmp_path, port)) as node:
        await node.done(parcel_id)
        assert hub.counted("bytes", kind="study", outcome="received") == missing * CHUNK_BYTES
    await asyncio.sleep(0)
