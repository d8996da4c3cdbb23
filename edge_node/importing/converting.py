"""The node's side of the process that converts: a file in, objects that lie among the images out, or why not."""

import asyncio
import sys

from edge_node import child
from edge_node.imaging.pipe import LINE_LIMIT_BYTES, Stored, unpack
from edge_node.importing import names, order
from edge_node.importing.names import STUDY
from edge_node.importing.order import Order
from edge_node.importing.reasons import NotImported, Reason
from edge_node.inference.confinement import Unconfined
from edge_node.inference.launch import launched

PROGRAM = (sys.executable, "-B", "-m", "edge_node.importing")
MOST_OBJECTS = 8192


async def converted(asked: Order, limit_s: float) -> list[Stored]:
    """Have the objects of a file made; they are synced to the disk, and in no catalogue yet.

    Whoever is cancelled meanwhile ends the process.

    Raises:
        NotImported: none was made, or not all; what lies on the disk has no row and is swept later.
    """
    try:
        async with asyncio.timeout(limit_s), launched(PROGRAM, LINE_LIMIT_BYTES) as process:
            return await _heard(process, asked)
    except TimeoutError as error:
        raise NotImported(Reason.TOO_LATE) from error
    except (ValueError, OSError, Unconfined) as error:
        raise NotImported(Reason.CONVERTER_FAILED, type(error).__name__) from error


async def _heard(process: asyncio.subprocess.Process, asked: Order) -> list[Stored]:
    assert process.stdin is not None
    assert process.stdout is not None
    child.tell(process, order.pack(asked))
    await process.stdin.drain()
    process.stdin.close()
    found: list[Stored] = []
    while raw := await process.stdout.readline():
        found.append(_believed(raw, asked))
        if len(found) > MOST_OBJECTS:
            raise NotImported(Reason.TOO_MANY_VOXELS)
    exit_code = await process.wait()
    if exit_code or not found:
        raise NotImported(Reason.CONVERTER_FAILED, f"({exit_code})")
    return found


def _believed(raw: bytes, asked: Order) -> Stored:
    """Return what a line says of one object; it must be of the person, and of the one study.

    Raises:
        NotImported: it says that nothing is made, or something else.
        ValueError: it is no line of ours.
    """
    if b'"refused"' in raw[:100]:
        raise order.refusal(raw)
    stored = unpack(raw)
    if not isinstance(stored, Stored):
        raise ValueError("no object")
    content, subject = stored.content, asked.subject
    if (content.patient_id, content.issuer) != (subject.patient_id, subject.issuer):
        raise ValueError("of somebody else")
    if content.study_uid != names.uid(asked, STUDY):
        raise ValueError("of another study")
    return stored
