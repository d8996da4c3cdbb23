"""Measures the tunnel itself: `python -m tests.faults.relay.measure [--mbps 10] [--seconds 5] [--delay-ms 20]`.

Datagrams of a given size go both ways at a given rate, each stamped when it was sent; senders and receivers are
processes of their own.  Printed: what arrived, by how much travel exceeded the delay that was set (the whole error,
from one application to the other), how late the relay says it was, and the share of one processor it used.
"""

import argparse
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from tests.faults.relay.pace import Timing
from tests.faults.relay.settings import Settings
from tests.faults.relay.tunnel import End, Tunnel, tunnel

PORT = 5001
HEAD_BYTES = 28
STAMP = struct.Struct("!dI")
SILENCE_S = 1.0
BURST_S = 0.001


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of a measurement."""

    sent: int
    arrived: int
    mbps: float
    excess_p50_ms: float
    excess_p99_ms: float
    excess_longest_ms: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run gave."""

    up: Flow
    down: Flow
    relay_late: Timing
    relay_processor_share: float


def measure(mbps: float, seconds: float, delay_s: float, packet_bytes: int = 1400) -> Measurement:
    """Send both ways for some seconds through a tunnel with a delay and no limit of rate."""
    settings = Settings(delay_s=delay_s)
    with tunnel(up=settings, down=settings) as link:
        relay = psutil.Process(link.pid)
        receivers = [
            _start(link, "hub", "receive", link.hub_address),
            _start(link, "edge", "receive", link.edge_address),
        ]
        for receiver in receivers:
            assert receiver.stdout is not None
            receiver.stdout.readline()
        rate = [str(mbps), str(seconds), str(packet_bytes)]
        busy_s, began_s = _busy_s(relay), time.monotonic()
        senders = [
            _start(link, "edge", "send", link.hub_address, *rate),
            _start(link, "hub", "send", link.edge_address, *rate),
        ]
        sent = [_told(sender)["sent"] for sender in senders]
        share = (_busy_s(relay) - busy_s) / (time.monotonic() - began_s)
        up, down = (
            _flow(count, _told(receiver), delay_s, packet_bytes)
            for count, receiver in zip(sent, receivers, strict=True)
        )
        return Measurement(up, down, link.report().timing, share)


def _start(link: Tunnel, end: End, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.faults.relay.measure", *words]
    return link.spawn(end, command, stdout=subprocess.PIPE, text=True)


def _told(process: "subprocess.Popen[str]") -> dict[str, Any]:
    told: dict[str, Any] = json.loads(process.communicate()[0])
    return told


def _busy_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _flow(sent: int, told: dict[str, Any], delay_s: float, packet_bytes: int) -> Flow:
    excess_ms = sorted((travel_s - delay_s) * 1000 for travel_s in told["travel_s"])
    arrived = len(excess_ms)
    quantiles = (excess_ms[arrived // 2], excess_ms[int(arrived * 0.99)], excess_ms[-1])
    return Flow(sent, arrived, arrived * packet_bytes * 8 / told["seconds"] / 1e6, *quantiles)


def send(target: str, mbps: float, seconds: float, packet_bytes: int) -> None:
    """Send stamped datagrams evenly, and print how many."""
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rest = bytes(packet_bytes - HEAD_BYTES - STAMP.size)
    gap_s = packet_bytes * 8 / (mbps * 1e6)
    began_s = time.monotonic()
    sent = 0
    while (now_s := time.monotonic()) < began_s + seconds:
        if began_s + sent * gap_s <= now_s:
            with suppress(ConnectionRefusedError):
                line.sendto(STAMP.pack(now_s, sent) + rest, (target, PORT))
            sent += 1
        else:
            time.sleep(min(gap_s, BURST_S))
    print(json.dumps({"sent": sent}))


def receive(address: str) -> None:
    """Receive until nothing comes for a second, and print how long each was on its way."""
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    line.bind((address, PORT))
    print("listening", flush=True)
    travel_s: list[float] = []
    began_s = ended_s = 0.0
    with suppress(TimeoutError):
        while True:
            content = line.recv(65_535)
            ended_s = time.monotonic()
            began_s = began_s or ended_s
            line.settimeout(SILENCE_S)
            travel_s.append(ended_s - STAMP.unpack_from(content)[0])
    print(json.dumps({"travel_s": travel_s, "seconds": ended_s - began_s}))


def main(words: Sequence[str]) -> None:
    """Run one measurement and print it, or be one of its processes."""
    if words[:1] == ["send"]:
        send(words[1], float(words[2]), float(words[3]), int(words[4]))
    elif words[:1] == ["receive"]:
        receive(words[1])
    else:
        parser = argparse.ArgumentParser(prog="python -m tests.faults.relay.measure", description=__doc__)
        parser.add_argument("--mbps", type=float, default=10, help="rate in each direction")
        parser.add_argument("--seconds", type=float, default=5)
        parser.add_argument("--delay-ms", type=float, default=20)
        parser.add_argument("--packet-bytes", type=int, default=1400, help="size of an IP packet")
        asked = parser.parse_args(words)
        found = measure(asked.mbps, asked.seconds, asked.delay_ms / 1000, asked.packet_bytes)
        print(json.dumps(asdict(found), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
