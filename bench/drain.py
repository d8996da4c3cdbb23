"""An outage's worth of measurements, written by the product's own path and drained while the live ones go on.

`python -m bench.drain` (Linux, root): the link is cut, eight monitors speak as fast as the node takes it until so many
hours are in its buffer, and the link comes back.  From then on everything runs `--times` as fast as in life: the link
has so many Mbit/s, and a monitor says so many messages a second.  `--times 1` is life itself.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import psutil

from bench.__main__ import circumstances
from bench.alarm_trial import at
from bench.drain_watch import MOMENT_S, PROGRESS_S, Disk, Moment, Screen, Watch, say
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
WRITING_LINES = 3
"""Connections of each monitor while it writes: one alone would wait for each commit."""
STEPS = 600
"""Different seconds of a patient; then they come again, long after the container in which they could be packed away."""
BUFFER_LIMIT_MIB = 8192
"""Three days of eight patients are more than a node keeps by default."""
ANSWER_LIMIT_S = 120.0
"""A run of an hour on a machine that others use meets a disk that stands still for long."""
ROWS_SHOWN = 30
"""Points of the time line in the table; the JSON file has all."""


class RoomyRegion(FarRegion):
    """A far region whose node has room for three days."""

    def _edge_config(self, clinic: Clinic) -> str:
        config = super()._edge_config(clinic)
        return config.replace("[buffer]\n", f"[buffer]\nlimit_mib = {BUFFER_LIMIT_MIB}\n", 1)


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
    patient_seconds_a_second: float
    bytes_a_patient_second: float
    """On the wire, packets and all; what was spoken meanwhile counts as patient-seconds too."""
    link_share: float
    live_p50_s: float
    live_p99_s: float
    live_worst_s: float
    """Age of the newest values on the screen, all beds, looked at five times a second from then on."""
    edge_cpu_us: float
    """Processor time a patient-second, while it drained."""
    broker_cpu_us: float
    hub_cpu_us: float
    timeline: tuple[Moment, ...] = ()


@cache
def seconds_of(bed: str) -> list[tuple[list[Number], list[Channel]]]:
    """Return what a patient's monitor measures."""
    patient = Patient(PROFILES["stable"], build(1), CLINIC.beds.index(bed))
    return [patient.step(1.0, time.time_ns()) for _ in range(STEPS)]


@dataclass(slots=True)
class Monitor:
    """One line of a monitor; each message is acknowledged before the next."""

    region: FarRegion
    bed: str
    every_s: float
    first_step: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        # Made before they are wanted: it takes seconds, and a monitor speaks at once.
        seconds_of(self.bed)

    def run(self, stop: threading.Event, most: int | None = None) -> None:
        """Send so many messages, or until stopped."""
        speaker, seconds = Speaker(CLINIC.eui64(self.bed)), seconds_of(self.bed)
        with self.region.dial("edge", self.region.ports[f"{CLINIC.node}.hl7"]) as line:
            line.settimeout(ANSWER_LIMIT_S)
            next_s = time.monotonic()
            while not stop.is_set() and (most is None or self.sent < most):
                next_s += self.every_s
                time.sleep(max(0.0, next_s - time.monotonic()))
                now_ns = time.time_ns()
                numbers, channels = seconds[(self.first_step + self.sent) % STEPS]
                current = [number for number in numbers if not number.at_ns]
                name = f"{self.bed}.{self.first_step}-{now_ns}"
                report = Report(name, now_ns, now_ns - 1_000_000_000, now_ns, current, channels)
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


def write(region: FarRegion, most: int) -> list[Monitor]:
    """Let every monitor say so many messages, as fast as the node takes them."""
    apart = STEPS // WRITING_LINES
    writers = [Monitor(region, bed, 0, line * apart) for bed in BEDS for line in range(WRITING_LINES)]
    began_s = time.monotonic()
    with speaking(writers, most // WRITING_LINES) as threads:
        while alive := [thread for thread in threads if thread.is_alive()]:
            until_s = time.monotonic() + PROGRESS_S
            for thread in alive:
                thread.join(max(0.0, until_s - time.monotonic()))
            sent, for_s = sum(each.sent for each in writers), time.monotonic() - began_s
            say(f"writing: {sent} of {most * len(BEDS)} messages, {sent / len(BEDS) / for_s:.0f} times as in life")
    assert sent == most * len(BEDS), "a monitor was not answered"
    return writers


@dataclass(frozen=True, slots=True)
class Written:
    """What the outage left."""

    messages: int
    for_s: float
    buffer_bytes: int


@dataclass(frozen=True, slots=True)
class Drained:
    """How it went away."""

    live_again_s: float
    for_s: float
    spoken: int
    """Messages that the monitors said meanwhile."""
    used_bits: int
    cpu_s: Sequence[float]
    """Of edge, broker and hub."""


def measure(hours: float, times: float = 1, where: Path | None = None) -> Outcome:
    """Run the outage and the drain once, the drain so many times as fast as in life; the stores lie in `where`."""
    up = replace(TRAVEL, rate=constant(LINK_BPS * times), queue_bytes=round(QUEUE_BYTES * times))
    most = round(hours * 3600 / WRITING_LINES) * WRITING_LINES
    with ExitStack() as held:
        link = held.enter_context(tunnel(up=up, down=TRAVEL))
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(dir=where)))
        region = held.enter_context(running(RoomyRegion(folder, (CLINIC,), link=link)))
        link.cut()
        for bed in BEDS:
            seconds_of(bed)
        began_s = time.monotonic()
        messages = sum(each.sent for each in write(region, most))
        written_s = time.monotonic() - began_s
        buffer_bytes = sum(path.stat().st_size for path in (folder / f"{CLINIC.node}-buffer").glob("*.db*"))
        # Opened only now: nobody stays signed in before a screen for as long as the writing may take.
        live = held.enter_context(region.screen("physician"))
        screen = Screen()
        listener = threading.Thread(target=screen.listen, args=(live,), name="screen")
        listener.start()
        held.callback(listener.join, 10)
        held.callback(live.close)
        disk = Disk()
        held.enter_context(disk.watched(folder))
        watch = Watch(folder / "hub" / "samples.db", screen, disk, 2 * len(BEDS), most, LINK_BPS * times)
        drained = drain(region, watch, times)
    return outcome_of(hours, times, Written(messages, written_s, buffer_bytes), drained, watch)


def drain(region: FarRegion, watch: Watch, times: float) -> Drained:
    """Give the link back and let the monitors speak until the hub has all that was written during the outage."""
    speakers = [Monitor(region, bed, 1 / times) for bed in BEDS]
    with speaking(speakers):
        cpu_s = _cpu_s(region)
        healed_ms = time.time() * 1000
        region.link.heal()
        watch.begin(lambda: region.link.report().up.wire_bytes)
        until(lambda: watch.screen.is_live(len(BEDS), healed_ms), 90, "live values of every bed")
        live_again_s = watch.for_s
        # Longer means that not even real time was kept up with.
        until(watch.is_drained, max(60.0, watch.most / times), "the backlog is drained")
        spent_s = [after - before for before, after in zip(cpu_s, _cpu_s(region), strict=True)]
        spoken = sum(each.sent for each in speakers)
        return Drained(live_again_s, watch.for_s, spoken, watch.used_bytes * 8, spent_s)


def _cpu_s(region: FarRegion) -> list[float]:
    """Processor time that edge, broker and hub have had so far."""
    times = [psutil.Process(region.processes[name].popen.pid).cpu_times() for name in (CLINIC.node, "broker", "hub")]
    return [float(each.user + each.system) for each in times]


def outcome_of(hours: float, times: float, written: Written, drained: Drained, watch: Watch) -> Outcome:
    """Reckon what is asked from what was seen."""
    ages_s = sorted(watch.screen.ages_s)
    carried = written.messages + drained.spoken
    edge_us, broker_us, hub_us = (round(cpu_s / carried * 1e6, 1) for cpu_s in drained.cpu_s)
    return Outcome(
        hours=hours,
        patients=len(BEDS),
        times=times,
        messages=written.messages,
        buffer_mib=round(written.buffer_bytes / 2**20, 1),
        written_s=round(written.for_s, 1),
        written_times=round(hours * 3600 / written.for_s, 1),
        live_again_s=round(drained.live_again_s, 1),
        drained_s=round(drained.for_s, 1),
        times_real_time=round(hours * 3600 / drained.for_s / times, 2),
        patient_seconds_a_second=round(written.messages / drained.for_s, 1),
        bytes_a_patient_second=round(drained.used_bits / 8 / carried, 1),
        link_share=round(drained.used_bits / (LINK_BPS * times * drained.for_s), 3),
        live_p50_s=round(at(ages_s, 0.5), 2),
        live_p99_s=round(at(ages_s, 0.99), 2),
        live_worst_s=round(ages_s[-1], 2),
        edge_cpu_us=edge_us,
        broker_cpu_us=broker_us,
        hub_cpu_us=hub_us,
        timeline=tuple(watch.timeline),
    )


def table(row: Outcome) -> str:
    """Return the outcome as a Markdown table, without its time line."""
    lines = ["| what | value |", "| --- | --- |"]
    found = {name: value for name, value in asdict(row).items() if name != "timeline"}
    return "\n".join(lines + [f"| {name.replace('_', ' ')} | {value} |" for name, value in found.items()])


def timeline_table(moments: Sequence[Moment]) -> str:
    """Return some points of the time line as a Markdown table; the oldest live values of those left out are kept."""
    heads = ("at s", "waiting records", "oldest live values s", "link share", "slowest sync s")
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    step = max(1, -(-len(moments) // ROWS_SHOWN))
    for first in range(0, len(moments), step):
        part = moments[first : first + step]
        worst_s, share = max(each.live_worst_s for each in part), sum(each.link_share for each in part) / len(part)
        sync_s = max(each.slowest_sync_s for each in part)
        lines.append(f"| {part[-1].at_s} | {part[-1].waiting_records} | {worst_s} | {share:.2f} | {sync_s} |")
    return "\n".join(lines)


def main() -> None:
    """Run it and write drain.json and drain.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=72)
    parser.add_argument("--times", type=float, default=10, help="how much faster than in life the drained part runs")
    parser.add_argument("--folder", type=Path, help="where the stores lie, if not where temporary files do")
    parser.add_argument("--dry", action="store_true", help="write no files")
    asked = parser.parse_args()
    outcome = measure(asked.hours, asked.times, asked.folder)
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
drains.  Records are stamped when they are written.  The store's limit is {BUFFER_LIMIT_MIB} MiB.  Ages are those of the
values on the physician's screen, from the moment on when every bed shows live values again, until all is drained.
Node, hub, and bench share one disk; a page of a file of its own is written and synced on it five times a second, and
the slowest of these is told beside them.

Bars: live values under 2 s old all the while, the backlog at twice real time or better.

{table(outcome)}

The drain as it went; every {MOMENT_S:g} s in drain.json.

{timeline_table(outcome.timeline)}
""")


if __name__ == "__main__":
    main()
