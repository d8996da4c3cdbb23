"""How soon an alarm is on the glass, hub and bedside, after its condition delay ended: within two seconds."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from edge_node.alarms import ruleset
from edge_node.devices.simulated.messages import Number, Report, Speaker, compose
from tests.edge_node.alarms.test_ward import NS, Bedside
from tests.region.region import Clinic, Region, running, until
from tests.region.screen import Screen

CLINIC = Clinic(beds=("B01", "B02", "B03"))
CALM = {"hr": "72", "rr": "16", "spo2": "97", "nibp_sys": "120", "nibp_dia": "78", "temp": "36.8"}
GLASS_S = 2.0
CLOCK_STEP_S = 0.1
"""The test takes its time when the message has left; the node when it has arrived."""
Key = tuple[str, str, str]
"""Bed's key, condition, priority."""


@dataclass(slots=True)
class Monitor:
    """A monitor that reports once a second what its patient's signs are now."""

    region: Region
    bed: str
    signs: dict[str, str] = field(default_factory=lambda: dict(CALM))
    changed: threading.Event = field(default_factory=threading.Event)
    said_at: float = 0
    """When the first message with the changed signs left (monotonic)."""

    def run(self, stop: threading.Event) -> None:
        """Send until stopped; every message is acknowledged before the next."""
        with socket.create_connection(("127.0.0.1", self.region.ports["edge-clinic.hl7"]), 5) as line:
            number = 0
            while True:
                number += 1
                is_changed = self.changed.is_set()
                line.sendall(self._message(number, is_changed))
                if is_changed and not self.said_at:
                    self.said_at = time.monotonic()
                assert b"MSA|AA" in line.recv(4096)
                if stop.wait(1):
                    return

    def _message(self, number: int, is_changed: bool) -> bytes:
        signs = self.signs if is_changed else CALM
        now_ns = time.time_ns()
        report = Report(
            f"D{now_ns}-{number}", now_ns, now_ns, now_ns, [Number(name, value) for name, value in signs.items()]
        )
        return b"\x0b" + compose(Speaker(CLINIC.eui64(self.bed)), report) + b"\x1c\r"


@contextmanager
def listening(client: httpx.Client) -> Iterator[dict[Key, float]]:
    """Hand over when each alarm was first on a face's live socket (monotonic), filled meanwhile."""
    seen: dict[Key, float] = {}
    screen = Screen(client)

    def listen() -> None:
        with suppress(ConnectionClosed):
            for text in screen.socket:
                message = json.loads(text)
                if message["type"] == "alarm":
                    alarm = message["alarm"]
                    key = (alarm["bed_key"], alarm["condition"], alarm["priority"])
                    seen.setdefault(key, time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield seen
    finally:
        screen.socket.close()
        thread.join(5)


@contextmanager
def reporting(monitors: list[Monitor]) -> Iterator[None]:
    """Let the monitors report meanwhile."""
    stop = threading.Event()
    threads = [threading.Thread(target=monitor.run, args=(stop,)) for monitor in monitors]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_alarm_is_on_both_faces_within_two_seconds_after_its_delay(tmp_path_factory: pytest.TempPathFactory) -> None:
    delay_s = next(rule for rule in ruleset.load().rules if rule.condition == "hr-high").when.for_s
    with running(Region(tmp_path_factory.mktemp("region"), (CLINIC,))) as region:
        fast = Monitor(region, "B01", CALM | {"hr": "130"})
        still = Monitor(region, "B02", CALM | {"rr": "0"})
        ill = Monitor(region, "B03", CALM | {"hr": "131", "rr": "25", "spo2": "91"})
        expected: dict[Key, tuple[Monitor, float]] = {
            ("baoshan-clinic:B01", "hr-high", "medium"): (fast, delay_s),
            ("baoshan-clinic:B02", "apnoea", "high"): (still, 0),
            ("baoshan-clinic:B03", "news2-high", "high"): (ill, 0),
        }
        with (
            closing(region.signed_in(region.hub_url, "physician")) as physician,
            closing(region.signed_in(region.page_url(), "clinic")) as clinician,
            listening(physician) as hub,
            listening(clinician) as bedside,
            reporting([fast, still, ill]),
        ):
            time.sleep(2)  # a calm patient first: the alarm must come from the change
            assert not expected.keys() & (hub.keys() | bedside.keys())
            for monitor in (fast, still, ill):
                monitor.changed.set()
            until(lambda: expected.keys() <= hub.keys() & bedside.keys(), delay_s + 10, "all alarms on both faces")
        for face in (hub, bedside):
            for key, (monitor, wait_s) in expected.items():
                took_s = face[key] - monitor.said_at
                assert wait_s - CLOCK_STEP_S <= took_s < wait_s + GLASS_S, (key, took_s)


@pytest.mark.anyio
async def test_at_one_message_a_minute_the_second_breach_in_a_row_is_the_delay() -> None:
    bedside = Bedside()
    for value, stands in (("97", False), ("88", False), ("97", False), ("88", False), ("88", True)):
        await bedside.quiet(59)
        assert "spo2-low" not in bedside.standing()
        bedside.now_ns += NS
        await bedside.set(values={"spo2": value})
        assert ("spo2-low" in bedside.standing()) is stands
