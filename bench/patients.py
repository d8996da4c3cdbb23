"""What a number of patients costs the hub: from ten to five thousand, a batch a second each, on Mosquitto.

`python -m bench.patients`: broker, hub and the load are processes of their own; the processor time of each is read
apart.  The patients are admitted, and some clinics' screens are open.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import httpx
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from bench.__main__ import circumstances
from bench.patients_load import A_NODE, Asked, Sent
from edge_node.uplink.pump import GATHER_S
from tests.fakes.ports import free_port
from tests.region.region import ROOT, Clinic, Region, until
from tests.region.screen import Screen

HERE = Path(__file__).resolve().parent
PATIENTS = (10, 100, 1_000, 5_000)
SCREENS = 4
"""Clinics that look at their own wall, as far as there are so many."""
START_LIMIT_S, ADMIT_LIMIT_S = 60, 180
GRACE_S = 30
"""How long the hub may take to store the rest after the load has ended."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one number of patients cost; processor shares are of one core."""

    sent: Sent
    patients: int
    edges: int
    screens: int
    seconds: float
    messages: int
    records: int
    stored: int
    behind_s: float
    """How long after the last was sent the hub had stored all."""
    shown: int
    """Messages of readings that the screens were told."""
    late_s: float
    """Longest that the load was behind its own time."""
    hub_core_pct: float
    broker_core_pct: float
    load_core_pct: float
    hub_us_per_record: float
    hub_resident_mib: float
    machine_busy_pct: float


class Fleet(Region):
    """Broker and hub with secrets for many edges, of which no process runs."""

    def prepare(self) -> None:
        """Write configuration and secrets."""
        (self.folder / "hub").mkdir(parents=True, exist_ok=True)
        self.ports = {name: free_port() for name in ("web", "broker", "datagram", "files")}
        self._write_secrets()
        seed_file = self.folder / "hub" / "accounts-seed.json"
        seed = json.loads(seed_file.read_text())
        for clinic in self.clinics[:SCREENS]:
            seed[clinic.node] = seed["clinic"] | {"username": clinic.node, "sites": [clinic.site]}
        seed_file.write_text(json.dumps(seed))
        (self.folder / "hub.toml").write_text(self._hub_config())

    def start(self) -> None:
        """Start broker and hub."""
        self.start_mosquitto()
        self.start_hub()

    def stored(self, store: str = "samples") -> int:
        """Return how many records the hub has stored, of measurements or ("care") of alarms and events."""
        text = httpx.get(f"{self.hub_url}/metrics", timeout=30).text
        found = [row for row in text.splitlines() if row.startswith(f'hub_records_total{{store="{store}"}}')]
        return round(float(found[0].rsplit(" ", 1)[1])) if found else 0


@dataclass(slots=True)
class Wall:
    """A clinic's screen: counts what it is told."""

    region: Fleet
    username: str
    readings: int = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Sign in and listen meanwhile."""
        with closing(self.region.signed_in(self.region.hub_url, self.username)) as client:
            live = Screen(client).socket
        listener = threading.Thread(target=self._listen, args=(live,), name=self.username)
        listener.start()
        try:
            yield
        finally:
            live.close()
            listener.join(10)

    def _listen(self, live: ClientConnection) -> None:
        with suppress(ConnectionClosed):
            for text in live:
                self.readings += '"type":"readings"' in str(text)


def fleet(folder: Path, edges: int) -> Fleet:
    """Return a region with so many edges, a site each."""
    clinics = tuple(Clinic(site=f"e{number:04d}", node=f"e{number:04d}", beds=("B01",)) for number in range(edges))
    return Fleet(folder, clinics, external_broker=True)


def measure(asked: Asked) -> Row:
    """Run so many patients for so long."""
    with tempfile.TemporaryDirectory() as folder:
        region = fleet(Path(folder), asked.edges)
        region.prepare()
        try:
            region.start()
            return _measured(region, asked)
        finally:
            region.stop()


def _measured(region: Fleet, asked: Asked) -> Row:
    with _loading(region, asked) as load, ExitStack() as held:
        events = _told(load)["events"]
        until(lambda: region.stored("care") >= events, ADMIT_LIMIT_S, "all patients are admitted")
        walls = [Wall(region, clinic.node) for clinic in region.clinics[: asked.looked_at]]
        for wall in walls:
            held.enter_context(wall.open())
        return _costed(region, load, walls, asked)


@contextmanager
def _loading(region: Fleet, asked: Asked) -> "Iterator[subprocess.Popen[str]]":
    secrets = region.folder / "hub" / "broker-secrets.json"
    command = [sys.executable, "-m", "bench.patients_load", str(region.ports["broker"]), str(secrets)]
    command += [str(asked.patients), str(asked.seconds), asked.sent, str(asked.looked_at)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
        try:
            yield load
        finally:
            load.kill()


def _told(load: "subprocess.Popen[str]") -> dict[str, Any]:
    assert load.stdout is not None
    told: dict[str, Any] = json.loads(load.stdout.readline())
    return told


def _go_on(load: "subprocess.Popen[str]") -> None:
    assert load.stdin is not None
    load.stdin.write("go\n")
    load.stdin.flush()


def _costed(region: Fleet, load: "subprocess.Popen[str]", walls: "Sequence[Wall]", asked: Asked) -> Row:
    _go_on(load)
    begun = _told(load)
    until(lambda: region.stored() >= begun["sent"], START_LIMIT_S, "the first second of all patients is stored")
    hub = psutil.Process(region.processes["hub"].popen.pid)
    broker = psutil.Process(region.broker_pid())
    before, began_s = (_spent_s(hub), _spent_s(broker)), time.monotonic()
    psutil.cpu_percent()
    shown = sum(wall.readings for wall in walls)
    _go_on(load)
    told = _told(load)
    busy_pct, ended_s = psutil.cpu_percent(), time.monotonic()
    while region.stored() < told["sent"] and time.monotonic() - ended_s < GRACE_S:
        time.sleep(0.2)
    span_s, behind_s = time.monotonic() - began_s, time.monotonic() - ended_s
    hub_s, broker_s = _spent_s(hub) - before[0], _spent_s(broker) - before[1]
    stored = region.stored()
    return Row(
        sent=asked.sent,
        patients=asked.patients,
        edges=begun["connected"],
        screens=len(walls),
        seconds=round(span_s, 1),
        messages=told["messages"],
        records=told["sent"] - begun["sent"],
        stored=stored - begun["sent"],
        behind_s=round(behind_s, 2),
        shown=sum(wall.readings for wall in walls) - shown,
        late_s=round(told["latest_s"], 2),
        hub_core_pct=round(100 * hub_s / asked.seconds, 1),
        broker_core_pct=round(100 * broker_s / asked.seconds, 1),
        load_core_pct=round(100 * told["cpu_s"] / asked.seconds, 1),
        hub_us_per_record=round(hub_s / max(1, stored - begun["sent"]) * 1e6, 1),
        hub_resident_mib=round(hub.memory_info().rss / 2**20, 1),
        machine_busy_pct=busy_pct,
    )


def _spent_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    heads = list(asdict(rows[0]))
    lines = ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(str(value) for value in asdict(row).values()) + " |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    """Run the curve and write patients.json and patients.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, nargs="+", default=PATIENTS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--sent", choices=get_args(Sent), nargs="+", default=get_args(Sent))
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    rows = []
    for patients, sent in product(asked.patients, asked.sent):
        rows.append(measure(Asked(patients, asked.seconds, sent, SCREENS)))
        print(table(rows).splitlines()[-1], flush=True)
    if asked.dry:
        return
    facts = {**circumstances(), "command": " ".join(("python -m bench.patients", *sys.argv[1:]))}
    (HERE / "patients.json").write_text(json.dumps({**facts, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    (HERE / "patients.md").write_text(f"""# Patients at one hub

{heading}

A batch a second for each patient, in two records: eight numerics, and a second of three waves.  {A_NODE} patients an
edge, a connection each.  Sent "together" they go as edges send them: what came in within {GATHER_S:g} s shares a
message, and waves that nobody looks at go a minute at a time.  Sent "apart" each record is a message, as from edges
that all are looked at: the most that so many patients can be.  Broker (Mosquitto), hub (SQLite, `synchronous=FULL`) and
load are processes of their own on this one machine; `core pct` is of one core.  All patients are admitted, and the wall
of each of the first {SCREENS} clinics is open: their edges send apart in every row, and `shown` counts the messages of
readings that they were told, one a second for each of their beds, and one every ten seconds with its score.

Bar: the hub at or under one core with 5,000 patients, nothing behind.

{table(rows)}
""")


if __name__ == "__main__":
    main()
