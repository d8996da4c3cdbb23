"""A socket on loopback where a person or a test changes a simulated sign: lines of text, answered `ok` or `error`.

`[BED] set MEASURE VALUE` holds a sign at a value from the next message on, `[BED] clear` lets it go, `beds`
lists the beds.  The bed may be left out where there is only one.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from edge_node.devices.simulated.patient import Patient

LOOPBACK = "127.0.0.1"
_LINE_LIMIT = 1024


async def serve(port: int, patients: Mapping[str, Patient]) -> None:
    """Serve the port until cancelled."""

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.create_task(_talk(reader, writer, patients))

    server = await asyncio.start_server(accept, LOOPBACK, port, limit=_LINE_LIMIT, start_serving=False)
    async with server, asyncio.TaskGroup() as talks:
        try:
            await server.start_serving()
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()


async def _talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patients: Mapping[str, Patient]) -> None:
    try:
        # A line over the limit is a ValueError; whoever sent it is cut off.
        with contextlib.suppress(OSError, ValueError):
            while line := await reader.readline():
                writer.write(f"{obey(line.decode('utf-8', errors='replace'), patients)}\n".encode())
                await writer.drain()
    finally:
        writer.close()


def obey(line: str, patients: Mapping[str, Patient]) -> str:
    """Do what one line says; returns the answer."""
    words = line.split()
    if words == ["beds"]:
        return "ok " + " ".join(patients)
    bed = words.pop(0) if words and words[0] in patients else next(iter(patients), "")
    if bed not in patients or (len(patients) > 1 and line.split()[:1] != [bed]):
        return "error which bed? " + " ".join(patients)
    return _act(words, patients[bed])


def _act(words: list[str], patient: Patient) -> str:
    if words == ["clear"]:
        patient.clear()
        return "ok"
    if len(words) == 3 and words[0] == "set":
        try:
            patient.set(words[1], float(words[2]))
        except (KeyError, ValueError):
            return "error no such sign or no number"
        return "ok"
    return "error say: [BED] set MEASURE VALUE | [BED] clear | beds"
