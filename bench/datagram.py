"""`python -m bench.datagram`: DTLS against QUIC datagrams for the alarms' second path; writes datagram.json and .md.

Hub, nodes and the forwarder that loses datagrams are three processes on one machine.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.__main__ import circumstances
from tests.fakes.lossy import Lossy
from tests.fakes.ports import free_port

HERE = Path(__file__).resolve().parent
CANDIDATES = ("dtls", "quic")
LOSSES = (0.0, 0.2, 0.5)
PACKET_HEAD_BYTES = 28
SESSIONS = 5
SPACING_S = 0.25
BUSY_SPACING_S = 0.01
BUSY_ALARMS = 1000
COLD_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class Delays:
    """Delays of one measurement, in milliseconds."""

    count: int
    missing: int
    """How many never came."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    longest_ms: float


@dataclass(frozen=True, slots=True)
class Warm:
    """Alarms over sessions that are up."""

    candidate: str
    loss_pct: int
    to_hub: Delays
    receipted: Delays
    packets_up_per_alarm: float
    wire_bytes_per_alarm: float
    """Both ways, with IPv4 and UDP heads, heartbeats included."""
    hub_us_per_alarm: float
    node_us_per_alarm: float


@dataclass(frozen=True, slots=True)
class Cold:
    """From nothing to the receipt of the first alarm."""

    candidate: str
    loss_pct: int
    receipted: Delays
    handshake_bytes: float
    """On the wire, both ways, first alarm and its receipt included."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What an interruption does to alarms each 50 ms."""

    candidate: str
    rebind_longest_ms: float
    """Longest delay to the hub after all clients got other source ports."""
    restart_again_ms: float
    """From the new hub process being ready to the first alarm at it; median of the sessions."""
    restart_longest_ms: float


def delays(values_s: list[float], missing: int) -> Delays:
    """Return the figures of some delays."""
    if not values_s:
        return Delays(0, missing, *[float("nan")] * 4)
    ordered = sorted(1000 * value for value in values_s)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    return Delays(len(ordered), missing, at(0.5), at(0.9), at(0.99), round(ordered[-1], 1))


class Sides:
    """The processes of one measurement."""

    def __init__(self, candidate: str, folder: Path) -> None:
        self._candidate, self._folder = candidate, folder
        self.port = 0
        self._hub: asyncio.subprocess.Process | None = None

    async def start_hub(self) -> None:
        """Start the hub; again on the same port if it was started before."""
        self.port = self.port or free_port()
        self._hub = await _side("hub", self._candidate, str(self.port), str(self._folder), feeds=True)
        await _line(self._hub)

    def kill_hub(self) -> None:
        """End the hub as a power cut would."""
        assert self._hub is not None
        self._hub.kill()

    async def end_hub(self) -> dict[str, Any]:
        """End the hub and return what it saw."""
        assert self._hub is not None
        assert self._hub.stdin is not None
        self._hub.stdin.close()
        found = json.loads(await _line(self._hub))
        await self._hub.wait()
        return dict(found)

    async def start_nodes(
        self, port: int, sessions: int, alarms: int, spacing_s: float, *, is_cold: bool
    ) -> asyncio.subprocess.Process:
        """Start the nodes; returns when their sessions are up, or at once for a cold start."""
        words = [str(sessions), str(alarms), str(spacing_s), "cold" if is_cold else "warm"]
        nodes = await _side("nodes", self._candidate, str(port), *words)
        await _line(nodes)
        return nodes


async def warm(candidate: str, loss: float, alarms: int, spacing_s: float = SPACING_S) -> Warm:
    """Measure alarms over sessions that are up; `spacing_s` is that of one session."""
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(candidate, Path(folder))
        await sides.start_hub()
        lossy = Lossy(("127.0.0.1", sides.port))
        await lossy.open()
        nodes = await sides.start_nodes(lossy.port, SESSIONS, alarms, spacing_s, is_cold=False)
        lossy.loss = loss
        before = (lossy.up_bytes + lossy.down_bytes, lossy.up_packets, lossy.down_packets)
        told = json.loads(await _line(nodes))
        after = (lossy.up_bytes + lossy.down_bytes, lossy.up_packets, lossy.down_packets)
        lossy.close()
        await nodes.wait()
        hub = await sides.end_hub()
    to_hub, receipted, missing, unreceipted = _matched(told, hub)
    total = SESSIONS * alarms
    packets = after[1] + after[2] - before[1] - before[2]
    return Warm(
        candidate,
        round(100 * loss),
        delays(to_hub, missing),
        delays(receipted, unreceipted),
        round((after[1] - before[1]) / total, 2),
        round((after[0] - before[0] + PACKET_HEAD_BYTES * packets) / total),
        round(1e6 * hub["cpu_s"] / total),
        round(1e6 * told["cpu_s"] / total),
    )


async def cold(candidate: str, loss: float, rounds: int) -> Cold:
    """Measure from nothing to the first alarm's receipt."""
    receipted: list[float] = []
    missing = wire_bytes = 0
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            sides = Sides(candidate, Path(folder))
            await sides.start_hub()
            lossy = Lossy(("127.0.0.1", sides.port), loss)
            for _ in range(number * 1000):
                lossy.draw()
            await lossy.open()
            nodes = await sides.start_nodes(lossy.port, COLD_SESSIONS, 1, 0, is_cold=True)
            told = json.loads(await _line(nodes))
            wire_bytes += lossy.up_bytes + lossy.down_bytes
            wire_bytes += PACKET_HEAD_BYTES * (lossy.up_packets + lossy.down_packets)
            lossy.close()
            await nodes.wait()
            await sides.end_hub()
        for node in told["nodes"].values():
            if "1" in node["receipted_s"]:
                receipted.append(node["receipted_s"]["1"] - node["sent_s"]["1"])
            else:
                missing += 1
    return Cold(
        candidate,
        round(100 * loss),
        delays(receipted, missing),
        round(wire_bytes / (rounds * COLD_SESSIONS)),
    )


async def broken(candidate: str) -> Broken:
    """Measure what a translator that forgets and a hub that is started again do."""
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(candidate, Path(folder))
        await sides.start_hub()
        lossy = Lossy(("127.0.0.1", sides.port))
        await lossy.open()
        nodes = await sides.start_nodes(lossy.port, SESSIONS, 60, 0.05, is_cold=False)
        await asyncio.sleep(1)
        lossy.rebind()
        told = json.loads(await _line(nodes))
        await nodes.wait()
        to_hub, _, missing, _ = _matched(told, await sides.end_hub())
        rebind_longest_ms = float("inf") if missing else round(1000 * max(to_hub), 1)

        await sides.start_hub()
        nodes = await sides.start_nodes(lossy.port, SESSIONS, 240, 0.05, is_cold=False)
        await asyncio.sleep(1)
        sides.kill_hub()
        await sides.start_hub()
        ready_s = time.monotonic()
        told = json.loads(await _line(nodes))
        await nodes.wait()
        hub = await sides.end_hub()
        lossy.close()
    again_ms = [1000 * (min(seen.values()) - ready_s) for seen in hub["arrived_s"].values()]
    again_ms += [float("inf")] * (SESSIONS - len(again_ms))
    return Broken(candidate, rebind_longest_ms, round(statistics.median(again_ms), 1), round(max(again_ms), 1))


def _matched(told: dict[str, Any], hub: dict[str, Any]) -> tuple[list[float], list[float], int, int]:
    to_hub: list[float] = []
    receipted: list[float] = []
    missing = unreceipted = 0
    for name, node in told["nodes"].items():
        arrived = hub["arrived_s"].get(name, {})
        for seq, sent_s in node["sent_s"].items():
            if seq in arrived:
                to_hub.append(arrived[seq] - sent_s)
            else:
                missing += 1
            if seq in node["receipted_s"]:
                receipted.append(node["receipted_s"][seq] - sent_s)
            else:
                unreceipted += 1
    return to_hub, receipted, missing, unreceipted


async def _side(*words: str, feeds: bool = False) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.datagram_sides",
        *words,
        stdin=asyncio.subprocess.PIPE if feeds else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
        cwd=HERE.parent,
    )


async def _line(process: asyncio.subprocess.Process) -> str:
    """Return the next line of a side that is none of its log."""
    assert process.stdout is not None
    while True:
        line = (await process.stdout.readline()).decode()
        if not line:
            raise RuntimeError("a side of the bench ended early")
        if line.startswith(("{", "ready", "up")):
            return line


def table(rows: list[Warm]) -> str:
    """Return the warm figures as a table."""
    heads = (
        "| candidate | lost | alarms | to hub p50 / p90 / p99 / longest ms | receipted p50 / p99 / longest ms |"
        " missing | datagrams up an alarm | bytes on the wire an alarm | hub us | node us |"
    )
    lines = [
        heads,
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        hub, back = row.to_hub, row.receipted
        lines.append(
            f"| {row.candidate} | {row.loss_pct} % | {hub.count} | {hub.p50_ms} / {hub.p90_ms} / {hub.p99_ms} /"
            f" {hub.longest_ms} | {back.p50_ms} / {back.p99_ms} / {back.longest_ms} | {hub.missing} |"
            f" {row.packets_up_per_alarm} | {row.wire_bytes_per_alarm} | {row.hub_us_per_alarm} |"
            f" {row.node_us_per_alarm} |"
        )
    return "\n".join(lines)


def cold_table(rows: list[Cold]) -> str:
    """Return the cold starts as a table."""
    heads = (
        "| candidate | lost | starts | first alarm receipted p50 / p90 / p99 / longest ms | not within 60 s |"
        " bytes on the wire |"
    )
    lines = [
        heads,
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        back = row.receipted
        lines.append(
            f"| {row.candidate} | {row.loss_pct} % | {back.count + back.missing} | {back.p50_ms} / {back.p90_ms} /"
            f" {back.p99_ms} / {back.longest_ms} | {back.missing} | {row.handshake_bytes} |"
        )
    return "\n".join(lines)


def broken_table(rows: list[Broken]) -> str:
    """Return the interruptions as a table."""
    lines = [
        "| candidate | longest delay after a rebinding ms | first alarm after the hub is back, median / longest ms |",
        "|---|---|---|",
    ]
    lines += [
        f"| {row.candidate} | {row.rebind_longest_ms} | {row.restart_again_ms} / {row.restart_longest_ms} |"
        for row in rows
    ]
    return "\n".join(lines)


async def measure(alarms: int, rounds: int) -> tuple[list[Warm], list[Warm], list[Cold], list[Broken]]:
    """Take all measurements, each candidate in turn."""
    busy = [await warm(candidate, 0.0, BUSY_ALARMS, BUSY_SPACING_S) for candidate in CANDIDATES]
    print(table(busy), flush=True)
    warms = [await warm(candidate, loss, alarms) for loss in LOSSES for candidate in CANDIDATES]
    print(table(warms), flush=True)
    colds = [await cold(candidate, loss, rounds) for loss in LOSSES for candidate in CANDIDATES]
    print(cold_table(colds), flush=True)
    return warms, busy, colds, [await broken(candidate) for candidate in CANDIDATES]


def main() -> None:
    """Run all measurements and write datagram.json and datagram.md."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--alarms", type=int, default=120, help=f"alarms a session; there are {SESSIONS} sessions")
    arguments.add_argument("--rounds", type=int, default=5, help=f"rounds of {COLD_SESSIONS} cold starts")
    chosen = arguments.parse_args()
    warms, busy, colds, broke = asyncio.run(measure(chosen.alarms, chosen.rounds))
    facts = {**circumstances(), "command": "python -m bench.datagram"}
    figures = {"warm": warms, "busy": busy, "cold": colds, "broken": broke}
    rows = {name: [asdict(row) for row in found] for name, found in figures.items()}  # type: ignore[attr-defined]
    (HERE / "datagram.json").write_text(json.dumps({**facts, **rows}, indent=1) + "\n")
    heading = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    text = f"""# The alarms' datagram path: DTLS or QUIC

{heading}

DTLS 1.2 is pyOpenSSL as the product uses it; QUIC is aioquic's datagrams (RFC 9221) with the same repeats (at once,
then every 50 ms or 1.25 round trips until the receipt). Loss is drawn for each datagram, each way; the hub commits in
5 ms. "hub us" and "node us" are processor time an alarm. Ratios are worth more than absolute times: hub, nodes and the
forwarder share this machine.

## Sessions up: {SESSIONS} sessions, an alarm of 300 B each 250 ms on each

{table(warms)}

## The same, an alarm each {1000 * BUSY_SPACING_S:g} ms on each session: what an alarm costs where much is going on

{table(busy)}

## Cold start: from nothing to the receipt of the first alarm

{cold_table(colds)}

## Interruptions, an alarm each 50 ms on each of {SESSIONS} sessions, no loss

{broken_table(broke)}
"""
    (HERE / "datagram.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
