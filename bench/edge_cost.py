"""What the durable path costs at the edge: a node with ten patients, and the same node without buffer and uplink.

`python -m bench.edge_cost`: both run at the same time, each with monitors of its own, so that whatever else the machine
does falls on both.
"""

import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench.delay import monitors
from tests.region.region import Clinic, Region, until

WARM_UP_S = 100
"""Past the first block of waves, so that the link is known."""
PATIENTS = 10


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time in milliseconds for each second of each patient."""

    seconds: float
    whole_ms: float
    without_ms: float
    durable_path_ms: float


def measure(seconds: float) -> Cost:
    """Run both nodes for so long and return what they cost."""
    beds = tuple(f"B{bed:02d}" for bed in range(PATIENTS))
    whole = Clinic(site="clinic-00", node="edge-00", beds=beds)
    without = Clinic(site="clinic-01", node="edge-01", beds=beds)
    with tempfile.TemporaryDirectory() as folder:
        region = Region(Path(folder), (whole, without), external_broker=True)
        region.prepare()
        try:
            region.start_mosquitto()
            region.start_hub()
            region.start_edge(whole.node)
            command = [sys.executable, "-m", "bench.edge_null", "serve", "--config", f"{without.node}.toml"]
            region.processes[without.node] = region.launch(without.node, command)
            for clinic in region.clinics:
                region.until_ready(region.page_url(clinic.node))
            with monitors(region):
                time.sleep(WARM_UP_S)
                return _spent(region, seconds)
        finally:
            region.stop()


def _spent(region: Region, seconds: float) -> Cost:
    nodes = [psutil.Process(region.processes[clinic.node].popen.pid) for clinic in region.clinics]
    before, began = [sum(node.cpu_times()[:2]) for node in nodes], time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - began
    until(lambda: all(node.is_running() for node in nodes), 1, "both nodes still run")
    whole_ms, without_ms = (
        1000 * (sum(node.cpu_times()[:2]) - spent) / span / PATIENTS for node, spent in zip(nodes, before, strict=True)
    )
    return Cost(round(span, 1), round(whole_ms, 3), round(without_ms, 3), round(whole_ms - without_ms, 3))


def table(cost: Cost) -> str:
    """Return the cost as a Markdown table."""
    heads = list(asdict(cost))
    rows = ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join([*rows, "| " + " | ".join(str(value) for value in asdict(cost).values()) + " |"])


if __name__ == "__main__":
    print(table(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 60)))
