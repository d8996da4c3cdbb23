"""The monitors of the beds: a process of its own that sends HL7 and keeps the ledger.

`python -m tests.faults.chaos.sender FILE`: FILE is JSON, see `Orders`.  It ends when its standard input ends.  Each
bed has one message outstanding and repeats it, with the same control id, until it is acknowledged; the line of an
acknowledgement is synced to disk before the next message goes.
"""

import asyncio
import contextlib
import itertools
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_node.devices.hl7_monitor import mllp
from edge_node.devices.simulated.messages import Number, Report, Speaker, compose
from edge_node.samples.measurement import Channel
from tests.faults.chaos.ledger import ACKNOWLEDGED, REFUSED, SENT, TAKEN, line

ANSWER_LIMIT_S = 5.0
AGAIN_S, REFUSED_AGAIN_S = 0.03, 0.2
ANSWER_BYTES = 65536
CALM = {"hr": "72", "rr": "16", "spo2": "97", "temp": "36.8"}
FEVER = {"temp": "39.4"}
FEVER_EVERY = 6
"""Messages: so many with, so many without; each change is a step of an alarm."""


@dataclass(frozen=True, slots=True)
class Bed:
    """One monitor."""

    device: str
    eui64: str
    patient_id: str
    has_waves: bool = False
    has_fever: bool = False
    """Its temperature goes up and down, so that alarms come and go."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What the file says."""

    host: str
    port: int
    ledger: str
    interval_s: float
    beds: tuple[Bed, ...]

    @classmethod
    def read(cls, path: Path) -> "Orders":
        """Return what is in a file."""
        said = json.loads(path.read_text())
        return cls(**(said | {"beds": tuple(Bed(**bed) for bed in said["beds"])}))


class Book:
    """Writes the ledger."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(self, event: str, control_id: str, device: str) -> None:
        """Write a line; a promise is on the disk when this returns."""
        os.write(self._file, line(event, control_id, device, time.time_ns()).encode())
        if event == ACKNOWLEDGED:
            os.fdatasync(self._file)


class Refused(Exception):
    """The node cannot store it now."""


async def monitor(bed: Bed, orders: Orders, book: Book) -> None:
    """Send one message after the other until cancelled."""
    to_node = _Line(orders.host, orders.port)
    for number in itertools.count(1):
        control_id = f"{bed.device}-{number:06d}"
        message = mllp.wrap(message_of(bed, control_id, number))
        await _until_taken(to_node, bed, (control_id, message), book)
        await asyncio.sleep(orders.interval_s)


async def _until_taken(to_node: "_Line", bed: Bed, item: tuple[str, bytes], book: Book) -> None:
    control_id, message = item
    while True:
        try:
            book.note(SENT, control_id, bed.device)
            await to_node.exchange(control_id, message)
        except Refused:
            book.note(REFUSED, control_id, bed.device)
            await asyncio.sleep(REFUSED_AGAIN_S)
        except (OSError, EOFError):
            to_node.hang_up()
            await asyncio.sleep(AGAIN_S)
        else:
            book.note(ACKNOWLEDGED, control_id, bed.device)
            return


class _Line:
    """One connection to the node, made again when it is needed."""

    def __init__(self, host: str, port: int) -> None:
        self._at = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, control_id: str, message: bytes) -> None:
        """Send a message; return once it is acknowledged.

        Raises:
            OSError, EOFError: no answer.
            Refused: the answer is not an acceptance.
        """
        async with asyncio.timeout(ANSWER_LIMIT_S):
            if self._streams is None:
                self._streams = await asyncio.open_connection(*self._at)
            reader, writer = self._streams
            writer.write(message)
            await writer.drain()
            answers = mllp.FrameReader(ANSWER_BYTES)
            while True:
                read = await reader.read(ANSWER_BYTES)
                if not read:
                    raise EOFError
                for frame in answers.feed(read):
                    if isinstance(frame, mllp.Frame) and _is_answer(frame.payload, control_id):
                        return

    def hang_up(self) -> None:
        """Forget the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _is_answer(payload: bytes, control_id: str) -> bool:
    """Whether this accepts the message; raises Refused where it does the opposite."""
    for segment in payload.decode(errors="replace").split("\r"):
        if segment.startswith("MSA|"):
            _, code, about, *_ = [*segment.split("|"), "", ""]
            if about == control_id and code in TAKEN:
                return True
            raise Refused(code)
    return False


def message_of(bed: Bed, control_id: str, number: int) -> bytes:
    """Return what a monitor says for the n-th time, as of now."""
    now_ns = time.time_ns()
    signs = CALM | (FEVER if bed.has_fever and number // FEVER_EVERY % 2 else {})
    numbers = [Number(name, value) for name, value in signs.items()]
    channels = [_wave(number)] if bed.has_waves else []
    report = Report(control_id, now_ns, now_ns, now_ns, numbers, channels)
    return compose(Speaker(bed.eui64, patient_id=bed.patient_id), report)


def _wave(number: int) -> Channel:
    digits = np.array([int(400 * math.sin((number * 25 + step) / 7)) for step in range(25)], dtype=np.int32)
    return Channel("pleth", 125.0, digits, 1.0, 0.0, "1")


async def _run(orders: Orders) -> None:
    book = Book(Path(orders.ledger))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    tasks = [asyncio.create_task(monitor(bed, orders, book)) for bed in orders.beds]
    stopping = asyncio.create_task(ended.wait())
    await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, stopping):
        task.cancel()
    await asyncio.gather(*tasks, stopping, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()


def main() -> None:
    """Send until the input ends."""
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(Orders.read(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
