"""kill -9 of edge, hub and broker at random moments under load: nothing acknowledged is lost or there twice.

A kill counts only where work was under way, and it is counted by the step that it hit: at the edge before or
after the commit of a message that was not answered yet, at the hub and broker by records on their way.
kill -9 keeps the page cache: this proves ordering and recovery; the synced write is proved under strace.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from telemed import wire
from telemed.v1 import sample_pb2

from tests.fakes.sealed_store import records_in
from tests.region.region import ROOT, Clinic, Region, running, until

KILLS = int(os.environ.get("KILLS", "30"))
"""Kills of each of the three processes."""
CLINIC = Clinic(beds=("B01", "B02", "B03", "B04"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Monitors:
    """Four simulated monitors in a process of their own, twenty messages a second each, with their ledger."""

    def __init__(self, region: Region) -> None:
        self.ledger = region.folder / "ledger.jsonl"
        ward = region.folder / "ward.toml"
        ward.write_text(
            f"port = {region.ports['edge-clinic.hl7']}\ninterval_s = 0.05\n"
            + "".join(
                f'[[patients]]\nbed = "{bed}"\neui64 = "{CLINIC.eui64(bed)}"\npatient_id = "{CLINIC.patient_id(bed)}"\n'
                f"waves = {str(bed == 'B01').lower()}\n"
                for bed in CLINIC.beds
            )
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edge_node.devices.simulated", "ward", "--file", str(ward), "--ledger",
             str(self.ledger)],
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'protos'}"},
        )  # fmt: skip

    def lines(self) -> list[dict[str, str]]:
        """Return the ledger so far; a line that is just being written is left out."""
        if not self.ledger.exists():
            return []
        whole = self.ledger.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def acknowledged(self) -> set[str]:
        """Control ids of the messages that were answered with AA."""
        return {line["id"] for line in self.lines() if line["event"] == "ack"}

    def in_flight(self) -> set[str]:
        """Control ids that were sent and not answered."""
        lines = self.lines()
        return {line["id"] for line in lines if line["event"] == "sent"} - {
            line["id"] for line in lines if line["event"] == "ack"
        }

    def stop(self) -> None:
        """End the monitors."""
        self.process.terminate()
        self.process.wait(10)


def copied(database: Path) -> Path:
    """Copy a database of a process that may be dead: its recovery is that process' own business."""
    copies = list(database.parent.glob(f"{database.name}*"))
    target = database.parent / "copy"
    target.mkdir(exist_ok=True)
    for path in copies:
        (target / path.name).write_bytes(path.read_bytes())
    return target / database.name


def rows(database: Path, query: str) -> list[tuple[object, ...]]:
    """Read a copy of a database."""
    with sqlite3.connect(copied(database)) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


def stored_at_edge(region: Region) -> set[str]:
    """Return MSH-10 of every message whose numerics the edge has stored."""
    folder = region.folder / "edge-clinic-buffer"
    found = records_in(copied(folder / "vitals.db"), folder)
    numeric = [record for record in found if record.kind == wire.Kind.NUMERIC_SET]
    return {_source(record.codec, record.payload) for record in numeric}


def _source(codec: object, payload: object) -> str:
    assert isinstance(payload, bytes)
    assert isinstance(codec, int)
    record = wire.Record("", wire.Kind.NUMERIC_SET, 1, codec, 0, 0, wire.Stamp(0, 0, 0), payload, 0)
    return sample_pb2.NumericSet.FromString(record.body()).source_ref


def stored_sources(region: Region) -> Counter[str]:
    """Count, per message (MSH-10), the numeric records at the hub."""
    found: Counter[str] = Counter()
    for codec, payload in rows(
        region.folder / "hub" / "samples.db", f"SELECT codec, payload FROM record WHERE kind = {wire.Kind.NUMERIC_SET}"
    ):
        found[_source(codec, payload)] += 1
    return found


@dataclass(frozen=True, slots=True)
class Victim:
    """A process to kill, and how."""

    name: str
    hit: Callable[[Region, Monitors], str]


def waiting(region: Region) -> float:
    """Return how many records wait at the edge, as its own metrics say."""
    try:
        text = httpx.get(f"{region.page_url()}/metrics", timeout=5).text
    except httpx.TransportError:
        return 1.0  # the edge is down, under load: what its monitors sent since waits in their queues
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("edge_waiting_records"))


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    with running(Region(tmp_path, (CLINIC,))) as started:
        yield started


def hit_edge(region: Region, monitors: Monitors) -> str:
    """Kill the edge, say which step it was at, and start it again."""
    region.kill("edge-clinic")
    pending = monitors.in_flight()
    if not pending:
        step = "idle"
    else:
        kept = stored_at_edge(region)
        committed = any(control_id in kept for control_id in pending)
        step = "after commit, before ack" if committed else "before commit"
    region.start_edge()
    region.until_ready(region.page_url())
    return f"edge: {step}"


def hit_hub(region: Region, _monitors: Monitors) -> str:
    """Kill the hub and start it again; the broker, its child, is ended with it or taken over."""
    step = "records on their way" if waiting(region) else "idle"
    region.kill("hub")
    region.start_hub()
    return f"hub: {step}"


def hit_broker(region: Region, _monitors: Monitors) -> str:
    """Kill the broker; the hub starts it again by itself."""
    pid = region.broker_pid()
    step = "records on their way" if waiting(region) else "idle"
    os.kill(pid, signal.SIGKILL)
    until(lambda: region.broker_pid() != pid, 15, "the hub has started a new broker")
    return f"broker: {step}"


def hit_until_enough(region: Region, monitors: Monitors, victims: Sequence[Victim], seed: int) -> Counter[str]:
    """Kill the victims in turn, at random moments under load, until each was hit KILLS times at work."""
    chance = random.Random(seed)
    hits: Counter[str] = Counter()

    def at_work(name: str) -> int:
        return sum(n for step, n in hits.items() if step.startswith(name) and "idle" not in step)

    while any(at_work(victim.name) < KILLS for victim in victims):
        assert sum(hits.values()) < 4 * KILLS * len(victims), f"too many kills hit nothing: {hits}"
        for victim in victims:
            time.sleep(chance.uniform(0.1, 0.6))
            hits[victim.hit(region, monitors)] += 1
    return hits


def test_nothing_acknowledged_is_lost_or_doubled_over_kills_of_edge_hub_and_broker(region: Region) -> None:
    monitors = Monitors(region)
    try:
        until(lambda: len(monitors.acknowledged()) > 50, 30, "messages are acknowledged")
        with ThreadPoolExecutor(2) as pool:
            # Both at once: an edge dies while the hub is down, too.
            far = pool.submit(
                hit_until_enough, region, monitors, [Victim("hub", hit_hub), Victim("broker", hit_broker)], 1
            )
            near = pool.submit(hit_until_enough, region, monitors, [Victim("edge", hit_edge)], 2)
            hits = far.result() + near.result()
        acknowledged = len(monitors.acknowledged())
        until(lambda: len(monitors.acknowledged()) > acknowledged + 50, 30, "the region works on")
    finally:
        monitors.stop()
    until(lambda: waiting(region) == 0, 90, "everything has reached the hub")

    told = monitors.acknowledged()
    at_hub = stored_sources(region)
    print(f"kills by step: {dict(sorted(hits.items()))}; {len(told)} messages acknowledged, {len(at_hub)} at the hub")
    assert told <= set(at_hub), f"lost: {sorted(told - set(at_hub))[:5]}"
    assert {source: n for source, n in at_hub.items() if n > 1} == {}
    for epoch, contig, highest in rows(
        region.folder / "hub" / "samples.db", "SELECT epoch, contig, max FROM watermark"
    ):
        assert contig == highest, f"a gap in epoch {epoch}"
