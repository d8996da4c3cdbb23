"""From the device's socket to the physician's screen: delay, hub CPU, bytes on the wire, edge memory.

Everything is a process of its own: simulated monitors, edges, broker, hub; this process is the screen.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil
from websockets.sync.client import connect

from tests.region.region import ROOT, Clinic, Region, running

WARM_UP_S = 8
WATCHED_BEDS = 12
"""Beds whose waves the screen watches: one page of the wall."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one run gave."""

    broker: str
    patients: int
    edges: int
    seconds: float
    readings: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    hub_cpu_ms_per_patient_second: float
    broker_cpu_ms_per_patient_second: float
    edge_cpu_ms_per_patient_second: float
    wire_bytes_per_patient_second: float
    edge_resident_mib: float
    machine_busy_pct: float


def measure(patients: int, *, mosquitto: bool, seconds: float) -> Row:
    """Run a region with so many patients, one message a second each with three waves, and measure it."""
    clinics = tuple(_clinics(patients))
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Region(Path(folder), clinics, external_broker=mosquitto)) as region,
        monitors(region),
    ):
        client = region.signed_in(region.hub_url, "physician")
        _watch(region, client, WARM_UP_S)
        before = _Meter(region)
        psutil.cpu_percent()
        began = time.monotonic()
        delays = sorted(_watch(region, client, seconds))
        span = time.monotonic() - began
        after = _Meter(region)
        busy = psutil.cpu_percent()
    patient_seconds = patients * span

    def per(name: str, scale: float = 1000) -> float:
        spent: float = getattr(after, name) - getattr(before, name)
        return round(scale * spent / patient_seconds, 3)

    def at(share: float) -> float:
        return round(delays[min(len(delays) - 1, int(share * len(delays)))], 1)

    return Row(
        "mosquitto" if mosquitto else "amqtt",
        patients,
        len(clinics),
        round(span, 1),
        len(delays),
        at(0.5),
        at(0.95),
        at(0.99),
        per("hub_cpu_s"),
        per("broker_cpu_s"),
        per("edges_cpu_s"),
        per("bytes", 1),
        round(after.edge_resident_bytes / 2**20, 1),
        busy,
    )


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    heads = list(asdict(rows[0]))
    lines = ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(str(value) for value in asdict(row).values()) + " |" for row in rows]
    return "\n".join(lines)


def _clinics(patients: int) -> Iterator[Clinic]:
    """Spread the patients over edges of ten beds each."""
    for number in range((patients + 9) // 10):
        beds = min(10, patients - number * 10)
        yield Clinic(
            site=f"clinic-{number:02d}", node=f"edge-{number:02d}", beds=tuple(f"B{bed:02d}" for bed in range(beds))
        )


@contextmanager
def monitors(region: Region) -> Iterator[None]:
    """Simulated monitors for all beds of the region, a process of their own."""
    ward = region.folder / "ward.toml"
    lines = []
    for clinic in region.clinics:
        for bed in clinic.beds:
            lines += [
                "[[patients]]",
                f'bed = "{clinic.node}-{bed}"',
                f'eui64 = "{clinic.eui64(bed)}"',
                f"port = {region.ports[f'{clinic.node}.hl7']}",
                f'patient_id = "{clinic.patient_id(bed)}"',
            ]
    ward.write_text("\n".join(lines))
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_node.devices.simulated", "ward", "--file", str(ward)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"},
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def _watch(region: Region, client: httpx.Client, seconds: float) -> list[float]:
    """Return the delays, in ms, of all readings that reach the screen in this time.

    A monitor's values stand for one second and are sent when that second is over: their measurement time is
    its beginning, so the second itself is taken off.
    """
    delays = []
    cookie = {"Cookie": f"yz_session={client.cookies['yz_session']}", "Origin": region.hub_url}
    url = region.hub_url.replace("http", "ws") + "/api/v1/live"
    with connect(url, additional_headers=cookie, max_size=None) as socket:
        snapshot = json.loads(socket.recv(timeout=20))
        keys = [bed["key"] for bed in snapshot["beds"]][:WATCHED_BEDS]
        socket.send(json.dumps({"type": "watch", "bed_keys": keys}))
        until_s = time.monotonic() + seconds
        while (left := until_s - time.monotonic()) > 0:
            try:
                message = json.loads(socket.recv(timeout=left))
            except TimeoutError:
                break
            if message["type"] == "readings" and message["readings"]:
                newest = max(reading["measured_at_ms"] for reading in message["readings"])
                delays.append(time.time() * 1000 - newest - 1000)
    return delays


class _Meter:
    """Counters of the region's processes at one moment."""

    def __init__(self, region: Region) -> None:
        self.hub_cpu_s = _cpu_s(region.processes["hub"].popen.pid)
        self.broker_cpu_s = _cpu_s(region.broker_pid())
        edges = [region.processes[clinic.node].popen.pid for clinic in region.clinics]
        self.edges_cpu_s = sum(_cpu_s(pid) for pid in edges)
        self.edge_resident_bytes = max(psutil.Process(pid).memory_info().rss for pid in edges)
        metrics = httpx.get(f"{region.hub_url}/metrics", timeout=10).text
        self.bytes = sum(
            float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith("hub_ingest_bytes_total")
        )


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    for _row in (measure(int(sys.argv[1]), mosquitto="mosquitto" in sys.argv, seconds=float(sys.argv[2])),):
        print(table([_row]))
