"""A thousand edges lose the broker at once: how soon all are back, alarms before the rest, and what it costs the hub.

`python -m bench.storm`: Mosquitto is killed, every edge raises an alarm meanwhile, and Mosquitto starts again.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from bench.__main__ import circumstances
from bench.patients import Fleet, fleet
from tests.region.region import ROOT, until

HERE = Path(__file__).resolve().parent
EDGES, GONE_S = 1_000, 20.0
START_LIMIT_S, BACK_LIMIT_S = 240.0, 180.0
FILES = 16_384
"""Open files a process needs for four connections an edge."""
CPU_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds from the moment the broker listens again; processor shares are of one core."""

    edges: int
    connections: int
    gone_s: float
    alarms_half_s: float
    alarms_all_s: float
    measurements_half_s: float
    measurements_all_s: float
    hub_core_pct: float
    """Mean until all measurements were receipted."""
    hub_busiest_second_pct: float
    broker_core_pct: float
    edges_core_pct: float
    alarms_stored: int


@dataclass(slots=True)
class Told:
    """What the edges said, in order."""

    lines: list[dict[str, float]] = field(default_factory=list)

    def read(self, source: "subprocess.Popen[str]") -> None:
        """Keep every line until the process ends."""
        assert source.stdout is not None
        for line in source.stdout:
            self.lines.append(json.loads(line))

    def first_s(self, key: str, least: float, since_s: float) -> float:
        """Return when a count first stood so high; infinite where it never did."""
        return next(
            (line["at_s"] - since_s for line in self.lines if line["at_s"] >= since_s and line[key] >= least),
            float("inf"),
        )


@dataclass(slots=True)
class Burden:
    """The hub's processor time, second by second."""

    hub: psutil.Process
    shares_pct: list[float] = field(default_factory=list)

    def watch(self, ended: threading.Event) -> None:
        """Look once a second until told to end."""
        before_s, at_s = spent_s(self.hub), time.monotonic()
        while not ended.wait(CPU_EVERY_S):
            now_s, spent = time.monotonic(), spent_s(self.hub)
            self.shares_pct.append(100 * (spent - before_s) / (now_s - at_s))
            before_s, at_s = spent, now_s


def spent_s(process: psutil.Process) -> float:
    """Return the processor time that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(edges: int, gone_s: float) -> Outcome:
    """Run the storm once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))
    with tempfile.TemporaryDirectory() as folder:
        region = fleet(Path(folder), edges)
        region.prepare()
        try:
            region.start()
            with _edges_of(region) as process:
                told = Told()
                reader = threading.Thread(target=told.read, args=(process,))
                reader.start()
                try:
                    return _stormed(region, process, told, edges, gone_s)
                finally:
                    process.kill()
                    reader.join()
        finally:
            region.stop()


def _edges_of(region: Fleet) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bench.storm_edges", str(region.ports["broker"]), str(region.folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _stormed(region: Fleet, process: "subprocess.Popen[str]", told: Told, edges: int, gone_s: float) -> Outcome:
    def stands(key: str) -> Callable[[], bool]:
        return lambda: bool(told.lines) and told.lines[-1][key] >= edges

    assert process.stdin is not None
    until(stands("live"), START_LIMIT_S, "every edge has heard the hub")
    until(stands("measurements"), START_LIMIT_S, "all measurements are receipted")
    region.kill("broker")
    time.sleep(gone_s)
    process.stdin.write("alarm\n")
    process.stdin.flush()
    until(lambda: told.lines[-1]["alarms"] == 0, 30, "every edge has an alarm that waits")
    hub = psutil.Process(region.processes["hub"].popen.pid)
    ended, burden = threading.Event(), Burden(hub)
    watcher = threading.Thread(target=burden.watch, args=(ended,))
    watcher.start()
    region.start_mosquitto()
    back_s, before = time.monotonic(), (spent_s(hub), told.lines[-1]["cpu_s"])
    try:
        until(stands("alarms"), BACK_LIMIT_S, "every alarm is receipted")
        until(stands("measurements"), BACK_LIMIT_S, "all measurements are receipted")
    finally:
        ended.set()
        watcher.join()
    span_s = time.monotonic() - back_s
    broker = psutil.Process(region.broker_pid())
    return Outcome(
        edges=edges,
        connections=len(broker.net_connections()) - 1,
        gone_s=gone_s,
        alarms_half_s=round(told.first_s("alarms", edges / 2, back_s), 1),
        alarms_all_s=round(told.first_s("alarms", edges, back_s), 1),
        measurements_half_s=round(told.first_s("measurements", edges / 2, back_s), 1),
        measurements_all_s=round(told.first_s("measurements", edges, back_s), 1),
        hub_core_pct=round(100 * (spent_s(hub) - before[0]) / span_s, 1),
        hub_busiest_second_pct=round(max(burden.shares_pct, default=0.0), 1),
        broker_core_pct=round(100 * spent_s(broker) / span_s, 1),
        edges_core_pct=round(100 * (told.lines[-1]["cpu_s"] - before[1]) / span_s, 1),
        alarms_stored=region.stored("care"),
    )


def table(rows: Sequence[Outcome]) -> str:
    """Return the outcomes as a Markdown table, a column each."""
    lines = ["| what |" + " value |" * len(rows), "| --- |" + " --- |" * len(rows)]
    told = [asdict(row) for row in rows]
    lines += [f"| {name.replace('_', ' ')} | " + " | ".join(str(row[name]) for row in told) + " |" for name in told[0]]
    return "\n".join(lines)


def main() -> None:
    """Run the storm and write storm.json and storm.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, default=EDGES)
    parser.add_argument("--gone-s", type=float, default=GONE_S, help="how long there is no broker")
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    outcome = measure(asked.edges, asked.gone_s)
    print(table([outcome]))
    if asked.dry:
        return
    facts = {**circumstances(), "command": " ".join(("python -m bench.storm", *sys.argv[1:]))}
    (HERE / "storm.json").write_text(json.dumps({**facts, **asdict(outcome)}, indent=1) + "\n")
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    (HERE / "storm.md").write_text(f"""# A thousand edges come back at once

{heading}

The edges are the product's uplinks with their four connections each and its waits as shipped (0.5 s doubling to 30 s,
full jitter), in one process, over buffers in memory; a set of measurements every two seconds each.  Mosquitto is
killed; before it starts again every edge raises an alarm.  The datagram path, which needs no broker, is off.

Bars: all back within 120 s, alarms first, hub under 80 % of a core.

{table([outcome])}
""")


if __name__ == "__main__":
    main()
