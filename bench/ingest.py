"""How near the hub's ingest comes to its limit.

Limit = the slower of (a) the bare broker with a counting subscriber in our client library and (b) batched
upserts of the same payload; all measured in one run with a pre-encoded load, on Mosquitto.
"""

import asyncio
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import httpx
import numpy as np
import psutil
import uvloop
from sqlalchemy import Connection
from telemed import wire
from telemed.numbers import epoch_text
from telemed.topics import NodeAddress, Up
from telemed.v1 import sample_pb2

from bench.publisher import packets, publish
from cloud_hub.ingest.mqtt import BrokerLink, BrokerLogin
from cloud_hub.store import dialect
from cloud_hub.store.engine import Database
from cloud_hub.store.samples import SampleLedger
from cloud_hub.store.schema import SAMPLES, record
from cloud_hub.store.streams import Incoming
from tests.region.region import REGION, Clinic, Region

MESSAGES = 40_000
BATCH = 200
ASK_AGAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class Rates:
    """Messages (= records) a second by the clock, and processor time of a record, which other work disturbs less."""

    messages: int
    payload_bytes: int
    broker_and_counter_per_s: int
    batched_upserts_per_s: int
    limit_per_s: int
    hub_ingest_per_s: int
    share_of_limit: float
    counter_cpu_us: float
    upserts_cpu_us: float
    hub_cpu_us: float
    share_of_limit_by_cpu: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one of the three went."""

    per_s: float
    cpu_us: float
    """Processor time of its process for each record, in microseconds."""


def make_load(messages: int = MESSAGES) -> list[tuple[Up, wire.Record]]:
    """Return one numeric set and one waveform set in turn, of fifty devices, numbered without gaps."""
    generator = np.random.default_rng(1)
    made = []
    for index in range(messages):
        device, turn = (index // 2) % 50, index // 100
        now_ns = time.time_ns()
        stamp = wire.Stamp(now_ns, time.monotonic_ns(), 1)
        numeric = index % 2 == 0
        body = _numerics(now_ns) if numeric else _waves(now_ns, generator)
        codec, payload = wire.pack(body)
        kind = wire.Kind.NUMERIC_SET if numeric else wire.Kind.WAVEFORM_SET
        name = f"mon-{device:02d}/{'numeric' if numeric else 'wave'}"
        made.append(
            (
                Up.VITALS if numeric else Up.WAVES,
                wire.seal(stream=name, kind=kind, epoch=7, seq=turn + 1, stamp=stamp, codec=codec, payload=payload),
            )
        )
    return made


Body = tuple[Up, wire.Kind, str, wire.Codec, bytes]
"""Class, kind, stream of the device, codec, payload."""


def make_bodies(seed: int = 1) -> list[Body]:
    """Return what one patient brings in a second, packed; the waves are drawn."""
    now_ns, generator = time.time_ns(), np.random.default_rng(seed)
    return [
        (Up.VITALS, wire.Kind.NUMERIC_SET, "numeric", *wire.pack(_numerics(now_ns))),
        (Up.WAVES, wire.Kind.WAVEFORM_SET, "wave", *wire.pack(_waves(now_ns, generator))),
    ]


def _numerics(now_ns: int) -> bytes:
    names = ("hr", "rr", "spo2", "pr_oxim", "nibp_sys", "nibp_dia", "nibp_map", "temp")
    units = ("/min", "/min", "%", "/min", "mm[Hg]", "mm[Hg]", "mm[Hg]", "Cel")
    values = [
        sample_pb2.NumericValue(measure=name, value="97", unit=unit, quality=sample_pb2.QUALITY_VALID, status="R")
        for name, unit in zip(names, units, strict=True)
    ]
    sample = sample_pb2.NumericSet(
        measured_at_unix_ns=now_ns,
        values=values,
        origin=sample_pb2.ORIGIN_LIVE,
        assignment=sample_pb2.ASSIGNMENT_BED,
        source_ref="load",
    )
    return sample.SerializeToString()


def _waves(now_ns: int, generator: np.random.Generator) -> bytes:
    channels = []
    for measure, rate_hz in (("ecg_II", 250), ("ppg", 125), ("resp", 62)):
        steps = generator.integers(-20, 20, rate_hz)
        channels.append(
            sample_pb2.Channel(
                measure=measure, rate_mhz=rate_hz * 1_000_000 // 1000, gain=200, unit="mV", deltas=steps.tolist()
            )
        )
    sample = sample_pb2.WaveformSet(
        measured_at_unix_ns=now_ns,
        channels=channels,
        origin=sample_pb2.ORIGIN_LIVE,
        assignment=sample_pb2.ASSIGNMENT_BED,
    )
    return sample.SerializeToString()


def measure(messages: int = MESSAGES) -> Rates:
    """Measure the three rates, one after the other, with nothing else running."""
    clinic = Clinic(beds=("B01",))
    load = make_load(messages)
    address = NodeAddress(REGION, clinic.site, clinic.node)
    ready = packets([(address.up(up), wire.encode([item])) for up, item in load])
    payload_bytes = sum(len(packet) for packet in ready) // len(ready)
    with tempfile.TemporaryDirectory() as folder:
        upserts = _upserts(address, [item for _, item in load], Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        counter = _counted(Region(Path(folder), (clinic,), external_broker=True), clinic, ready)
    with tempfile.TemporaryDirectory() as folder:
        hub = _ingested(Region(Path(folder), (clinic,), external_broker=True), clinic, ready)
    limit_per_s = min(counter.per_s, upserts.per_s)
    return Rates(
        messages,
        payload_bytes,
        round(counter.per_s),
        round(upserts.per_s),
        round(limit_per_s),
        round(hub.per_s),
        round(hub.per_s / limit_per_s, 3),
        round(counter.cpu_us, 1),
        round(upserts.cpu_us, 1),
        round(hub.cpu_us, 1),
        round(max(counter.cpu_us, upserts.cpu_us) / hub.cpu_us, 3),
    )


def _upserts(address: NodeAddress, load: list[wire.Record], folder: Path) -> Pace:
    database = Database(f"sqlite:///{folder / 'samples.db'}", SAMPLES, "samples")
    database.migrate()
    streams, ledger, rows = dict[str, int](), SampleLedger(), list[dialect.Row]()
    for item in load:
        at_ns = item.stamp.wall_ns
        key = (streams.setdefault(item.stream, len(streams) + 1), epoch_text(item.epoch))
        rows.append(ledger.row(Incoming(address, item, at_ns), key, at_ns))
    began, began_cpu_s = time.monotonic(), time.process_time()
    for first in range(0, len(rows), BATCH):
        part = rows[first : first + BATCH]
        database.write_blocking(partial(_insert, part))
    span, cpu_s = time.monotonic() - began, time.process_time() - began_cpu_s
    database.close()
    return Pace(len(load) / span, cpu_s / len(load) * 1e6)


def _insert(part: list[dialect.Row], connection: Connection) -> None:
    dialect.insert_new(connection, record, part, ("stream_id", "epoch", "seq", "edge_day"))


def _secret(region: Region, user: str) -> str:
    book = json.loads((region.folder / "hub" / "broker-secrets.json").read_text())
    secret: str = book[user]["secret"]
    return secret


def _raise_queue(region: Region) -> None:
    """Let the broker queue the whole load: the subscriber's speed is measured, not the broker's patience."""
    config = region.folder / "mosquitto" / "mosquitto.conf"
    config.write_text(config.read_text().replace("max_queued_messages 1000", "max_queued_messages 100000"))


def _counted(region: Region, clinic: Clinic, load: list[bytes]) -> Pace:
    region.prepare()
    try:
        _restart_with_long_queue(region)
        of_broker = (str(region.ports["broker"]), _secret(region, "hub"))
        with subprocess.Popen(
            [sys.executable, "-m", "bench.ingest", "count", *of_broker, str(len(load))],
            stdout=subprocess.PIPE,
            text=True,
        ) as subscriber:
            try:
                assert subscriber.stdout is not None
                assert any(line == "subscribed\n" for line in subscriber.stdout)
                _send_apart(region, clinic, load)
                per_s, cpu_us = subscriber.stdout.readline().split()
            finally:
                # What it counted is told; whatever failed, nobody waits for it.
                subscriber.kill()
        return Pace(float(per_s), float(cpu_us))
    finally:
        region.stop()


def _restart_with_long_queue(region: Region) -> None:
    region.start_mosquitto()
    _raise_queue(region)
    region.kill("broker")
    command = ["/usr/sbin/mosquitto", "-c", str(region.folder / "mosquitto" / "mosquitto.conf")]
    region.start_program("broker", command, region.ports["broker"])


def _send_apart(region: Region, clinic: Clinic, load: list[bytes]) -> float:
    """Send the load from a process of its own; return when (time.time) its first packet left."""
    context = multiprocessing.get_context("spawn")
    began = context.Value("d", 0.0)
    sender = context.Process(
        target=_send, args=(began, region.ports["broker"], clinic.node, _secret(region, clinic.node), load)
    )
    sender.start()
    sender.join()
    assert sender.exitcode == 0
    return float(began.value)


def _send(began: "Synchronized[float]", port: int, user: str, secret: str, load: list[bytes]) -> None:
    began.value = time.time()
    publish(port, user, secret, load)


def _ingested(region: Region, clinic: Clinic, load: list[bytes]) -> Pace:
    region.prepare()
    try:
        _restart_with_long_queue(region)
        region.start_hub()

        def stored() -> float:
            text = httpx.get(f"{region.hub_url}/metrics", timeout=10).text
            lines = [line for line in text.splitlines() if line.startswith('hub_records_total{store="samples"}')]
            return float(lines[0].rsplit(" ", 1)[1]) if lines else 0.0

        hub = psutil.Process(region.processes["hub"].popen.pid)
        before_s = sum(hub.cpu_times()[:2])
        began = _send_apart(region, clinic, load)
        while stored() < len(load):
            # Often enough for the end, seldom enough that asking does not slow the hub down.
            time.sleep(ASK_AGAIN_S)
        span, cpu_s = time.time() - began, sum(hub.cpu_times()[:2]) - before_s
        return Pace(len(load) / span, cpu_s / len(load) * 1e6)
    finally:
        region.stop()


def count(port: int, secret: str, messages: int) -> None:
    """Count so many messages with our own client library and print messages a second from the first to the last."""
    marks: list[float] = []
    seen = 0

    async def work() -> None:
        done = asyncio.Event()

        def take(_topic: str, _payload: bytes) -> None:
            nonlocal seen
            if not seen:
                marks.extend((time.monotonic(), time.process_time()))
            seen += 1
            if seen == messages:
                marks.extend((time.monotonic(), time.process_time()))
                done.set()

        link = BrokerLink(BrokerLogin("127.0.0.1", port, "hub", secret), ["up/#"], take)
        running_link = asyncio.create_task(link.run())
        await link.subscribed.wait()
        print("subscribed", flush=True)
        await done.wait()
        running_link.cancel()

    uvloop.run(work())
    print(messages / (marks[2] - marks[0]), (marks[3] - marks[1]) / messages * 1e6, flush=True)


def table(rates: Rates) -> str:
    """Return the rates as a Markdown table."""
    lines = ["| what | value |", "| --- | --- |"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in asdict(rates).items()]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["count"]:
        count(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    else:
        print(table(measure()))
