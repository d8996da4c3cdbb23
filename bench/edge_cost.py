"""What the durable path costs at the edge, beside the same node without buffer and uplink, and beside commits alone.

`python -m bench.edge_cost`: all run at the same time, the nodes each with monitors of their own, so that whatever else
the machine does falls on all.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench.__main__ import circumstances
from bench.delay import monitors
from tests.region.region import Clinic, Region, until

HERE = Path(__file__).resolve().parent
WARM_UP_S = 100
"""Past the first block of waves, so that the link is known."""
PATIENTS = (1, 10, 30)
BAR_PATIENTS, BAR_MS = 10, 0.3
SHARED_COMMITS = 1000 / 300
"""Commits a second that a wait of 300 ms leaves, where ten or more send."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor time in milliseconds for each second of each patient."""

    patients: int
    seconds: float
    whole_ms: float
    without_ms: float
    """The same node with nothing behind its store and nothing before its hub."""
    durable_path_ms: float
    store_ms: float
    """What of the durable path a node costs more that stores and does not send."""
    link_ms: float
    floor_ms: float
    """One synced commit for each second of each patient, and nothing else (`bench.edge_floor`)."""
    shared_floor_ms: float
    """The same messages in no more than SHARED_COMMITS commits a second."""


def measure(patients: int, seconds: float) -> Cost:
    """Run the three nodes for so long and return what they cost."""
    beds = tuple(f"B{bed:02d}" for bed in range(patients))
    whole, storing, without = (
        Clinic(site=f"clinic-0{number}", node=f"edge-0{number}", beds=beds) for number in range(3)
    )
    floors = {"floor": float(patients), "shared-floor": min(float(patients), SHARED_COMMITS)}
    with tempfile.TemporaryDirectory() as folder:
        region = Region(Path(folder), (whole, storing, without), external_broker=True)
        region.prepare()
        try:
            region.start_mosquitto()
            region.start_hub()
            region.start_edge(whole.node)
            for clinic, options in ((storing, ["--store"]), (without, [])):
                command = [
                    sys.executable,
                    "-m",
                    "bench.edge_null",
                    *options,
                    "serve",
                    "--config",
                    f"{clinic.node}.toml",
                ]
                region.processes[clinic.node] = region.launch(clinic.node, command)
            for clinic in region.clinics:
                region.until_ready(region.page_url(clinic.node))
            for name, commits in floors.items():
                command = [sys.executable, "-m", "bench.edge_floor", f"{folder}/{name}.db", str(patients), str(commits)]
                region.processes[name] = region.launch(name, command)
            with monitors(region):
                time.sleep(WARM_UP_S)
                names = [*(clinic.node for clinic in region.clinics), *floors]
                return _cost(patients, *_spent(region, names, seconds))
        finally:
            region.stop()


def _spent(region: Region, names: list[str], seconds: float) -> tuple[float, list[float]]:
    """Return how long was measured, and the processor time of each process in it."""
    nodes = [psutil.Process(region.processes[name].popen.pid) for name in names]
    before, began = [sum(node.cpu_times()[:2]) for node in nodes], time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - began
    until(lambda: all(node.is_running() for node in nodes), 1, "all still run")
    return span, [sum(node.cpu_times()[:2]) - spent for node, spent in zip(nodes, before, strict=True)]


def _cost(patients: int, span: float, spent_s: list[float]) -> Cost:
    whole, storing, without, floor, shared_floor = (1000 * each / span / patients for each in spent_s)
    parts = (whole, without, whole - without, storing - without, whole - storing, floor, shared_floor)
    return Cost(patients, round(span, 1), *(round(part, 3) for part in parts))


def table(costs: list[Cost]) -> str:
    """Return the costs as a Markdown table."""
    heads = list(asdict(costs[0]))
    lines = ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(str(value) for value in asdict(cost).values()) + " |" for cost in costs]
    return "\n".join(lines)


def verdict(costs: list[Cost]) -> str:
    """Say whether the bar is met."""
    found = [cost for cost in costs if cost.patients == BAR_PATIENTS]
    if not found:
        return f"Bar: {BAR_MS} ms at {BAR_PATIENTS} patients, not measured in this run."
    cost = found[0]
    is_met = "met" if cost.durable_path_ms < BAR_MS else "not met"
    return (
        f"Bar: under {BAR_MS} ms at {BAR_PATIENTS} patients. It is {is_met} on these cores: "
        f"{cost.durable_path_ms} ms, {cost.durable_path_ms / cost.floor_ms:.1f} times "
        "one synced commit for each second of each patient."
    )


def main() -> None:
    """Run it and write edge_cost.json and edge_cost.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of each measurement; whole minutes are best")
    parser.add_argument("--patients", type=int, nargs="+", default=list(PATIENTS))
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    costs: list[Cost] = []
    loads: list[float] = []
    for patients in asked.patients:
        costs.append(measure(patients, asked.seconds))
        loads.append(round(os.getloadavg()[1], 1))
        print(table(costs[-1:]).splitlines()[-1], flush=True)
    if asked.dry:
        return
    facts = {**circumstances(), "command": " ".join(("python -m bench.edge_cost", *sys.argv[1:]))}
    facts["load"] = ", ".join(f"{load}" for load in loads) + " (five minutes, at the end of each)"
    (HERE / "edge_cost.json").write_text(
        json.dumps({**facts, "costs": [asdict(cost) for cost in costs]}, indent=1) + "\n"
    )
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    (HERE / "edge_cost.md").write_text(f"""# What the durable path costs the edge

{heading}

Processor time in milliseconds for each second of each patient: a message a second with numbers and three waves.
Three nodes run at the same time: the whole one, one that stores and does not send, and one that does neither; the
durable path is the first less the last. Beside them synced commits alone: one for each message, and no more than
{SHARED_COMMITS:.1f} a second for all. Ratios are worth more than absolute times: the machine is shared.

{table(costs)}

{verdict(costs)}
""")


if __name__ == "__main__":
    main()
