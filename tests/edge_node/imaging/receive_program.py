"""The node's side of the receivers with real receivers: `receive_program FOLDER RECEIVERS SYNCHRONOUS [NAME=VALUE...]`.

Prints "ready PORT PID..."; the names are fields of `Configure`.  Ends with its standard input.
"""

import asyncio
import json
import socket
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from telemed.logs import log_to_stderr

from edge_node.imaging.catalog import Catalog
from edge_node.imaging.host import ImagingHost
from edge_node.imaging.metrics import ImagingMetrics
from edge_node.imaging.pipe import Configure

SENDERS = ["CT-ROOM", "FINDSCU", "MOVESCU", "STORESCU", "DCMSEND", "ECHOSCU"]


def settings(folder: str, words: list[str]) -> Configure:
    usual = Configure(folder, "YUANZHEN", SENDERS, 24, 64 * 1024 * 1024, 0.999, 30, 600)
    given = dict(word.split("=", 1) for word in words)
    return replace(usual, **{name: _value(getattr(usual, name), text) for name, text in given.items()})


def _value(usual: object, text: str) -> Any:
    return json.loads(text) if isinstance(usual, list | dict | int | float) else text


async def serve(folder: str, receivers: int, synchronous: str, words: list[str]) -> None:
    catalog = Catalog(Path(folder), synchronous)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0), backlog=64) as port:
        metrics = ImagingMetrics(CollectorRegistry())
        host = ImagingHost(settings(folder, words), receivers, lambda: port, catalog, metrics)
        serving = asyncio.create_task(host.run())
        while len(host.pids) < receivers:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        pids = " ".join(map(str, host.pids))
        print(f"ready {port.getsockname()[1]} {pids}", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        serving.cancel()
        await asyncio.wait([serving])
    catalog.close()


if __name__ == "__main__":
    log_to_stderr()
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
