"""The node's side of the writer: results in, objects that lie among the images out."""

import asyncio
import sys

import structlog

from edge_node import child
from edge_node.findings.documents import Write, pack
from edge_node.findings.reasons import NotRead, Reason
from edge_node.imaging.pipe import LINE_LIMIT_BYTES, Stored, unpack
from edge_node.inference.confinement import Unconfined
from edge_node.inference.launch import launched

WRITE = "--write"
PROGRAM = (sys.executable, "-B", "-m", "edge_node.findings", WRITE)
MOST_OBJECTS = 4
REPORT = "SR"
"""Modality of the object that is made first, and without which the others are nothing."""

log = structlog.get_logger(__name__)


async def written(write: Write, limit_s: float) -> list[Stored]:
    """Have the objects of a study's results made; they are synced to the disk, and in no catalogue yet.

    Where the writer fails behind the report, what it made before is given.

    Raises:
        NotRead: the report could not be made.
    """
    try:
        async with asyncio.timeout(limit_s), launched(PROGRAM, LINE_LIMIT_BYTES) as process:
            child.tell(process, pack(write))
            assert process.stdin is not None
            process.stdin.close()
            said, _ = await process.communicate()
            exit_code = await process.wait()
    except TimeoutError as error:
        raise NotRead(Reason.WRITER_FAILED, "(late)") from error
    except (OSError, Unconfined) as error:
        raise NotRead(Reason.WRITER_FAILED, type(error).__name__) from error
    if len(said) > MOST_OBJECTS * LINE_LIMIT_BYTES:
        raise NotRead(Reason.WRITER_FAILED, f"({exit_code})")
    # What stands behind the last end of a line was cut off.
    whole_lines = said[: said.rfind(b"\n") + 1].splitlines()
    made = [_checked(line, write) for line in whole_lines[:MOST_OBJECTS]]
    if not made or made[0].content.modality != REPORT:
        raise NotRead(Reason.WRITER_FAILED, f"({exit_code})")
    if exit_code:
        log.warning("study-partly-written", objects=len(made), exit_code=exit_code)
    return made


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
