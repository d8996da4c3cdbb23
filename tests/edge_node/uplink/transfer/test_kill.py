"""kill -9 of the node between every two steps: nothing queued is lost, nothing durable crosses the wire again."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from telemed.transfer import CHUNK_BYTES, FileKind

from cloud_hub.store import releases
from edge_node.buffer import failpoint
from edge_node.uplink.transfer import releases as rows_down
from edge_node.uplink.transfer import rows
from edge_node.uplink.transfer.ledger import Ledger
from edge_node.uplink.transfer.releases import Fetched
from edge_node.uplink.transfer.states import State
from tests.fakes import transfer_process
from tests.fakes.rpc_hub import CLINIC, RunningHub, running_hub, sqlite
from tests.fakes.transfer_node import write_file

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
UP_CHUNKS, DOWN_CHUNKS = 40, 40
STEPS = [
    "spooled:kill:1",
    "queued:kill:1",
    "offer-answered:kill:1",
    "piece-sent:kill:1",
    "piece-sent:kill:30",
    "progress-heard:kill:1",
    "progress-heard:kill:2",
    "durable-noted:kill:1",
    "durable-noted:kill:2",
    "done-noted:kill:1",
    "fetch-written:kill:1",
    "fetch-written:kill:20",
    "fetch-synced:kill:2",
    "fetch-noted:kill:2",
    "fetch-verified:kill:1",
    "fetch-named:kill:1",
    "fetch-here:kill:1",
]


LEAST_NOTED = {
    "fetch-written:kill:20": 4,
    "fetch-synced:kill:2": 1,
    "fetch-noted:kill:2": 2,
    "fetch-verified:kill:1": DOWN_CHUNKS,
    "fetch-named:kill:1": DOWN_CHUNKS,
    "fetch-here:kill:1": DOWN_CHUNKS,
}
"""Chunks of the bundle that must be known to be here after some of the steps; a batch is of sixteen at most."""


async def life(folder: Path, port: int, point: str) -> int:
    """Let a node live until it is killed or has nothing more to do; return its exit status."""
    process = await asyncio.create_subprocess_exec(
        transfer_process.PYTHON, transfer_process.__file__, str(folder), str(port),
        env=transfer_process.environment(**{failpoint.VARIABLE: point}),
    )  # fmt: skip
    try:
        return await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def release(hub: RunningHub, folder: Path) -> Path:
    source = write_file(folder / "bundle", DOWN_CHUNKS * CHUNK_BYTES - 5, 2)
    await releases.publish(hub.care, hub.server.blobs, source, [CLINIC], (FileKind.BUNDLE, "model"))
    return source


def noted_here(folder: Path) -> int:
    """How many chunks of the bundle the node's own rows say are here."""
    ledger = Ledger(folder / CLINIC.node)
    found = ledger.read_blocking(rows_down.releases)
    ledger.close()
    return sum(DOWN_CHUNKS if each.state is Fetched.HERE else len(each.chunks) for each in found)


@pytest.mark.parametrize("step", STEPS)
async def test_a_node_killed_between_two_steps_loses_nothing_and_repeats_nothing(tmp_path: Path, step: str) -> None:
    care = await asyncio.to_thread(sqlite, tmp_path)
    source = write_file(tmp_path / "source", UP_CHUNKS * CHUNK_BYTES - 9)
    async with running_hub(tmp_path, care) as hub:
        bundle = await release(hub, tmp_path)
        assert await life(tmp_path, hub.port, step) == -9
        noted = noted_here(tmp_path)
        assert noted >= LEAST_NOTED.get(step, 0)
        fetched_bytes = hub.counted("bytes", kind="bundle", outcome="fetched")
        assert await life(tmp_path, hub.port, "") == 0

        assert hub.counted("bytes", kind="study", outcome="repeated") == 0
        assert hub.counted("bytes", kind="study", outcome="received") >= source.stat().st_size
        assert len(hub.completed) == 1
        again_bytes = hub.counted("bytes", kind="bundle", outcome="fetched") - fetched_bytes
        missing = DOWN_CHUNKS - noted
        assert (missing - 1) * CHUNK_BYTES < again_bytes <= missing * CHUNK_BYTES or again_bytes == missing == 0
    ledger = Ledger(tmp_path / CLINIC.node)
    (parcel,) = ledger.read_blocking(rows.parcels)
    (fetched,) = ledger.read_blocking(rows_down.releases)
    ledger.close()
    assert (parcel.state, fetched.state) == (State.DONE, Fetched.HERE)
    assert hub.server.blobs.path(parcel.sha256).read_bytes() == source.read_bytes()
    assert (tmp_path / CLINIC.node / "spool" / "down" / fetched.sha256).read_bytes() == bundle.read_bytes()
    await asyncio.to_thread(care.close)
