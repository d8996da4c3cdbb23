"""A process that stores what it is told and says so after the commit: `intake_program FOLDER PORT`.

Asked `<number>\n`, it stores waves and numerics under the key `<number>` and answers `<number>\n`.
"""

import asyncio
import sys
import time
from pathlib import Path

import numpy as np

from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Channel, Intake, NumericSet, Value, WaveformSet


def intake(number: str) -> Intake:
    now_ns = time.time_ns()
    wave = Channel("ecg_II", 250.0, np.arange(50, dtype=np.int32), 200.0, 0.0, "mV")
    return Intake(
        sets=(NumericSet("monitor-1", now_ns, now_ns, (Value("hr", "70", "/min"),), source_ref=number),),
        waves=(WaveformSet("monitor-1", now_ns, now_ns, (wave,), source_ref=number),),
        dedup_key=number,
    )


async def serve(buffer: Buffer, port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await buffer.store_intake(intake(line.decode().strip()))
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Buffer.open(Path(sys.argv[1])), int(sys.argv[2])))
