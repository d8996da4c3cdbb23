"""The node's side of the writer: results in, objects that lie among the images out."""

import asyncio
import contextlib
import sys

from edge_node.findings.documents import Write, pack
from edge_node.findings.reasons import NotRead, Reason
from edge_node.imaging.pipe import LINE_LIMIT_BYTES, Stored, unpack
from edge_node.inference.worker import environment

WRITE = "--write"
PROGRAM = (sys.executable, "-B", "-m", "edge_node.findings", WRITE)
MOST_OBJECTS = 4


async def written(write: Write, limit_s: float) -> list[Stored]:
    """Have the objects of a study's results made; they are synced to the disk, and in no catalogue yet.

    Raises:
        NotRead: they could not be made.
    """
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        env=environment(),
    )  # fmt: skip
    try:
        async with asyncio.timeout(limit_s):
            said, _ = await process.communicate(pack(write))
            exit_code = await process.wait()
        if exit_code or len(said) > MOST_OBJECTS * LINE_LIMIT_BYTES:
            raise NotRead(Reason.WRITER_FAILED, f"({exit_code})")
        return [_checked(line, write) for line in said.splitlines()[:MOST_OBJECTS]]
    except TimeoutError as error:
        raise NotRead(Reason.WRITER_FAILED, "(late)") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _checked(line: bytes, write: Write) -> Stored:
    """Return what the writer says of one object; it must be of the study that was read.

    Raises:
        NotRead: it says something else.
    """
    try:
        stored = unpack(line)
    except ValueError as error:
        raise NotRead(Reason.WRITER_FAILED) from error
    if not isinstance(stored, Stored) or stored.content.study_uid != write.names[0]:
        raise NotRead(Reason.WRITER_FAILED)
    return stored
