"""What the durable path costs at the edge, beside the same node without buffer and uplink, and beside commits alone.

`python -m bench.edge_cost`: all run at the same time, the nodes each with monitors of their own, so that whatever else
the machine does falls on all.
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
    floor_ms: float
    """One synced commit for each second of each patient, and nothing else (`bench.edge_floor`)."""


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
            region.processes["floor"] = region.launch("floor", [sys.executable, "-m", "bench.edge_floor", folder])
            with monitors(region):
                time.sleep(WARM_UP_S)
                return _spent(region, seconds)
        finally:
            region.stop()


def _spent(region: Region, seconds: float) -> Cost:
    names = [*(clinic.node for clinic in region.clinics), "floor"]
    nodes = [psutil.Process(region.processes[name].popen.pid) for name in names]
    before, began = [sum(node.cpu_times()[:2]) for node in nodes], time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - began
    until(lambda: all(node.is_running() for node in nodes), 1, "all still run")
    whole_ms, without_ms, floor_ms = (
        1000 * (sum(node.cpu_times()[:2]) - spent) / span / PATIENTS for node, spent in zip(nodes, before, strict=True)
    )
    return Cost(
        round(span, 1), round(whole_ms, 3), round(without_ms, 3), round(whole_ms - without_ms, 3), round(floor_ms, 3)
    )


def table(cost: Cost) -> str:
    """Return the cost as a Markdown table."""
    heads = list(asdict(cost))
    rows = ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |", "|" + " --- |" * len(heads)]
    return "\n".join([*rows, "| " + " | ".join(str(value) for value in asdict(cost).values()) + " |"])


if __name__ == "__main__":
    print(table(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 60)))
