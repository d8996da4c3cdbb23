"""`python -m edge_node.consult`: the consult's child process; started by the node, never by hand."""

import asyncio
import contextlib
import os
import sys

from telemed.logs import log_to_stderr

from edge_node.consult.pipe import LINE_LIMIT_BYTES, Configure, Line, pack, unpack
from edge_node.consult.process import Consults

WRITE_LIMIT_BYTES = 4 * 1024 * 1024
"""More than this unread by the node means that it hangs; then this process is of no use."""


async def serve(reader: asyncio.StreamReader, writer: asyncio.WriteTransport) -> None:
    """Run until the node closes the pipe."""

    def say(line: Line) -> None:
        if writer.get_write_buffer_size() > WRITE_LIMIT_BYTES:
            raise SystemExit("the node does not read its consult process")
        writer.write(pack(line))

    settings = unpack(await reader.readline())
    if not isinstance(settings, Configure):
        raise SystemExit("the first line must configure")
    lines: asyncio.Queue[Line | None] = asyncio.Queue(maxsize=1000)
    async with asyncio.TaskGroup() as group:
        group.create_task(Consults(settings, say).run(lines))
        while raw := await reader.readline():
            with contextlib.suppress(ValueError):
                await lines.put(unpack(raw))
        await lines.put(None)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    # Whatever a library prints must not reach the pipe.
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    writer, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, pipe)
    await serve(reader, writer)


if __name__ == "__main__":
    log_to_stderr()
    asyncio.run(_main())
