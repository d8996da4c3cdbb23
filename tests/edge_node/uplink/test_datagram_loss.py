"""Alarms over a path that loses half of its packets, path and hub as they are, on a clock that the test moves."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from telemed import wire
from telemed.topics import NodeAddress, Up
from telemed.v1 import uplink_pb2

from cloud_hub.ingest.datagram import DatagramServer
from cloud_hub.ingest.datagram_proof import SecretProver
from cloud_hub.ingest.receipts import receipt
from cloud_hub.store.watermarks import Watermark
from edge_node.uplink.datagram import AlarmPath, PathEvents
from edge_node.uplink.datagram_socket import PathSettings
from edge_node.uplink.repeat import PACKET_HEAD_BYTES
from edge_node.uplink.schedule import ALARM_BPS, ALARM_BURST_BYTES, Bucket
from tests.fakes.containers import EPOCH, sealed
from tests.fakes.datagram_wire import PEER, credentials, secrets_file

STREAM = "node/alarm"
TRAVEL_S, RATE_BPS = 0.03, 256_000
COMMIT_S = (0.01, 0.06)
SETTLE_S, EVERY_S, JITTER_S = 3.0, 0.25, 0.05
PAYLOAD_BYTES = 227
ALARMS = 1_000


@dataclass
class Socket:
    """Stands for the path's socket."""

    send: Callable[[bytes], None]
    is_open: bool = True


@dataclass
class Transport:
    """Stands for the hub's."""

    take: Callable[[bytes], None]

    def sendto(self, datagram: bytes, _peer: object) -> None:
        self.take(datagram)


@dataclass
class LossyLink:
    """A path and a hub with a thin link between them; an alarm goes into the path about four times a second."""

    folder: Path
    loss: float
    now_s: float = 1_000.0
    raised_s: dict[int, float] = field(default_factory=dict)
    came_s: dict[int, float] = field(default_factory=dict)
    up_bytes: int = 0
    down_bytes: int = 0
    closed_s: float = 0.0
    """How long no sign of an open link was fresh enough."""

    def __post_init__(self) -> None:
        self._random, self._numbers = random.Random(11), count()
        self._todo: list[tuple[float, int, Callable[[], None]]] = []
        self._is_lossy, self._free_s, self._woken, self._mark = False, 0.0, 0, Watermark()
        self._alarms = Bucket()
        self.hub = DatagramServer(SecretProver(secrets_file(self.folder)), self._take, now_s=lambda: self.now_s)
        self.hub._transport = Transport(self._down)  # type: ignore[assignment]
        events = PathEvents(lambda _receipts: None, self._may_send)
        self.path = AlarmPath(PathSettings(), credentials(), events, now_s=lambda: self.now_s)
        self.path._socket = Socket(self._up)  # type: ignore[assignment]

    def run(self, alarms: int) -> list[float]:
        """Raise so many; return the delays to the hub's door in seconds, sorted."""
        self._wake()
        self._after(SETTLE_S, self._begin_losing)
        at_s = 2 * SETTLE_S
        for seq in range(1, alarms + 1):
            at_s += EVERY_S + self._random.uniform(-JITTER_S, JITTER_S)
            self._after(at_s, lambda seq=seq: self._raise(seq))  # type: ignore[misc]
        while len(self.came_s) < alarms:
            before_s = self.now_s
            self.now_s, _, step = heapq.heappop(self._todo)
            if self._is_lossy and not self.path.spare.is_open(self.now_s):
                self.closed_s += self.now_s - before_s
            step()
        return sorted(self.came_s[seq] - raised_s for seq, raised_s in self.raised_s.items())

    def _after(self, wait_s: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._todo, (self.now_s + wait_s, next(self._numbers), step))

    def _begin_losing(self) -> None:
        self._is_lossy = True

    def _is_lost(self) -> bool:
        return self._is_lossy and self._random.random() < self.loss

    def _raise(self, seq: int) -> None:
        self.raised_s[seq] = self.now_s
        payload = self._random.randbytes(PAYLOAD_BYTES)
        self.path.send([sealed(wire.Kind.ALARM_EVENT, payload, seq, STREAM, packed=False)])
        self._wake()

    def _wake(self) -> None:
        """Do what the path's own loop does, and again when it would wake by itself."""
        path = self.path
        path._keep_session(self.now_s)
        path._send_due(self.now_s)
        sessions_s = [each.next_s() for each in (path._current, path._next) if each]
        times_s = [self.now_s + 1, *sessions_s, path.repeats.next_s() if path._current else None]
        self._woken += 1
        number = self._woken
        next_s = min(each for each in times_s if each is not None)
        self._after(max(0.001, next_s - self.now_s), lambda: self._wake() if number == self._woken else None)

    def _may_send(self, size_bytes: int, now_s: float) -> bool:
        self._alarms.fill(ALARM_BPS, ALARM_BURST_BYTES, now_s)
        may_send = self._alarms.tokens >= size_bytes
        self._alarms.tokens -= size_bytes * may_send
        return may_send

    def _up(self, datagram: bytes) -> None:
        size_bytes = len(datagram) + PACKET_HEAD_BYTES
        self.up_bytes += size_bytes
        self._free_s = max(self._free_s, self.now_s) + size_bytes * 8 / RATE_BPS
        if not self._is_lost():
            arrives_s = self._free_s + TRAVEL_S - self.now_s
            self._after(arrives_s, lambda: self.hub.datagram_received(datagram, PEER))

    def _down(self, datagram: bytes) -> None:
        self.down_bytes += len(datagram) + PACKET_HEAD_BYTES
        if not self._is_lost():
            self._after(TRAVEL_S, lambda: self._heard(datagram))

    def _heard(self, datagram: bytes) -> None:
        self.path._heard(datagram)
        self._wake()

    def _take(self, node: NodeAddress, _up: Up, container: bytes) -> None:
        seqs = [record.seq for record in wire.decode(container)]
        for seq in seqs:
            self.came_s.setdefault(seq, self.now_s)
        self._after(self._random.uniform(*COMMIT_S), lambda: self._commit(node, seqs))

    def _commit(self, node: NodeAddress, seqs: list[int]) -> None:
        self._mark = self._mark.plus(seqs)
        told = receipt(STREAM, EPOCH, self._mark)
        self.hub.publish(node, uplink_pb2.Receipts(receipts=[told], hub_unix_ns=int(self.now_s * 1e9)))


def percentile(delays_s: list[float], share: float) -> float:
    return delays_s[int(share * len(delays_s))]


def test_with_half_of_all_packets_lost_alarms_are_at_the_hub_well_within_a_second(tmp_path: Path) -> None:
    link = LossyLink(tmp_path, loss=0.5)
    delays_s = link.run(ALARMS)
    assert percentile(delays_s, 0.5) < 0.12
    assert percentile(delays_s, 0.99) < 0.65
    assert delays_s[-1] < 2.0
    # The repeats found the link open nearly all of the time.
    assert link.closed_s < 0.08 * ALARMS * EVERY_S


def test_without_loss_an_alarm_goes_once_and_not_faster(tmp_path: Path) -> None:
    link = LossyLink(tmp_path, loss=0.0)
    delays_s = link.run(ALARMS)
    assert delays_s[-1] < 0.06
    assert link.path.counts["sent"] < 1.1 * ALARMS
