"""Many patients as the broker sees them: a connection for each edge, and a batch a second for each patient.

A process of its own, so that its cost is not taken for the hub's.  A batch is a numeric set with eight values and a
second of three waves, a message each, sealed and numbered as an edge does it (which would put its beds together in
fewer messages); the patients' seconds are spread evenly.
`python -m bench.patients_load PORT SECRETS PATIENTS SECONDS` prints JSON: what was sent, acknowledged and late.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from telemed import wire
from telemed.topics import NodeAddress, Up

from bench.ingest import Body, make_bodies
from bench.patients_admit import admission
from bench.publisher import packets, sign_in
from tests.region.region import REGION

A_NODE = 10
"""Patients at one edge."""
STEPS = 100
"""Into how many parts a second is divided."""
FIRST_S = 10.0
"""How long the first second of all patients is drawn out."""
CONNACK = b"\x20\x02\x00\x00"


@dataclass(slots=True)
class Edge(asyncio.Protocol):
    """One edge's connection; acknowledgements are counted and otherwise passed over."""

    user: str
    secret: str
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    line: asyncio.Transport | None = None
    acknowledged: int = 0
    _heard: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sign in."""
        assert isinstance(transport, asyncio.Transport)
        self.line = transport
        transport.write(sign_in(f"{self.user}.vitals", self.user, self.secret))

    def data_received(self, data: bytes) -> None:
        """Take four bytes after the other: all that the broker has to say is so long."""
        self._heard += data
        whole = len(self._heard) // 4 * 4
        if not self.is_open.is_set():
            assert self._heard[:4] == CONNACK, self._heard
            self.is_open.set()
            self.acknowledged -= 1
        self.acknowledged += whole // 4
        self._heard = self._heard[whole:]


@dataclass(slots=True)
class Load:
    """All edges and what they sent."""

    edges: list[Edge]
    patients: int
    sent: int = 0
    events: int = 0
    """Proposed by `admit`."""
    latest_s: float = 0.0
    """Longest that a message left behind its time."""
    _bodies: list[Body] = field(default_factory=make_bodies)

    async def admit(self) -> None:
        """Let every edge propose who lies where."""
        for number, edge in enumerate(self.edges):
            address = NodeAddress(REGION, edge.user, edge.user)
            records = admission(edge.user, min(A_NODE, self.patients - number * A_NODE))
            assert edge.line is not None
            edge.line.write(packets([(address.up(Up.CARE), wire.encode(records))])[0])
            self.events += len(records)
            await asyncio.sleep(FIRST_S / len(self.edges))

    async def begin(self) -> None:
        """Send the first second of all patients, slowly: the hub meets each stream for the first time."""
        for patient in range(self.patients):
            self._send(patient, 1)
            if patient % (STEPS // 2) == 0:
                await asyncio.sleep(FIRST_S * STEPS / 2 / self.patients)
        await asyncio.sleep(1)

    async def run(self, seconds: int) -> None:
        """Send so many more seconds of all patients."""
        began_s = time.monotonic()
        for step in range(seconds * STEPS):
            due_s = began_s + step / STEPS
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self.latest_s = max(self.latest_s, time.monotonic() - due_s)
            second, part = divmod(step, STEPS)
            for patient in range(part, self.patients, STEPS):
                self._send(patient, second + 2)

    def _send(self, patient: int, seq: int) -> None:
        node, bed = divmod(patient, A_NODE)
        edge = self.edges[node]
        now_ns = time.time_ns()
        stamp = wire.Stamp(now_ns, time.monotonic_ns(), 1)
        address = NodeAddress(REGION, edge.user, edge.user)
        assert edge.line is not None
        for up, kind, name, codec, payload in self._bodies:
            stream = f"mon-{bed:02d}/{name}"
            item = wire.seal(stream=stream, kind=kind, epoch=7, seq=seq, stamp=stamp, codec=codec, payload=payload)
            edge.line.write(packets([(address.up(up), wire.encode([item]))])[0])
            self.sent += 1


async def work(port: int, secrets: dict[str, dict[str, str]], patients: int, seconds: int) -> dict[str, float]:
    """Connect all edges, send, wait for the last acknowledgements, and return the counts."""
    users = [user for user in secrets if user != "hub"][: -(-patients // A_NODE)]
    edges = [Edge(user, secrets[user]["secret"]) for user in users]
    loop = asyncio.get_running_loop()
    for edge in edges:
        await loop.create_connection(lambda edge=edge: edge, "127.0.0.1", port)  # type: ignore[misc]
        await edge.is_open.wait()
    load = Load(edges, patients)
    await load.admit()
    print(json.dumps({"events": load.events}), flush=True)
    sys.stdin.readline()
    await load.begin()
    print(json.dumps({"connected": len(edges), "sent": load.sent}), flush=True)
    sys.stdin.readline()
    began_cpu_s = time.process_time()
    await load.run(seconds)
    await asyncio.sleep(1)
    return {
        "sent": load.sent,
        "acknowledged": sum(edge.acknowledged for edge in edges),
        "latest_s": load.latest_s,
        "cpu_s": time.process_time() - began_cpu_s,
    }


if __name__ == "__main__":
    book = json.loads(Path(sys.argv[2]).read_text())
    print(json.dumps(asyncio.run(work(int(sys.argv[1]), book, int(sys.argv[3]), int(sys.argv[4])))), flush=True)
