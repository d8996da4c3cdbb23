"""The sessions of the datagram server: who they belong to, and how much each may be answered; no I/O."""

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from telemed.datagram import QUESTION_BYTES
from telemed.dtls import Channel
from telemed.topics import NodeAddress

from cloud_hub.ingest.datagram_limits import DatagramLimits

HANDSHAKE_LIMIT_S = 10.0
CREDIT_LIMIT_BYTES = 4 * QUESTION_BYTES

Peer = tuple[str, int]


@dataclass(slots=True)
class Session:
    """One session with a node."""

    channel: Channel
    peer: Peer
    """Where answers go; moves with the last message that was authentic."""
    heard_s: float
    """When it was last heard; when it began, until it is proved."""
    node: NodeAddress | None = None
    """Whose it is; None until proved."""
    credit_bytes: int = 0
    """Bytes from that peer not yet answered with as many."""
    flight: bytes = b""
    """What was last said in the handshake: said again when the node repeats itself."""
    welcome: bytes = b""
    """What the proof was answered with: said again likewise."""
    ends_s: float = math.inf
    """When what the node showed is over, and the session with it."""

    def earn(self, peer: Peer, size_bytes: int) -> None:
        """Note a datagram that may be answered with as much; one from elsewhere than the peer earns nothing."""
        if peer == self.peer:
            self.credit_bytes = min(CREDIT_LIMIT_BYTES, self.credit_bytes + size_bytes)

    def spend(self, size_bytes: int) -> bool:
        """Return whether so much may be sent to the peer, and take it as sent."""
        if size_bytes > self.credit_bytes:
            return False
        self.credit_bytes -= size_bytes
        return True


@dataclass(slots=True)
class Sessions:
    """All sessions; the order is by when they were last heard."""

    pending: OrderedDict[bytes, Session] = field(default_factory=OrderedDict)
    proved: OrderedDict[bytes, Session] = field(default_factory=OrderedDict)
    of_node: dict[NodeAddress, dict[bytes, Session]] = field(default_factory=dict)

    def find(self, name: bytes) -> Session | None:
        """Return the session of a name."""
        return self.proved.get(name) or self.pending.get(name)

    def prove(self, name: bytes, session: Session, node: NodeAddress, now_s: float, limits: DatagramLimits) -> None:
        """Note whose a session is; the one silent for the longest goes where there are too many."""
        session.node, session.heard_s = node, now_s
        self.pending.pop(name, None)
        self.proved[name] = session
        mine = self.of_node.setdefault(node, {})
        mine[name] = session
        while len(mine) > limits.sessions_per_node:
            self.drop(min(mine, key=lambda each: mine[each].heard_s))
        while len(self.proved) > limits.sessions:
            self.drop(next(iter(self.proved)))

    def heard(self, name: bytes, session: Session, now_s: float) -> None:
        """Note a sign of life; one that does not prove itself lives no longer for talking."""
        if session.node is not None:
            session.heard_s = now_s
            self.proved.move_to_end(name)

    def drop(self, name: bytes) -> None:
        """Forget a session."""
        self.pending.pop(name, None)
        session = self.proved.pop(name, None)
        if session is None or session.node is None:
            return
        mine = self.of_node.get(session.node, {})
        mine.pop(name, None)
        if not mine:
            self.of_node.pop(session.node, None)

    def sweep(self, now_s: float, idle_s: float) -> None:
        """Forget handshakes that came to nothing, and sessions that are silent or whose certificate has ended."""
        for kept, limit_s in ((self.pending, HANDSHAKE_LIMIT_S), (self.proved, idle_s)):
            over = [n for n, one in kept.items() if now_s - one.heard_s > limit_s or now_s > one.ends_s]
            for name in over:
                self.drop(name)
