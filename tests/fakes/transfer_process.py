"""A node's transfer client in a process of its own, so that it can be killed.

Arguments: FOLDER PORT.  Queues FOLDER/source and fetches what is released; ends with 0 once the hub has the one and
the other is here.
"""

import asyncio
import os
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry

from edge_node.uplink.transfer.client import Paces, TransferClient
from edge_node.uplink.transfer.pace import Unlimited
from edge_node.uplink.transfer.releases import Fetched
from edge_node.uplink.transfer.states import State
from tests.fakes.transfer_node import STUDY, node_config

PYTHON = sys.executable
ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    """Environment in which this program finds the project's own modules."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", **more}


async def _main(folder: Path, port: int) -> None:
    # A window of one chunk: progress is heard between any two.
    paces = Paces(Unlimited(window_bytes=64 * 1024), Unlimited())
    client = TransferClient(node_config(folder, port), paces, CollectorRegistry())
    running = asyncio.create_task(client.run())
    parcel_id = await client.offer(folder / "source", STUDY)
    while True:
        (parcel,) = [each for each in await client.transfers() if each.parcel_id == parcel_id]
        released = await client.fetched()
        if parcel.state is State.DONE and released and all(each.state is Fetched.HERE for each in released):
            break
        assert not running.done()
        await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.wait([running])
    client.close()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
