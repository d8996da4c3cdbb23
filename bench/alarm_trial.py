"""One case of `bench.alarms`, with the product's processes or with the plain client, over a tunnel of its own."""

import json
import math
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from telemed.v1 import alarm_pb2
from telemed.wire import Record, Stamp
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from bench.alarm_source import RULESET, AlarmSource, raising
from bench.far import FarRegion
from cloud_hub.web.views import PHASE_NAMES
from edge_node.devices.simulated.messages import Speaker
from tests.faults.relay.link import ROOT
from tests.faults.relay.settings import Loss, Settings
from tests.faults.relay.traces import constant
from tests.faults.relay.tunnel import Tunnel, tunnel
from tests.region.region import Clinic, running, until

CLINIC = Clinic(beds=("B01",), extra=f'[alarms]\nruleset = "{RULESET}"\n')
CONDITION = "temp-high"
SETTLE_S = 20.0
"""How long the upload has the link for itself, sessions up, before the case begins."""
DRAIN_S = 60.0
"""How long is waited for what is still under way at the end."""
UPLOAD_BYTES = 96 * 1024 * 1024
PLAIN_PORT = 18830
BROKER_START_S = 10


@dataclass(frozen=True, slots=True)
class Case:
    """A bad link."""

    name: str
    up: Settings
    down: Settings
    target: str
    """The bar, as the report shows it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one client made of one case; delays in milliseconds, from the alarm's own time at the edge."""

    case: str
    client: str
    alarms: int
    missing: int
    """Not at the hub a minute after the last was raised."""
    alarm_bytes: int
    """As stored, head and payload, mean."""
    received_ms: tuple[float, ...]
    """Sorted; at the hub's door."""
    committed_ms: tuple[float, ...]
    """Sorted; committed and told to a screen.  Empty for the plain client, which commits nothing."""
    wire_share: float
    """Of the capacity on the way up."""
    up_bytes: int
    down_bytes: int
    load: float
    """Load average of the machine at the end."""


def at(delays_ms: Sequence[float], share: float) -> float:
    """Return a percentile of sorted delays, infinite where there are none."""
    if not delays_ms:
        return math.inf
    return delays_ms[min(len(delays_ms) - 1, int(share * len(delays_ms)))]


@contextmanager
def _uploading(case: Case) -> Iterator[tuple[Tunnel, FarRegion]]:
    """Hold the product's processes running over a calm link, an upload on its way."""
    with (
        _calm_tunnel(case) as link,
        tempfile.TemporaryDirectory() as folder,
        running(FarRegion(Path(folder), (CLINIC,), link=link)) as region,
    ):
        queue_upload(region)
        yield link, region


def product(case: Case, alarms: int) -> Outcome:
    """Run edge, broker and hub as they are shipped, an upload beside the alarms."""
    with _uploading(case) as (link, region), region.screen("physician") as live, hearing(live) as heard:
        until(lambda: path_is_up(region), 30, "the alarms' datagram path is up")
        time.sleep(SETTLE_S)
        wire = _Wire(link, case)
        speaker = Speaker(CLINIC.eui64("B01"))
        source = AlarmSource(lambda: region.dial("edge", region.ports["edge-clinic.hl7"]), speaker)
        with raising(source, alarms) as thread:
            thread.join()
        share, up_bytes, down_bytes = wire.used()
        with suppress(AssertionError):
            until(lambda: heard.count() >= alarms, DRAIN_S, "every alarm is at the hub")
        rows = stored_steps(region.folder / "hub" / "care.db")
        committed = sorted(heard.at_ns[key] / 1e6 - row.at_ms for key, row in rows.items() if key in heard.at_ns)
    return Outcome(
        case=case.name,
        client="product",
        alarms=source.sent,
        missing=source.sent - min(len(rows), len(committed)),
        alarm_bytes=round(sum(row.size_bytes for row in rows.values()) / max(1, len(rows))),
        received_ms=tuple(sorted(row.received_ms - row.at_ms for row in rows.values())),
        committed_ms=tuple(committed),
        wire_share=share,
        up_bytes=up_bytes,
        down_bytes=down_bytes,
        load=os.getloadavg()[0],
    )


def upload_alone(case: Case, seconds: float) -> Outcome:
    """Let the product's upload have the link for itself; no alarms, no measurements."""
    with _uploading(case) as (link, _region):
        time.sleep(SETTLE_S)
        wire = _Wire(link, case)
        time.sleep(seconds)
        share, up_bytes, down_bytes = wire.used()
    return Outcome(case.name, "product", 0, 0, 0, (), (), share, up_bytes, down_bytes, os.getloadavg()[0])


def plain_client(case: Case, alarms: int) -> Outcome:
    """Run the plain client through a broker of its own."""
    with _calm_tunnel(case) as link, tempfile.TemporaryDirectory() as folder:
        broker = Path(folder) / "mosquitto.conf"
        broker.write_text(f"listener {PLAIN_PORT} {link.hub_address}\nallow_anonymous true\npersistence false\n")
        Path(folder).chmod(0o755)
        link.spawn("hub", ["/usr/sbin/mosquitto", "-c", str(broker)], stderr=subprocess.DEVNULL)
        time.sleep(1)
        side = [sys.executable, "-m", "bench.plain_client"]
        place = [link.hub_address, str(PLAIN_PORT), "--alarms", str(alarms)]
        pipes = {"cwd": ROOT, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        hub = link.spawn("hub", [*side, "receive", *place], **pipes)
        assert hub.stdout is not None
        assert json.loads(hub.stdout.readline()) == {"subscribed": True}
        delays: dict[int, float] = {}
        reader = threading.Thread(target=_read_delays, args=(hub.stdout, delays), daemon=True)
        reader.start()
        edge = link.spawn("edge", [*side, "send", *place], **pipes)
        assert edge.stdin is not None
        assert edge.stdout is not None
        time.sleep(SETTLE_S)
        wire = _Wire(link, case)
        edge.stdin.write("alarms\n")
        edge.stdout.readline()
        share, up_bytes, down_bytes = wire.used()
        with suppress(AssertionError):
            until(lambda: len(delays) >= alarms, DRAIN_S, "every alarm is at the hub")
        arrived = tuple(sorted(delays.values()))
    return Outcome(
        case=case.name,
        client="plain MQTT",
        alarms=alarms,
        missing=alarms - len(arrived),
        alarm_bytes=300,
        received_ms=arrived,
        committed_ms=(),
        wire_share=share,
        up_bytes=up_bytes,
        down_bytes=down_bytes,
        load=os.getloadavg()[0],
    )


def queue_upload(region: FarRegion) -> None:
    """Queue a file that cannot be compressed for the hub, as a person at the node would."""
    path = region.folder / "study.bin"
    path.write_bytes(random.Random(5).randbytes(UPLOAD_BYTES))
    said = region.run("edge_node", "send", "--config", f"{CLINIC.node}.toml", "--kind", "study", str(path))
    assert said.startswith("queued: "), said


@contextmanager
def _calm_tunnel(case: Case) -> Iterator[Tunnel]:
    """Hold a tunnel open on which nothing is lost yet and the rate stands, so that sessions come up."""
    begin = case.up.rate.rates_bps[0] if case.up.rate else None
    calm_up = replace(case.up, loss=Loss(), rate=constant(begin) if begin else None)
    with tunnel(up=calm_up, down=replace(case.down, loss=Loss())) as link:
        yield link


class _Wire:
    """Puts the case in force, and tells afterwards what went over the wire."""

    def __init__(self, link: Tunnel, case: Case) -> None:
        link.set("up", case.up)
        link.set("down", case.down)
        self._link, self._case = link, case
        self._began_s, self._before = time.monotonic(), link.report()

    def used(self) -> tuple[float, int, int]:
        """Return the share of the capacity up, and the bytes up and down."""
        span_s, now = time.monotonic() - self._began_s, self._link.report()
        up_bytes = now.up.wire_bytes - self._before.up.wire_bytes
        rate = self._case.up.rate
        share = up_bytes * 8 / rate.bits_until(span_s) if rate else 0.0
        return share, up_bytes, now.down.wire_bytes - self._before.down.wire_bytes


@dataclass(slots=True)
class Heard:
    """What a screen of the hub was told."""

    at_ns: dict[tuple[str, str], int] = field(default_factory=dict)
    """(alarm, phase) -> when the screen was told, wall clock."""

    def count(self) -> int:
        """How many steps."""
        return len(self.at_ns)


@contextmanager
def hearing(live: ClientConnection) -> Iterator[Heard]:
    """Listen to a live socket of the hub while the block runs; the socket is closed then."""
    heard = Heard()

    def listen() -> None:
        with suppress(ConnectionClosed):
            for text in live:
                now_ns = time.time_ns()
                message = json.loads(text)
                if message["type"] != "alarm" or message["alarm"]["condition"] != CONDITION:
                    continue
                for step in message["alarm"]["steps"]:
                    if step["phase"] in ("start", "end"):
                        heard.at_ns.setdefault((message["alarm"]["alarm_id"], step["phase"]), now_ns)

    thread = threading.Thread(target=listen, name="screen")
    thread.start()
    try:
        yield heard
    finally:
        live.close()
        thread.join(10)


@dataclass(frozen=True, slots=True)
class Row:
    """An alarm step that the hub has committed; milliseconds since the epoch."""

    at_ms: float
    received_ms: float
    size_bytes: int


def stored_steps(care: Path) -> dict[tuple[str, str], Row]:
    """Return the alarm steps that the hub has committed."""
    rows: dict[tuple[str, str], Row] = {}
    with closing(sqlite3.connect(f"file:{care}?mode=ro", uri=True)) as database:
        found = database.execute("SELECT codec, payload, received_ns FROM care_record WHERE kind = 3")
        for codec, payload, received_ns in found:
            body = Record("", 3, 1, codec, 0, 0, Stamp(0, 0, 0), payload, 0).body()
            event = alarm_pb2.AlarmEvent.FromString(body)
            if event.condition == CONDITION:
                key = (event.alarm_id, PHASE_NAMES[event.phase])
                rows[key] = Row(event.at_unix_ns / 1e6, received_ns / 1e6, len(payload) + 56)
    return rows


def path_is_up(region: FarRegion) -> bool:
    """Whether the node's datagram path for alarms is up."""
    text = httpx.get(f"{region.page_url()}/metrics", timeout=5).text
    return 'edge_alarm_path_up{way="route"} 1.0' in text


def _read_delays(lines: Iterator[str], delays: dict[int, float]) -> None:
    for line in lines:
        told = json.loads(line)
        delays[told["number"]] = told["delay_ms"]
