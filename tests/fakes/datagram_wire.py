"""Nodes' sessions and the hub's datagram server joined in memory, on a clock that the test moves."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from telemed.datagram import Message
from telemed.dtls import node_context
from telemed.topics import NodeAddress, Up

from cloud_hub.ingest.datagram import DatagramServer
from cloud_hub.ingest.datagram_limits import DatagramLimits
from cloud_hub.ingest.datagram_proof import SecretProver
from cloud_hub.ingest.datagram_sessions import Peer
from edge_node.uplink.session import Credentials, NodeSession, Stage
from tests.fakes.brokers import SECRETS

STEP_S = 0.005
ONE_WAY_S = 0.02
PEER = ("10.9.0.1", 40001)
NODE_CONTEXT = node_context()


def secrets_file(folder: Path) -> Path:
    """The secrets of the tests' nodes, as a file."""
    path = folder / "secrets.json"
    path.write_text(json.dumps(SECRETS))
    return path


def credentials(node: str = "edge-clinic", secret: str | None = None) -> Credentials:
    """What a node of the secrets file proves itself with."""
    return Credentials(node, SECRETS[node]["secret"] if secret is None else secret)


class _Transport:
    """Takes what the server sends."""

    def __init__(self, take: Callable[[bytes, Peer], None]) -> None:
        self._take = take

    def sendto(self, datagram: bytes, peer: Peer) -> None:
        self._take(datagram, peer)


@dataclass
class ManualWire:
    """A hub, and the way there; nodes are added by `start`."""

    folder: Path
    limits: DatagramLimits | None = None
    loss: float = 0.0
    now_s: float = 1000.0
    taken: list[tuple[NodeAddress, Up, bytes]] = field(default_factory=list)
    noted: list[tuple[str, str]] = field(default_factory=list)
    answers: list[tuple[bytes, Peer]] = field(default_factory=list)
    """All that the hub sent, lost or not."""
    asked_bytes: dict[Peer, int] = field(default_factory=dict)
    answered_bytes: dict[Peer, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._draw = random.Random(3).random
        self._nodes: dict[Peer, NodeSession] = {}
        self._down: list[tuple[float, bytes, Peer]] = []
        self._up: list[tuple[float, bytes, Peer]] = []
        self.receipts: list[bytes] = []
        self.restart_hub()

    def restart_hub(self) -> None:
        """Another process: it knows nothing of the sessions before."""
        self.hub = DatagramServer(
            SecretProver(secrets_file(self.folder)),
            lambda node, up, container: self.taken.append((node, up, container)),
            note=lambda node, code, _times: self.noted.append((node.node, code)),
            limits=self.limits,
            now_s=lambda: self.now_s,
        )
        self.hub._transport = _Transport(self._from_hub)  # type: ignore[assignment]

    def start(self, who: Credentials | None = None, peer: Peer = PEER) -> NodeSession:
        """Begin a session of a node behind an address."""
        session = NodeSession(NODE_CONTEXT, who or credentials(), self.now_s)
        self._nodes[peer] = session
        return session

    def up(self, who: Credentials | None = None, peer: Peer = PEER) -> NodeSession:
        """Begin a session and wait until it is up."""
        session = self.start(who, peer)
        self.until(lambda: session.stage is Stage.UP)
        return session

    def move(self, before: Peer, after: Peer) -> None:
        """A translator gives a node another address."""
        self._nodes[after] = self._nodes.pop(before)

    def ask(self, datagram: bytes, peer: Peer = PEER) -> list[bytes]:
        """Give the hub one datagram; return what it answered, wherever to."""
        before = len(self.answers)
        self._to_hub(datagram, peer)
        return [answer for answer, _ in self.answers[before:]]

    def say(self, session: NodeSession, kind: Message, body: bytes, peer: Peer = PEER) -> list[bytes]:
        """Give the hub one message of a session; return what it answered."""
        return self.ask(session.seal(kind, body), peer)

    def until(self, condition: Callable[[], bool], within_s: float = 60) -> float:
        """Let time pass until a condition is true; return how long it took."""
        began_s = self.now_s
        while not condition():
            assert self.now_s - began_s < within_s, "not within the time"
            self.step()
        return self.now_s - began_s

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.step()

    def step(self) -> None:
        """Let 5 ms pass."""
        for peer, session in self._nodes.items():
            for datagram in session.due(self.now_s):
                if self._draw() >= self.loss:
                    self._up.append((self.now_s + ONE_WAY_S, datagram, peer))
        self.now_s += STEP_S
        arrived = [each for each in self._up if each[0] <= self.now_s]
        self._up = [each for each in self._up if each[0] > self.now_s]
        for _, datagram, peer in arrived:
            self._to_hub(datagram, peer)
        landed = [each for each in self._down if each[0] <= self.now_s]
        self._down = [each for each in self._down if each[0] > self.now_s]
        for _, datagram, peer in landed:
            if peer in self._nodes:
                self.receipts += self._nodes[peer].take(datagram, self.now_s)

    def _to_hub(self, datagram: bytes, peer: Peer) -> None:
        self.asked_bytes[peer] = self.asked_bytes.get(peer, 0) + len(datagram)
        self.hub.datagram_received(datagram, peer)

    def _from_hub(self, datagram: bytes, peer: Peer) -> None:
        self.answers.append((datagram, peer))
        self.answered_bytes[peer] = self.answered_bytes.get(peer, 0) + len(datagram)
        assert self.answered_bytes[peer] <= self.asked_bytes[peer], "an answer longer than what was asked"
        if self._draw() >= self.loss:
            self._down.append((self.now_s + ONE_WAY_S, datagram, peer))
