"""What encryption of the store costs: processor time and bytes a record, beside the same store without it.

`python -m bench.sealing`: two stores in one process take the same messages in turn, so that whatever else the machine
does falls on both; what a record costs more is sealing, what is left over is its larger row.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from telemed.topics import Up

from bench.__main__ import circumstances
from edge_node.buffer.keyring import Place
from edge_node.buffer.schema import VITALS
from edge_node.buffer.sealing import Keeping
from edge_node.buffer.store import Buffer
from edge_node.samples.measurement import Channel, Intake, NumericSet, Value, WaveformSet

HERE = Path(__file__).resolve().parent
PATIENTS, RATE_HZ = 10, 250
MEASURES = ("hr", "pr", "rr", "spo2", "temp", "nibp_sys", "nibp_dia", "etco2")
RECORDS_A_MESSAGE = 2
BARE_ROUNDS = 20_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians; a message is a second of one patient: eight numbers and three waves, two records."""

    messages: int
    seal_ns: float
    """One record of 700 bytes, the keys at hand."""
    open_ns: float
    plain_us_per_record: float
    """All that storing takes of the processor: packing, checksum, SQLite, commit, hand-over between threads."""
    sealed_us_per_record: float
    more_us_per_record: float
    """Median of the differences between turns that follow each other."""
    read_more_us_per_record: float
    plain_bytes_per_record: float
    """Of the file, with indexes and trends."""
    sealed_bytes_per_record: float


def message(patient: int, number: int, draw: np.random.Generator) -> Intake:
    """Return a second of one patient."""
    now_ns, device = time.time_ns(), f"mon-{patient}"
    values = tuple(Value(name, str(60 + int(draw.integers(40))), "/min") for name in MEASURES)
    walk = np.cumsum(draw.integers(-9, 10, (3, RATE_HZ)), axis=1).astype(np.int32)
    channels = tuple(Channel(f"wave-{n}", RATE_HZ, digits, 200.0, 0.0, "mV") for n, digits in enumerate(walk))
    return Intake(
        sets=(NumericSet(device, now_ns, now_ns, values, source_ref=f"{device}-{number}"),),
        waves=(WaveformSet(device, now_ns, now_ns, channels),),
        dedup_key=f"{device}-{number}",
    )


async def measure(turns: int) -> Cost:
    """Fill both stores in so many turns and return what it cost."""
    draw = np.random.default_rng(7)
    spent: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as undo:
        stores = {
            is_on: undo.enter_context(closing(Buffer.open(Path(folder) / str(is_on), keeping=Keeping(is_on=is_on))))
            for is_on in spent
        }
        for turn in range(turns):
            messages = [message(patient, turn, draw) for patient in range(PATIENTS)]
            for is_on, buffer in sorted(stores.items(), reverse=bool(turn % 2)):
                began_s = time.process_time()
                await asyncio.gather(*(buffer.store_intake(each) for each in messages))
                spent[is_on].append((time.process_time() - began_s) / PATIENTS / RECORDS_A_MESSAGE * 1e6)
        reading = {is_on: await _read_us(buffer) for is_on, buffer in stores.items()}
        records = turns * PATIENTS * RECORDS_A_MESSAGE
        sizes = {is_on: await _bytes(buffer) / records for is_on, buffer in stores.items()}
        more = [sealed - plain for plain, sealed in zip(spent[False], spent[True], strict=True)]
        seal_ns, open_ns = _bare(stores[True])
    medians = [statistics.median(each) for each in (spent[False], spent[True], more)]
    figures = [seal_ns, open_ns, *medians, reading[True] - reading[False], sizes[False], sizes[True]]
    return Cost(turns * PATIENTS, *(round(figure, 1) for figure in figures))


def _bare(buffer: Buffer) -> tuple[float, float]:
    place, content = Place("mon-0", 1), bytes(700)
    sealed = buffer.keys.sealing.seal(place, content, "log mon-0/wave 0123456789abcdef 1")
    seal_ns = _each_ns(lambda: buffer.keys.sealing.seal(place, content, "log mon-0/wave 0123456789abcdef 1"))
    return seal_ns, _each_ns(lambda: buffer.keys.sealing.opened("log mon-0/wave 0123456789abcdef 1", sealed))


def _each_ns(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    for _ in range(BARE_ROUNDS):
        work()
    return (time.process_time() - began_s) / BARE_ROUNDS * 1e9


async def _read_us(buffer: Buffer) -> float:
    """Read every wave back out of the file."""
    count, began_s = 0, time.process_time()
    for key in buffer.streams(Up.WAVES):
        count += len(await buffer.read_stored(Up.WAVES, key, 1, 10**6))
    return (time.process_time() - began_s) / max(1, count) * 1e6


async def _bytes(buffer: Buffer) -> int:
    await buffer.save()
    file = buffer._files[VITALS]  # noqa: SLF001 - what a file takes is no business of the rest of the edge
    await file.look()
    return file.size.content_bytes


def main() -> None:
    """Run it and write sealing.json and sealing.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=1000, help="messages of each of the ten patients")
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    cost = asyncio.run(measure(asked.turns))
    heads, values = asdict(cost).keys(), asdict(cost).values()
    lines = [f"| {name.replace('_', ' ')} | {value} |" for name, value in zip(heads, values, strict=True)]
    text = "\n".join(["| figure | value |", "| --- | --- |", *lines])
    print(text)
    if asked.dry:
        return
    facts = {**circumstances(), "command": " ".join(("python -m bench.sealing", *sys.argv[1:]))}
    facts["load"] = f"{os.getloadavg()[1]:.1f} (five minutes, at the end)"
    (HERE / "sealing.json").write_text(json.dumps({**facts, "cost": asdict(cost)}, indent=1) + "\n")
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    (HERE / "sealing.md").write_text(f"""# What encryption of the store costs

{heading}

Two stores take the same messages in turn: ten patients, a second each of eight numbers and three waves of {RATE_HZ} Hz,
which is two records, in one commit for all. Medians; processor time of the whole process.

{text}

`seal ns` and `open ns` are with everything at hand, over and over; between commits of SQLite the same takes several
times as long, which is what the differences of the turns show. The bar of the durable path is 0.3 ms for each second of
each patient (`bench.edge_cost`), which is two records.
""")


if __name__ == "__main__":
    main()
