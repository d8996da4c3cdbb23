"""The node's side of the picture process: one object in, a picture out, or nothing."""

import asyncio
import contextlib
import sys
from pathlib import Path

import structlog

WITHIN_S = 30.0
PICTURE_LIMIT_BYTES = 2 * 1024 * 1024

log = structlog.get_logger(__name__)


async def picture_of(path: Path) -> bytes | None:
    """Return a picture (JPEG) of a stored object; None where none can be made of it."""
    with path.open("rb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "edge_node.imaging.picture_process",
            stdin=file,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    try:
        async with asyncio.timeout(WITHIN_S):
            assert process.stdout is not None
            told = await process.stdout.read(PICTURE_LIMIT_BYTES + 1)
            while len(told) <= PICTURE_LIMIT_BYTES and (more := await process.stdout.read(PICTURE_LIMIT_BYTES)):
                told += more
            exit_code = await process.wait()
    except TimeoutError:
        exit_code, told = -1, b""
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    if exit_code or not told or len(told) > PICTURE_LIMIT_BYTES:
        log.info("imaging-no-picture", exit_code=exit_code)
        return None
    return told
