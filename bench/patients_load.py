"""Many patients as the broker sees them: a connection for each edge, and a batch a second for each patient.

A process of its own, so that its cost is not taken for the hub's.  A batch is a numeric set with eight values and a
second of three waves, sealed and numbered as an edge does it; the patients' seconds are spread evenly.  Each edge says
every five seconds that it lives.  Sent "apart" each of the two is a message.  Sent "together" they go as the uplink
sends them (`edge_node.uplink.pump`): the beds whose values came in so long share a message, and waves that nobody looks
at go a minute at a time; edges whose wall is open send theirs apart, as they do while somebody looks.
`python -m bench.patients_load PORT SECRETS PATIENTS SECONDS SENT LOOKED_AT` prints JSON: what was sent, acknowledged
and late; the first LOOKED_AT edges have their wall open.
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Literal, cast

from telemed import history, wire
from telemed.topics import NodeAddress, Up
from telemed.v1 import uplink_pb2

from bench.ingest import Body, make_bodies
from bench.patients_admit import admission
from bench.publisher import packets, sign_in
from edge_node.buffer.delivery import BLOCK_RECORDS
from edge_node.uplink.pump import GATHER_S
from edge_node.uplink.schedule import SEGMENT_BYTES
from tests.region.region import REGION

A_NODE = 10
"""Patients at one edge."""
STEPS = 100
"""Into how many parts a second is divided."""
FIRST_S = 10.0
"""How long the first second of all patients is drawn out."""
PRESENCE_S = 5.0
"""How often an edge says that it lives: one that is silent for fifteen seconds is an alarm."""
ALL_EVENTS = 2**32
"""The last event that an edge says it has: it asks for none."""
CONNACK = b"\x20\x02\x00\x00"
FIRST_SEQ = 2
"""Of what is measured: 1 is of `Load.begin`."""
Sent = Literal["apart", "together"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What one row is of."""

    patients: int
    seconds: int
    sent: Sent
    looked_at: int
    """So many edges, the first, have their wall open, or all where there are fewer."""

    @property
    def edges(self) -> int:
        """How many edges there are."""
        return -(-self.patients // A_NODE)

    @property
    def apart(self) -> int:
        """So many edges, the first, send everything in a message of its own."""
        return self.edges if self.sent == "apart" else self.looked_at


@dataclass(slots=True)
class Edge(asyncio.Protocol):
    """One edge's connection; acknowledgements are counted and otherwise passed over."""

    user: str
    secret: str
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    line: asyncio.Transport | None = None
    acknowledged: int = 0
    gathered: list[wire.Record] = field(default_factory=list)
    """Numeric sets that wait for others to share a message."""
    _heard: bytes = b""

    def publish(self, up: Up, container: bytes) -> None:
        """Send a container."""
        assert self.line is not None
        self.line.write(packets([(NodeAddress(REGION, self.user, self.user).up(up), container)])[0])

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
    asked: Asked
    sent: int = 0
    """Records."""
    messages: int = 0
    events: int = 0
    """Proposed by `admit`."""
    latest_s: float = 0.0
    """Longest that a message left behind its time."""
    _bodies: list[Body] = field(default_factory=make_bodies)
    _blocks: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """A minute of waves of a bed, whichever edge has it, by bed and by how many minutes were before."""

    def make_blocks(self) -> None:
        """Pack the minutes that the beds of every edge send, before all begins: it costs more than all the rest."""
        now_ns = time.time_ns()
        waves = [next(body for body in make_bodies(seed) if body[0] is Up.WAVES) for seed in range(BLOCK_RECORDS)]
        for minute in range(-(-self.asked.seconds // BLOCK_RECORDS)):
            for bed in range(A_NODE):
                first_seq = FIRST_SEQ + minute * BLOCK_RECORDS
                block = [
                    _record(body, bed, first_seq + number, now_ns - (BLOCK_RECORDS - number) * 10**9)
                    for number, body in enumerate(waves)
                ]
                whole = history.encode(block, history.PACKER)
                assert whole.count == BLOCK_RECORDS
                self._blocks[bed, minute] = whole.container

    async def live(self) -> None:
        """Give each edge's signs of life, spread evenly, until cancelled."""
        run = time.time_ns()
        while True:
            for edge in self.edges:
                now_ns, boottime_ns = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                said = uplink_pb2.Presence(
                    at_unix_ns=now_ns, boottime_ns=boottime_ns, tells_behind=True, run=run, event_cursor=ALL_EVENTS
                )
                edge.publish(Up.PRESENCE, said.SerializeToString())
                await asyncio.sleep(PRESENCE_S / len(self.edges))

    async def admit(self) -> None:
        """Let every edge propose who lies where."""
        for number, edge in enumerate(self.edges):
            records = admission(edge.user, min(A_NODE, self.asked.patients - number * A_NODE))
            edge.publish(Up.CARE, wire.encode(records))
            self.events += len(records)
            await asyncio.sleep(FIRST_S / len(self.edges))

    async def begin(self) -> None:
        """Send the first second of all patients, slowly: the hub meets each stream for the first time."""
        for patient in range(self.asked.patients):
            self._send_apart(patient, FIRST_SEQ - 1)
            if patient % (STEPS // 2) == 0:
                await asyncio.sleep(FIRST_S * STEPS / 2 / self.asked.patients)
        await asyncio.sleep(1)

    async def run(self) -> None:
        """Send all the seconds that are asked for of all patients."""
        began_s = time.monotonic()
        for step in range(self.asked.seconds * STEPS):
            due_s = began_s + step / STEPS
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self.latest_s = max(self.latest_s, time.monotonic() - due_s)
            second, part = divmod(step, STEPS)
            for patient in range(part, self.asked.patients, STEPS):
                if patient // A_NODE < self.asked.apart:
                    self._send_apart(patient, FIRST_SEQ + second)
                else:
                    self.edges[patient // A_NODE].gathered.append(self._numeric(patient, FIRST_SEQ + second))
            self._send_gathered(step)
            self._send_blocks(step)
        for edge in self.edges:
            self._send_of(edge)

    def _send_gathered(self, step: int) -> None:
        """Send what the edges have gathered whose turn is at this step."""
        apart = round(GATHER_S * STEPS)
        for number in range(step % apart, len(self.edges), apart):
            self._send_of(self.edges[number])

    def _send_of(self, edge: Edge) -> None:
        """Send what an edge has gathered, in messages as large as on a link that is not known to be wide."""
        left, edge.gathered = edge.gathered, []
        while left:
            ends = accumulate(len(record.payload) + wire.HEAD_BYTES for record in left)
            count = max(1, sum(end <= SEGMENT_BYTES for end in ends))
            self._publish(edge, Up.VITALS, wire.encode(left[:count]), count)
            left = left[count:]

    def _send_blocks(self, step: int) -> None:
        """Send the minutes of waves that are over at this step; they are spread evenly, and over all edges alike."""
        every, edges = BLOCK_RECORDS * STEPS, len(self.edges)
        minute, at = divmod(step, every)
        beds = edges * A_NODE
        # All turns with turn * every // beds == at.
        for turn in range(-(-at * beds // every), -(-(at + 1) * beds // every)):
            bed, node = divmod(turn, edges)
            if node >= self.asked.apart and node * A_NODE + bed < self.asked.patients:
                self._publish(self.edges[node], Up.WAVES, self._blocks[bed, minute], BLOCK_RECORDS)

    def _send_apart(self, patient: int, seq: int) -> None:
        for body in self._bodies:
            self._publish(self.edges[patient // A_NODE], body[0], wire.encode([_record(body, patient, seq)]), 1)

    def _numeric(self, patient: int, seq: int) -> wire.Record:
        return _record(next(body for body in self._bodies if body[0] is Up.VITALS), patient, seq)

    def _publish(self, edge: Edge, up: Up, container: bytes, count: int) -> None:
        edge.publish(up, container)
        self.sent += count
        self.messages += 1


def _record(body: Body, patient: int, seq: int, at_ns: int = 0) -> wire.Record:
    """Return a record of a patient's second, measured now or at a time."""
    _, kind, name, codec, payload = body
    stamp = wire.Stamp(at_ns or time.time_ns(), time.monotonic_ns(), 1)
    stream = f"mon-{patient % A_NODE:02d}/{name}"
    return wire.seal(stream=stream, kind=kind, epoch=7, seq=seq, stamp=stamp, codec=codec, payload=payload)


async def work(port: int, secrets: dict[str, dict[str, str]], asked: Asked) -> dict[str, float]:
    """Connect all edges, send, wait for the last acknowledgements, and return the counts."""
    users = [user for user in secrets if user != "hub"][: asked.edges]
    edges = [Edge(user, secrets[user]["secret"]) for user in users]
    loop = asyncio.get_running_loop()
    for edge in edges:
        await loop.create_connection(lambda edge=edge: edge, "127.0.0.1", port)  # type: ignore[misc]
        await edge.is_open.wait()
    load = Load(edges, asked)
    if asked.sent == "together":
        load.make_blocks()
    living = asyncio.create_task(load.live())
    await load.admit()
    print(json.dumps({"events": load.events}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await load.begin()
    begun = load.messages
    print(json.dumps({"connected": len(edges), "sent": load.sent}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began_cpu_s = time.process_time()
    await load.run()
    await asyncio.sleep(1)
    assert not living.done(), "an edge ceased to say that it lives"
    living.cancel()
    return {
        "sent": load.sent,
        "messages": load.messages - begun,
        "acknowledged": sum(edge.acknowledged for edge in edges),
        "latest_s": load.latest_s,
        "cpu_s": time.process_time() - began_cpu_s,
    }


if __name__ == "__main__":
    port, secrets_file, patients, seconds, sent, looked_at = sys.argv[1:]
    asked = Asked(int(patients), int(seconds), cast("Sent", sent), int(looked_at))
    book = json.loads(Path(secrets_file).read_text())
    print(json.dumps(asyncio.run(work(int(port), book, asked))), flush=True)
