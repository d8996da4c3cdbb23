"""A thousand edges in one process: the product's uplinks, each with its four connections, over buffers in memory.

`python -m bench.storm_edges PORT FOLDER` (FOLDER has the secrets) writes a line of JSON each half second: how many
edges have a connection for alarms, how many have all alarms and all measurements receipted.  The line "alarm" on its
input raises an alarm at every edge.
"""

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import structlog
from telemed import wire
from telemed.audit import Head
from telemed.topics import STORED, NodeAddress, Up
from telemed.v1 import alarm_pb2, event_pb2

from bench.ingest import make_bodies
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.delivery import Receipt
from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.buffer.store import ALARM_STREAM, Buffer, Waiting
from edge_node.config import UplinkConfig
from edge_node.uplink.uplink import Uplink
from tests.region.region import REGION

EPOCH = 11
EVERY_S = 2.0
"""Between two sets of measurements of one edge."""
TELL_S = 0.5
NUMERICS = make_bodies()[0]


@dataclass(slots=True)
class MemoryAnchors:
    """The hub's heads of its audit trail, as a node keeps them."""

    _newest: Head | None = None

    async def keep_anchor(self, head: Head) -> None:
        """Keep the newest."""
        self._newest = head

    async def newest_anchor(self) -> Head | None:
        """Return the newest, None before the first."""
        return self._newest


@dataclass(slots=True)
class MemoryBuffer:
    """What the uplink asks of a node's buffer, without a disk."""

    clock: NodeClock = field(default_factory=lambda: NodeClock(1))
    on_stored: list[Callable[[Up, Collection[StreamKey]], None]] = field(default_factory=list)
    audit: MemoryAnchors = field(default_factory=MemoryAnchors)
    life: int = EPOCH
    former_lives: list[int] = field(default_factory=list)
    epochs: list[int] = field(default_factory=lambda: [EPOCH])
    _rows: dict[Up, list[wire.Record]] = field(default_factory=lambda: {up: [] for up in STORED})
    _states: dict[Up, dict[StreamKey, StreamState]] = field(default_factory=lambda: {up: {} for up in STORED})

    def store(self, up: Up, stream: str, kind: wire.Kind, body: tuple[wire.Codec, bytes]) -> None:
        """Number a record and hand it to the uplink; one stream a class."""
        rows, key = self._rows[up], StreamKey(stream, EPOCH)
        stamp = wire.Stamp(time.time_ns(), time.monotonic_ns(), 1)
        codec, payload = body
        rows.append(
            wire.seal(
                stream=stream, kind=kind, epoch=EPOCH, seq=len(rows) + 1, stamp=stamp, codec=codec, payload=payload
            )
        )
        state = self._states[up].get(key, StreamState(stream, EPOCH))
        self._states[up][key] = state.with_record(rows[-1])
        for told in self.on_stored:
            told(up, [key])

    def is_empty(self, up: Up) -> bool:
        """Whether the hub has receipted all of a class."""
        return not any(state.waiting for state in self._states[up].values())

    def streams(self, up: Up) -> Mapping[StreamKey, StreamState]:
        """Return how far each stream has come."""
        return self._states[up]

    def waiting(self) -> dict[Up, Waiting]:
        """Return what waits for the hub, by class."""
        return {up: _waiting(list(states.values())) for up, states in self._states.items()}

    def hours_left(self) -> float | None:
        """Return None: memory is not counted."""
        return None

    async def read_run(self, up: Up, _key: StreamKey, first: int, last: int) -> list[wire.Record]:
        """Return records by number."""
        return self._rows[up][first - 1 : last]

    async def acknowledge(self, up: Up, contigs: Mapping[StreamKey, int]) -> None:
        """Take in how far the hub has a stream."""
        for key, contig in contigs.items():
            self._states[up][key] = self._states[up][key]._replace(acked=contig)

    async def yield_to(self, _up: Up, key: StreamKey, _receipt: Receipt) -> None:
        """Fail: the hub of this bench cannot have numbers that were never given out.

        Raises:
            AssertionError: always.
        """
        raise AssertionError(f"{key}: the hub is ahead")

    async def newest_hour_from(self, _up: Up, _key: StreamKey) -> int:
        """Return the first record of the newest hour: all are of it."""
        return 0

    async def event_cursor(self) -> int:
        """Return how far the site's log is known: it is not kept."""
        return 0

    async def apply_page(self, _page: event_pb2.EventPage) -> list[event_pb2.OrderedEvent]:
        """Take no notice of the site's log."""
        return []


def _waiting(states: list[StreamState]) -> Waiting:
    ages_ns = [state.oldest_ns for state in states if state.waiting]
    return Waiting(sum(state.waiting for state in states), min(ages_ns, default=0))


@dataclass(slots=True)
class Edge:
    """One simulated edge."""

    node: str
    buffer: MemoryBuffer
    uplink: Uplink

    async def measure(self, phase: float) -> None:
        """Store a set of measurements every EVERY_S, for ever."""
        await asyncio.sleep(phase * EVERY_S)
        while True:
            up, kind, name, codec, payload = NUMERICS
            self.buffer.store(up, f"mon-00/{name}", kind, (codec, payload))
            await asyncio.sleep(EVERY_S)

    def alarm(self) -> None:
        """Raise an alarm."""
        now_ns = time.time_ns()
        step = alarm_pb2.AlarmEvent(
            alarm_id=f"{self.node}-{now_ns}",
            alarm_seq=1,
            phase=alarm_pb2.PHASE_START,
            condition="other",
            at_unix_ns=now_ns,
        )
        self.buffer.store(Up.ALARM, ALARM_STREAM, wire.Kind.ALARM_EVENT, wire.pack(step.SerializeToString()))


def make_edges(port: int, folder: Path) -> list[Edge]:
    """Return an edge for every user of the secrets file but the hub."""
    edges = []
    for node in json.loads((folder / "hub" / "broker-secrets.json").read_text()):
        if node == "hub":
            continue
        # Without the datagram path, which does not need the broker: here all must come back by it.
        config = UplinkConfig(broker_port=port, secret_file=folder / f"{node}-secret", datagram_enabled=False)
        buffer = MemoryBuffer()
        uplink = Uplink(config, cast("Buffer", buffer), NodeAddress(REGION, node, node))
        edges.append(Edge(node, buffer, uplink))
    return edges


async def tell(edges: list[Edge]) -> None:
    """Write how things stand, for ever."""
    while True:
        told = {
            "at_s": time.monotonic(),
            "live": sum(edge.uplink.link.state in ("live", "weak") for edge in edges),
            "alarms": sum(edge.buffer.is_empty(Up.ALARM) for edge in edges),
            # The newest set may be on its way.
            "measurements": sum(edge.buffer.waiting()[Up.VITALS].records <= 1 for edge in edges),
            "cpu_s": time.process_time(),
        }
        print(json.dumps(told), flush=True)
        await asyncio.sleep(TELL_S)


def take_orders(edges: list[Edge], loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Raise alarms when told to; for a thread of its own, which does not hold up the end."""
    for _ in sys.stdin:
        for edge in edges:
            loop.call_soon_threadsafe(edge.alarm)
    loop.call_soon_threadsafe(ended.set)


async def work(port: int, folder: Path) -> None:
    """Run all edges until the input ends."""
    edges, ended = make_edges(port, folder), asyncio.Event()
    orders = (edges, asyncio.get_running_loop(), ended)
    threading.Thread(target=take_orders, args=orders, name="orders", daemon=True).start()
    async with asyncio.TaskGroup() as group:
        held = [group.create_task(edge.uplink.run()) for edge in edges]
        held += [group.create_task(edge.measure(number / len(edges))) for number, edge in enumerate(edges)]
        held.append(group.create_task(tell(edges)))
        await ended.wait()
        for task in held:
            task.cancel()


if __name__ == "__main__":
    # What is told on standard output is for the bench alone.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(work(int(sys.argv[1]), Path(sys.argv[2])))
