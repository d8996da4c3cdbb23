"""A head with a series of 72 slices more, by C-STORE, over 1 Mbit/s: key image, findings, the rest, and alarms beside.

`python -m bench.study`: modality, edge, worker, broker and hub are processes at the two ends of a packet tunnel (Linux,
root; DCMTK).  What observes does not pass the tunnel.
"""

import argparse
import json
import math
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
from telemed.study import KEY_IMAGE_NAME

from bench.__main__ import HERE, circumstances
from bench.alarm_source import RULESET, AlarmSource, raising
from bench.alarm_trial import at, hearing, path_is_up, stored_steps
from bench.far import FarRegion
from deploy.demo import model
from edge_node.devices.simulated.messages import Speaker
from tests.fakes import dicom_files, swi_dicom
from tests.fakes.dcmtk import program
from tests.faults.relay.settings import Settings
from tests.faults.relay.traces import constant
from tests.faults.relay.tunnel import tunnel
from tests.region.region import Clinic, until

RATE_BPS = 1_000_000
TRAVEL = Settings(delay_s=0.03)
PORT = 11112
MORE_SLICES, MORE_SIDE = 72, 256
ALARMS_MOST = 4_000
LIMIT_S = 900.0
LOOK_EVERY_S = 0.1
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
CLINIC = Clinic(
    beds=("B01", "B02"),
    extra=f"""[alarms]
ruleset = "{RULESET}"
[imaging]
port = {PORT}
senders = ["STORESCU"]
complete_after_s = 5
[inference]
root_file = "models/root.json"
memory_mib = 1024
threads = 1
research = true
""",
)


@dataclass(slots=True)
class Times:
    """When what was seen first, monotonic seconds; infinite until then."""

    stored: float = math.inf
    """The last C-STORE was answered."""
    key_image: float = math.inf
    """The hub has the key image, which goes ahead, whole and synced."""
    inferred: float = math.inf
    """The last run of a graph ended."""
    report: float = math.inf
    """The hub has the report in its index."""
    whole: float = math.inf
    """The hub has all that was sent in its index."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured, seconds and milliseconds."""

    images: int
    megabytes: float
    key_image_after_last_store_s: float
    inference_s: float
    """All runs of graphs together."""
    report_after_inference_s: float
    whole_after_last_store_s: float
    alarms: int
    alarms_missing: int
    alarm_p50_ms: float
    alarm_p99_ms: float


@dataclass(slots=True)
class Watch:
    """Looks at node and hub in a thread of its own."""

    region: FarRegion
    sent: int
    times: Times = field(default_factory=Times)
    runs: float = 0.0
    inference_s: float = 0.0

    def look(self, hub: sqlite3.Connection, node: httpx.Client) -> None:
        """Note what is there now and was not before."""
        now_s = time.monotonic()
        asked = "SELECT count(*) FROM transfer WHERE name = ? AND state = 'complete'"
        if hub.execute(asked, (KEY_IMAGE_NAME,)).fetchone()[0]:
            self.times.key_image = min(self.times.key_image, now_s)
        asked = "SELECT modality, sum(instance_count) FROM dicom_series GROUP BY modality"
        listed = dict(hub.execute(asked).fetchall())
        if listed.get("SR"):
            self.times.report = min(self.times.report, now_s)
        if listed.get("MR", 0) >= self.sent:
            self.times.whole = min(self.times.whole, now_s)
        if self.times.report == math.inf:
            runs, seconds = _inference(node.get("/metrics").text)
            if runs > self.runs:
                self.runs, self.inference_s, self.times.inferred = runs, seconds, time.monotonic()

    def run(self, is_over: threading.Event) -> None:
        """Look until told to stop, or all is there; the hub's database is read, so that looking costs it nothing."""
        care = f"file:{self.region.folder / 'hub' / 'care.db'}?mode=ro"
        with closing(sqlite3.connect(care, uri=True)) as hub, closing(httpx.Client()) as node:
            node.base_url = httpx.URL(self.region.page_url())
            while self.times.whole == math.inf and not is_over.wait(LOOK_EVERY_S):
                self.look(hub, node)


def _inference(metrics: str) -> tuple[float, float]:
    """Return how many runs of graphs the node counts, and their seconds."""
    lines = [line.rpartition(" ") for line in metrics.splitlines()]
    found = [
        sum(float(value) for name, _, value in lines if name.startswith(f"edge_inference_seconds_{what}{{"))
        for what in ("count", "sum")
    ]
    return found[0], found[1]


def more_slices(folder: Path, study: str) -> list[Path]:
    """Write the series of 72 slices, noise that cannot be compressed."""
    noise = np.random.default_rng(72).integers(0, 4096, (MORE_SLICES, MORE_SIDE, MORE_SIDE), np.uint16)
    series, paths = f"{study}.72", []
    for nth, pixels in enumerate(noise, 1):
        more = {"Rows": MORE_SIDE, "Columns": MORE_SIDE, "PatientID": swi_dicom.PATIENT, "Modality": "MR"}
        more |= {"InstanceNumber": str(nth), "SOPClassUID": MR_IMAGE, "PixelData": pixels.tobytes()}
        paths.append(folder / f"more-{nth}.dcm")
        paths[-1].write_bytes(dicom_files.image(study, series, f"{series}.{nth}", **more))
    return paths


@contextmanager
def _region() -> Iterator[FarRegion]:
    """Hold a region behind a tunnel without limit, the model on duty and the alarms' path up."""
    with tunnel(up=TRAVEL, down=TRAVEL) as link, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.make(folder / "models")
        region = FarRegion(folder, (CLINIC,), link=link)
        region.prepare()
        try:
            region.start()
            to = f"baoshan-clinic/{CLINIC.node}"
            region.run("cloud_hub", "release", "models/cmb.bundle", "--config", "hub.toml", "--to", to)
            until(lambda: "edge_inference_serving{" in _metrics(region), 180, "the bundle is on duty")
            until(lambda: path_is_up(region), 30, "the alarms' datagram path is up")
            yield region
        except BaseException:
            print(region.logs())
            raise
        finally:
            region.stop()


def _metrics(region: FarRegion) -> str:
    return httpx.get(f"{region.page_url()}/metrics", timeout=5).text


def measure() -> Figures:
    """Run it once."""
    study = swi_dicom.STUDY
    with _region() as region:
        files = [*swi_dicom.written(region.folder / "head", study=study), *more_slices(region.folder, study)]
        size_bytes = sum(path.stat().st_size for path in files)
        region.link.set("up", replace(TRAVEL, rate=constant(RATE_BPS)))
        watch, is_over = Watch(region, len(files)), threading.Event()
        thread = threading.Thread(target=watch.run, args=(is_over,), name="watch")
        source = AlarmSource(
            lambda: region.dial("edge", region.ports[f"{CLINIC.node}.hl7"]), Speaker(CLINIC.eui64("B01"))
        )
        with region.screen("physician") as live, hearing(live) as heard:
            with raising(source, ALARMS_MOST), _ended(is_over, thread):
                thread.start()
                store = [program("storescu"), "-aec", "YUANZHEN", "127.0.0.1", str(PORT), *map(str, files)]
                subprocess.run(region.link.command("edge", store), check=True, capture_output=True, timeout=120)
                watch.times.stored = time.monotonic()
                until(lambda: not thread.is_alive(), LIMIT_S, f"all at the hub: {watch.times}")
            with suppress(AssertionError):
                until(lambda: heard.count() >= source.sent, 10, "the last alarms")
            rows, sent = stored_steps(region.folder / "hub" / "care.db"), source.sent
            delays = sorted(heard.at_ns[key] / 1e6 - row.at_ms for key, row in rows.items() if key in heard.at_ns)
    times = watch.times
    return Figures(
        images=len(files),
        megabytes=round(size_bytes / 1e6, 1),
        key_image_after_last_store_s=round(times.key_image - times.stored, 2),
        inference_s=round(watch.inference_s, 2),
        report_after_inference_s=round(times.report - times.inferred, 2),
        whole_after_last_store_s=round(times.whole - times.stored, 1),
        alarms=sent,
        alarms_missing=max(0, sent - len(delays)),
        alarm_p50_ms=round(at(delays, 0.5), 1),
        alarm_p99_ms=round(at(delays, 0.99), 1),
    )


@contextmanager
def _ended(is_over: threading.Event, thread: threading.Thread) -> Iterator[None]:
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def main() -> None:
    """Run it and write study.json and study.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true", help="write no files")
    chosen = parser.parse_args()
    figures = measure()
    text = table(figures)
    print(text)
    if chosen.dry:
        return
    facts = {**circumstances(), "command": " ".join(("python -m bench.study", *sys.argv[1:]))}
    (HERE / "study.json").write_text(json.dumps({**facts, **asdict(figures)}, indent=1) + "\n")
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    (HERE / "study.md").write_text(f"# A study over 1 Mbit/s\n\n{heading}\n\n{text}\n")


def table(figures: Figures) -> str:
    """Return the figures as a table."""
    rows: list[tuple[str, str, str]] = [
        ("key image at the hub after the last C-STORE", f"{figures.key_image_after_last_store_s:g} s", "5 s"),
        ("runs of the model together", f"{figures.inference_s:g} s", "reported"),
        ("report at the hub after the last run", f"{figures.report_after_inference_s:g} s", "5 s"),
        ("everything at the hub after the last C-STORE", f"{figures.whole_after_last_store_s:g} s", ""),
        (f"{figures.alarms} alarms meanwhile, 50 %", f"{figures.alarm_p50_ms:g} ms", ""),
        ("99 %", f"{figures.alarm_p99_ms:g} ms", "300 ms"),
        ("alarms not told", str(figures.alarms_missing), "0"),
    ]
    lines = "\n".join(f"| {what} | {seen} | {bar} |" for what, seen, bar in rows)
    return f"""{figures.images} images ({figures.megabytes:g} MB) in one study sent by storescu: magnitude and phase of
a made-up head, which the model of microbleeds reads, and {MORE_SLICES} slices of {MORE_SIDE} x {MORE_SIDE} more. Uplink
of {RATE_BPS / 1e6:g} Mbit/s, 30 ms each way.

| what | seen | bar |
| --- | --- | --- |
{lines}
"""


if __name__ == "__main__":
    main()
