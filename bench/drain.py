"""An outage's worth of measurements, written by the product's own path and drained while the live ones go on.

`python -m bench.drain` (Linux, root): the link is cut, eight monitors speak as fast as the node takes it until so many
hours are in its buffer, and the link comes back with 1 Mbit/s.  From then on the monitors speak as in life, a message a
second.  `--times` makes the second part so many times as fast, link and monitors alike.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from bench.__main__ import circumstances
from bench.alarm_trial import at
from bench.far import FarRegion
from edge_node.devices.simulated.messages import Number, Report, Speaker, compose
from edge_node.devices.simulated.patient import Patient
from edge_node.devices.simulated.profiles import PROFILES
from edge_node.devices.simulated.templates import build
from edge_node.samples.measurement import Channel
from tests.faults.relay.settings import Settings
from tests.faults.relay.traces import constant
from tests.faults.relay.tunnel import tunnel
from tests.region.region import Clinic, running, until

HERE = Path(__file__).resolve().parent
BEDS = tuple(f"B{number:02d}" for number in range(1, 9))
CLINIC = Clinic(beds=BEDS)
LINK_BPS, QUEUE_BYTES = 1_000_000, 48_000
TRAVEL = Settings(delay_s=0.03)
STEPS = 60
"""Different seconds of a patient; then they come again."""
ANSWER_LIMIT_S = 30.0
LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave; seconds of the clock, which runs as in life."""

    hours: float
    patients: int
    times: float
    """How much faster than in life the drained part ran."""
    messages: int
    buffer_mib: float
    written_s: float
    written_times: float
    """How much faster than in life it was written."""
    live_again_s: float
    """From the moment the link is there until the screen shows live values of every bed."""
    drained_s: float
    times_real_time: float
    """Seconds of the outage drained in a second from the moment the link is there, by `times`; the bar is 2."""
    link_share: float
    live_p50_s: float
    live_p99_s: float
    live_worst_s: float
    """Age of the newest values on the screen, all beds, looked at five times a second from then on."""


@dataclass(slots=True)
class Monitor:
    """One monitor; each message is acknowledged before the next."""

    region: FarRegion
    bed: str
    every_s: float
    sent: int = 0
    _seconds: list[tuple[list[Number], list[Channel]]] = field(init=False)

    def __post_init__(self) -> None:
        # Made before it is wanted: it takes seconds, and a monitor speaks at once.
        patient = Patient(PROFILES["stable"], build(1), CLINIC.beds.index(self.bed))
        self._seconds = [patient.step(1.0, time.time_ns()) for _ in range(STEPS)]

    def run(self, stop: threading.Event, most: int | None = None) -> None:
        """Send so many messages, or until stopped."""
        speaker = Speaker(CLINIC.eui64(self.bed))
        with self.region.dial("edge", self.region.ports[f"{CLINIC.node}.hl7"]) as line:
            line.settimeout(ANSWER_LIMIT_S)
            next_s = time.monotonic()
            while not stop.is_set() and (most is None or self.sent < most):
                next_s += self.every_s
                time.sleep(max(0.0, next_s - time.monotonic()))
                now_ns = time.time_ns()
                numbers, channels = self._seconds[self.sent % STEPS]
                current = [number for number in numbers if not number.at_ns]
                report = Report(f"{self.bed}-{now_ns}", now_ns, now_ns - 1_000_000_000, now_ns, current, channels)
                line.sendall(b"\x0b" + compose(speaker, report) + b"\x1c\r")
                answer = line.recv(4096)
                assert b"MSA|AA" in answer, answer
                self.sent += 1


@contextmanager
def speaking(monitors: Sequence[Monitor], most: int | None = None) -> Iterator[list[threading.Thread]]:
    """Let monitors speak meanwhile, each in a thread."""
    stop = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stop, most), name=each.bed) for each in monitors]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        stop.set()
        for thread in threads:
            thread.join(ANSWER_LIMIT_S + 5)


@dataclass(slots=True)
class Screen:
    """What the physician's screen knows of each bed."""

    newest_ms: dict[str, float] = field(default_factory=dict)
    """Bed -> when its newest values were measured, wall clock."""
    ages_s: list[float] = field(default_factory=list)

    def listen(self, live: ClientConnection) -> None:
        """Take in what comes until the socket is closed."""
        with suppress(ConnectionClosed):
            for text in live:
                message = json.loads(text)
                if message["type"] == "readings" and message["readings"]:
                    newest_ms = max(reading["measured_at_ms"] for reading in message["readings"])
                    bed = message["bed_key"]
                    self.newest_ms[bed] = max(newest_ms, self.newest_ms.get(bed, 0.0))

    def is_live(self, since_ms: float) -> bool:
        """Whether every bed shows values measured since then."""
        return len(self.newest_ms) == len(BEDS) and min(self.newest_ms.values()) > since_ms

    def look(self) -> None:
        """Note how old the values of each bed are; the second that they are of is taken off."""
        now_s = time.time()
        self.ages_s += [now_s - newest_ms / 1000 - 1 for newest_ms in list(self.newest_ms.values())]


def measure(hours: float, times: float = 1) -> Outcome:
    """Run the outage and the drain once, the drain so many times as fast as in life."""
    up = replace(TRAVEL, rate=constant(LINK_BPS * times), queue_bytes=round(QUEUE_BYTES * times))
    with ExitStack() as held:
        link = held.enter_context(tunnel(up=up, down=TRAVEL))
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        region = held.enter_context(running(FarRegion(folder, (CLINIC,), link=link)))
        live = held.enter_context(region.screen("physician"))
        screen = Screen()
        listener = threading.Thread(target=screen.listen, args=(live,), name="screen")
        listener.start()
        held.callback(listener.join, 10)
        held.callback(live.close)
        link.cut()
        writers = [Monitor(region, bed, 0) for bed in BEDS]
        speakers = [Monitor(region, bed, 1 / times) for bed in BEDS]
        most, began_s = round(hours * 3600), time.monotonic()
        with speaking(writers, most) as threads:
            for thread in threads:
                thread.join()
        written_s = time.monotonic() - began_s
        buffer_bytes = sum(path.stat().st_size for path in (folder / f"{CLINIC.node}-buffer").glob("*.db*"))
        with speaking(speakers):
            link.heal()
            began_s, healed_ms, before = time.monotonic(), time.time() * 1000, link.report()
            until(lambda: screen.is_live(healed_ms), 90, "live values of every bed")
            live_again_s = time.monotonic() - began_s
            _drain(region, screen, most, times)
            drained_s, after = time.monotonic() - began_s, link.report()
    used_bits = (after.up.wire_bytes - before.up.wire_bytes) * 8
    ages_s = sorted(screen.ages_s)
    return Outcome(
        hours=hours,
        patients=len(BEDS),
        times=times,
        messages=sum(each.sent for each in writers),
        buffer_mib=round(buffer_bytes / 2**20, 1),
        written_s=round(written_s, 1),
        written_times=round(most / written_s, 1),
        live_again_s=round(live_again_s, 1),
        drained_s=round(drained_s, 1),
        times_real_time=round(hours * 3600 / drained_s / times, 2),
        link_share=round(used_bits / (LINK_BPS * times * drained_s), 3),
        live_p50_s=round(at(ages_s, 0.5), 2),
        live_p99_s=round(at(ages_s, 0.99), 2),
        live_worst_s=round(ages_s[-1], 2),
    )


def _drain(region: FarRegion, screen: Screen, most: int, times: float) -> None:
    """Look at the screen until the hub has all that was written during the outage.

    Raises:
        AssertionError: not within a time in which not even real time was kept up with.
    """
    store = region.folder / "hub" / "samples.db"

    def is_drained() -> bool:
        screen.look()
        time.sleep(LOOK_S)
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as database:
            (whole,) = database.execute("SELECT count(*) FROM watermark WHERE contig >= ?", (most,)).fetchone()
        # Two streams a monitor, numbered from one when the link was cut.
        return bool(whole >= 2 * len(BEDS))

    until(is_drained, max(60.0, most / times), "the backlog is drained")


def table(row: Outcome) -> str:
    """Return the outcome as a Markdown table."""
    lines = ["| what | value |", "| --- | --- |"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in asdict(row).items()]
    return "\n".join(lines)


def main() -> None:
    """Run it and write drain.json and drain.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=72)
    parser.add_argument("--times", type=float, default=1, help="how much faster than in life the drained part runs")
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    outcome = measure(asked.hours, asked.times)
    print(table(outcome))
    if asked.dry:
        return
    facts = {**circumstances(), "command": " ".join(("python -m bench.drain", *sys.argv[1:]))}
    (HERE / "drain.json").write_text(json.dumps({**facts, **asdict(outcome)}, indent=1) + "\n")
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    (HERE / "drain.md").write_text(f"""# The backlog of an outage

{heading}

{len(BEDS)} monitors with five values and three waves, a message a second in life.  While the link is cut they speak as
fast as the node takes it, and are acknowledged after the synced commit as ever; then the link is there again at
{LINK_BPS * asked.times / 1_000_000:g} Mbit/s, and they go on {asked.times:g} times as fast as in life while the backlog
drains.  Records are stamped when they are written.  Ages are those of the values on the physician's screen, from the
moment on when every bed shows live values again, until all is drained.

Bars: live values under 2 s old all the while, the backlog at twice real time or better.

{table(outcome)}
""")


if __name__ == "__main__":
    main()
