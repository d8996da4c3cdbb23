"""The hub's RPC server in a process of its own, so that it can be killed or traced.

Arguments: FOLDER PORT, and "rows-unsynced" or "data-unsynced" for a hub that breaks its promise (to show that a check
notices), "impatient" for one that soon cuts off who does not read.  Each chunk that is taken is written down in
FOLDER/taken, one number a line.
"""

import asyncio
import os
import sys
from pathlib import Path

import uvloop
from prometheus_client import CollectorRegistry

from cloud_hub.config import RpcConfig
from cloud_hub.rpc.identity import SecretIdentity
from cloud_hub.rpc.server import RpcServer
from cloud_hub.store import engine
from cloud_hub.store.blobs import Incoming
from tests.fakes.ingest_process import unsynced
from tests.fakes.rpc_hub import REGION, sqlite, users

PYTHON = sys.executable
ROOT = Path(__file__).resolve().parents[2]
_write_if_right = Incoming.write_if_right


def environment(**more: str) -> dict[str, str]:
    """Environment in which this program finds the project's own modules."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}", **more}


def write_down(folder: Path) -> None:
    """Note each chunk that was written, in the order in which they came."""
    taken = os.open(folder / "taken", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(self: Incoming, index: int, data: bytes, right_hash: bytes) -> bool:
        is_right = _write_if_right(self, index, data, right_hash)
        if is_right:
            os.write(taken, b"%d\n" % index)
        return is_right

    Incoming.write_if_right = noted  # type: ignore[method-assign]


async def _main(folder: Path, port: int) -> None:
    care = sqlite(folder)
    write_limit_s = 0.5 if "impatient" in sys.argv else 30
    config = RpcConfig(port=port, folder=folder / "blobs", write_limit_s=write_limit_s)
    server = RpcServer(config, REGION, care, SecretIdentity(users()), CollectorRegistry())
    serving, listening = asyncio.create_task(server.run()), asyncio.create_task(server.listening.wait())
    await asyncio.wait([serving, listening], return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await serving


if __name__ == "__main__":
    if "rows-unsynced" in sys.argv:
        engine._writers_settings = unsynced
    if "data-unsynced" in sys.argv:
        setattr(Incoming, "sync", lambda _self: None)  # noqa: B010 - a method that is gone on purpose
    write_down(Path(sys.argv[1]))
    uvloop.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
