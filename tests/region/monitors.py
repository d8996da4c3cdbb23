"""Simulated monitors of a region: a process of its own that speaks HL7 over TCP, with the socket that changes signs."""

import json
import socket
import sys
from dataclasses import dataclass
from typing import Any

from tests.fakes.ports import free_port
from tests.region.region import Clinic, Region, until

START_LIMIT_S = 60
"""Drawing the waves' templates takes seconds on a busy machine."""


@dataclass(frozen=True, slots=True)
class Monitors:
    """The monitors of one clinic, one message a second each."""

    port: int

    def say(self, line: str) -> None:
        """Change a sign as a person would at the monitor: `B01 set spo2 81`."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as control:
            control.sendall(f"{line}\n".encode())
            answer = control.recv(1024).decode()
        assert answer.startswith("ok"), f"{line}: {answer}"


def start_monitors(region: Region, clinic: Clinic, beds: tuple[str, ...]) -> Monitors:
    """Start the monitors of these beds; they belong to the region and end with it."""
    port = free_port()
    ward = region.folder / f"{clinic.node}-ward.toml"
    ward.write_text(_ward(region, clinic, beds, port))
    command = [sys.executable, "-m", "edge_node.devices.simulated", "ward", "--file", str(ward)]
    region.processes[f"{clinic.node}-monitors"] = region.launch(f"{clinic.node}-monitors", command)
    monitors = Monitors(port)
    until(lambda: _answers(monitors), START_LIMIT_S, "the simulated monitors")
    return monitors


def _answers(monitors: Monitors) -> bool:
    try:
        monitors.say("beds")
    except OSError:
        return False
    return True


def _ward(region: Region, clinic: Clinic, beds: tuple[str, ...], control_port: int) -> str:
    head = f"port = {region.ports[f'{clinic.node}.hl7']}\ncontrol_port = {control_port}\n"
    return head + "".join(_monitor(clinic, bed) for bed in beds)


def _monitor(clinic: Clinic, bed: str) -> str:
    facts: dict[str, Any] = {"bed": bed, "eui64": clinic.eui64(bed), "patient_id": clinic.patient_id(bed)}
    return "[[patients]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in facts.items())
