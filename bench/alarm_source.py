"""Alarms through the product's own door: a monitor whose every message is one step of an alarm (bench/ruleset.toml).

Its one value goes to and fro over a limit without delays, about four times a second, so that node, ward and store do
for each alarm what they do for any other.
"""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_node.devices.simulated.messages import Number, Report, Speaker, compose

RULESET = Path(__file__).with_name("ruleset.toml")
EVERY_S, JITTER_S = 0.25, 0.05
OVER, INSIDE = "39.1", "37.0"
ANSWER_LIMIT_S = 20.0


@dataclass(slots=True)
class AlarmSource:
    """A monitor beside the edge; each message is acknowledged before the next."""

    dial: Callable[[], socket.socket]
    speaker: Speaker
    sent: int = 0
    slowest_answer_s: float = 0.0
    _draw: random.Random = field(default_factory=lambda: random.Random(7))

    def run(self, stop: threading.Event, most: int) -> None:
        """Send so many messages, or until stopped."""
        with self.dial() as line:
            line.settimeout(ANSWER_LIMIT_S)
            next_s = time.monotonic()
            while self.sent < most:
                next_s += EVERY_S + self._draw.uniform(-JITTER_S, JITTER_S)
                if stop.wait(max(0.0, next_s - time.monotonic())):
                    return
                began_s = time.monotonic()
                self.sent += 1
                line.sendall(self._message())
                answer = line.recv(4096)
                assert b"MSA|AA" in answer, answer
                self.slowest_answer_s = max(self.slowest_answer_s, time.monotonic() - began_s)

    def _message(self) -> bytes:
        now_ns = time.time_ns()
        value = OVER if self.sent % 2 else INSIDE
        report = Report(f"A{now_ns}", now_ns, now_ns, now_ns, [Number("temp", value)])
        return b"\x0b" + compose(self.speaker, report) + b"\x1c\r"


@contextmanager
def raising(source: AlarmSource, most: int) -> Iterator[threading.Thread]:
    """Let a source send meanwhile; the thread ends when all is sent."""
    stop = threading.Event()
    thread = threading.Thread(target=source.run, args=(stop, most), name="alarm-source")
    thread.start()
    try:
        yield thread
    finally:
        stop.set()
        thread.join(ANSWER_LIMIT_S + 5)
