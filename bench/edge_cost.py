"""What the durable path costs at the edge, beside the node without buffer and uplink, and beside its libraries alone.

`python -m bench.edge_cost`: all run at the same time, the nodes each with monitors of their own, so that whatever else
the machine does falls on all.  With `--apart`, for a machine on which nothing else runs, one node after the other, so
that none has the others' work in its caches.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from bench.__main__ import circumstances
from bench.delay import monitors
from tests.edge_node.uplink.mosquitto import running_broker
from tests.region.region import Clinic, Region, until

HERE = Path(__file__).resolve().parent
WARM_UP_S = 100
"""Past the first block of waves, so that the link is known."""
PATIENTS = (1, 10, 30)
BAR_PATIENTS, BAR_MS = 10, 0.3
SHARED_COMMITS = 1000 / 300
"""Commits a second that a wait of 300 ms leaves, where ten or more send."""
NODES = ("whole", "storing", "without")
PROGRAMS = {
    "whole": ["edge_node"],
    "storing": ["bench.edge_null", "--store"],
    "without": ["bench.edge_null"],
    "floor": ["bench.edge_floor"],
    "shared floor": ["bench.edge_floor"],
    "libraries": ["bench.edge_floor"],
}
"""Modules that are run, with what they are told first."""


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
    libraries_ms: float
    """These with what the libraries need to make, pack, and seal them, and to send them once a second."""


def measure(patients: int, seconds: float, *, is_apart: bool) -> Cost:
    """Run all programs for so long, at the same time or one after the other, and return what they cost."""
    floors = [name for name in PROGRAMS if name not in NODES]
    groups = [[name] for name in NODES] + [floors] if is_apart else [[*NODES, *floors]]
    found: dict[str, float] = {}
    for names in groups:
        found |= _spent_ms(names, patients, seconds)
        print(f"{patients} patients: {found}", file=sys.stderr, flush=True)
    whole, storing, without = (found[name] for name in NODES)
    parts = (whole, without, whole - without, storing - without, whole - storing, *(found[name] for name in floors))
    return Cost(patients, seconds, *(round(part, 3) for part in parts))


def _spent_ms(names: list[str], patients: int, seconds: float) -> dict[str, float]:
    """Run some programs at the same time; return their processor time for each second of each patient, in ms."""
    beds = tuple(f"B{bed:02d}" for bed in range(patients))
    nodes = {name: Clinic(site=f"clinic-{at}", node=f"edge-{at}", beds=beds) for at, name in enumerate(NODES)}
    nodes = {name: clinic for name, clinic in nodes.items() if name in names}
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        region = Region(Path(folder), tuple(nodes.values()), external_broker=True)
        region.prepare()
        try:
            if nodes:
                region.start_mosquitto()
                region.start_hub()
            for name in names:
                ends = (
                    ["serve", "--config", f"{nodes[name].node}.toml"]
                    if name in nodes
                    else _floor(name, Path(folder), patients, broker.port)
                )
                region.processes[name] = region.launch(name, [sys.executable, "-m", *PROGRAMS[name], *ends])
            for clinic in nodes.values():
                region.until_ready(region.page_url(clinic.node))
            with monitors(region) if nodes else nullcontext():
                time.sleep(WARM_UP_S)
                return _taken_ms({name: region.processes[name].popen.pid for name in names}, patients, seconds)
        finally:
            region.stop()


def _floor(name: str, folder: Path, patients: int, port: int) -> list[str]:
    """Return what a floor is told: its file, patients, commits a second, and the broker where it has one."""
    commits = patients if name == "floor" else min(patients, SHARED_COMMITS)
    return [f"{folder}/{name}.db", str(patients), f"{commits}", *([str(port)] if name == "libraries" else [])]


def _taken_ms(pids: dict[str, int], patients: int, seconds: float) -> dict[str, float]:
    running = {name: psutil.Process(pid) for name, pid in pids.items()}
    before, began = {name: sum(one.cpu_times()[:2]) for name, one in running.items()}, time.monotonic()
    time.sleep(seconds)
    span = time.monotonic() - began
    until(lambda: all(one.is_running() for one in running.values()), 1, "all still run")
    return {name: 1000 * (sum(one.cpu_times()[:2]) - before[name]) / span / patients for name, one in running.items()}


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
        f"{cost.durable_path_ms} ms, {cost.durable_path_ms / cost.libraries_ms:.1f} times what its libraries take "
        f"and {cost.durable_path_ms / cost.floor_ms:.1f} times one synced commit for each second of each patient."
    )


def main() -> None:
    """Run it and write edge_cost.json and edge_cost.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="length of each measurement; whole minutes are best")
    parser.add_argument("--patients", type=int, nargs="+", default=list(PATIENTS))
    parser.add_argument("--apart", action="store_true", help="run one node after the other, not all at the same time")
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    costs: list[Cost] = []
    loads: list[float] = []
    for patients in asked.patients:
        costs.append(measure(patients, asked.seconds, is_apart=asked.apart))
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
Three nodes run {"one after the other" if asked.apart else "at the same time"}: the whole one, one that stores and does
not send, and one that does neither; the durable path is the first less the last.  Beside them the floors of
`bench.edge_floor`: synced commits alone, one for each message, and no more than {SHARED_COMMITS:.1f} a second
for all; and these with the libraries of the product, which make, pack, seal, and store the same messages and send
them once a second, with nothing of the product around them.  Ratios are worth more than absolute times: the machine
is shared.

{table(costs)}

{verdict(costs)}
""")


if __name__ == "__main__":
    main()
