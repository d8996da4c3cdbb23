"""A process with the real buffer behind the real MLLP receiver: `monitor_program FOLDER SYNCHRONOUS PORT`."""

import asyncio
import sys
from pathlib import Path

from edge_node.buffer.store import Buffer
from edge_node.config import DeviceConfig, Hl7Config
from edge_node.devices.hl7_monitor.driver import Hl7Monitor, Site

DEVICE = DeviceConfig(device="mon-b02", family="hl7_monitor", bed="B02", eui64="0A1B2CFFFE3D4E5F")


async def serve(buffer: Buffer, port: int) -> None:
    monitor = Hl7Monitor(Hl7Config(port=port), [DEVICE], Site(lambda _bed: None))
    async with asyncio.TaskGroup() as group:
        group.create_task(monitor.run(buffer.store_intake))
        await monitor.listening.wait()
        sys.stderr.write("ready\n")
        sys.stderr.flush()


if __name__ == "__main__":
    asyncio.run(serve(Buffer.open(Path(sys.argv[1]), synchronous=sys.argv[2]), int(sys.argv[3])))  # type: ignore[arg-type]
