"""Starts the processes that open what strangers sent; before that the node closes its own memory to them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from edge_node.inference.confinement import shield
from edge_node.inference.worker import environment


@contextlib.asynccontextmanager
async def launched(program: Sequence[str], limit_bytes: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program whose input and output are pipes; it is gone when this ends.

    Args:
        program: and its arguments.
        limit_bytes: of one line that it says.

    Raises:
        OSError: it cannot be started.
        Unconfined: the kernel does not let the node close its memory, and nothing is started.
    """
    # Of the same user: without this a reader or writer could open the node's memory as a file.
    shield()
    process = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        limit=limit_bytes, env=environment(),
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
