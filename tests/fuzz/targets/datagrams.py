"""The datagram server of the hub before and behind the proof: raw datagrams, and handshakes that are tampered with."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator

from telemed import datagram as wire_format
from telemed.datagram import Message, node_proof
from telemed.dtls import Channel, ChannelBroken, node_context
from telemed.topics import NodeAddress, Up
from telemed.wire import encode

from cloud_hub.ingest.datagram import DatagramServer
from cloud_hub.ingest.datagram_proof import Verdict
from tests.fakes import containers
from tests.fakes.containers import CLINIC
from tests.fuzz.target import Target

PEER = ("127.0.0.1", 40_000)
SESSION = b"session1"
SECRET = "a secret"
TAMPERED, PROVED = 1, 2
"""First byte of a part: the next flight of a real node, spoilt; a message behind the proof.  Others: raw datagrams."""


class _Wire(asyncio.DatagramTransport):
    """Keeps what the server says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bytes] = []

    def sendto(self, data: bytes, addr: object = None) -> None:  # type: ignore[override]
        self.said.append(data)


class _Prover:
    def judge(self, proof: bytes, binding: bytes) -> Verdict:
        is_right = proof == node_proof(SECRET, CLINIC.node, binding) + CLINIC.node.encode()
        return Verdict(CLINIC if is_right else None, b"welcome")


class _Hub:
    """A server, one node that shakes hands with it, and how many bytes went each way."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.server = DatagramServer(_Prover(), self._take, now_s=lambda: 1000.0)
        self.wire = _Wire()
        self.server.connection_made(self.wire)
        self.node = Channel(node_context(), is_hub=False)
        self.flight = self.node.begin()
        self.asked_bytes = self.answered_bytes = 0

    def hear(self, data: bytes) -> list[bytes]:
        """Let the server take one datagram; return what it answers."""
        self.server.datagram_received(data, PEER)
        answers, self.wire.said = self.wire.said, []
        self.asked_bytes += len(data)
        self.answered_bytes += sum(map(len, answers))
        return answers

    def shake(self, where: int, spoil: int) -> None:
        """Send the node's next flight with one byte spoilt, and let the node hear the answer."""
        if not self.flight:
            return
        flight = bytearray(self.flight)
        flight[where % len(flight)] ^= spoil
        question_bytes = wire_format.QUESTION_BYTES if not self.node.is_established else 0
        for answer in self.hear(wire_format.envelope(SESSION, bytes(flight), question_bytes)):
            records = wire_format.records_of(answer)
            if records is None:
                continue
            _messages, flight_back = self.node.take(records)
            self.flight = flight_back or self.flight

    def prove(self) -> None:
        """Shake hands to the end and prove whose the session is."""
        while not self.node.is_established:
            self.shake(0, 0)
        proof = node_proof(SECRET, CLINIC.node, self.node.binding()) + CLINIC.node.encode()
        self.say(bytes((Message.PROOF,)) + proof)

    def say(self, message: bytes) -> None:
        """Send a message over the node's channel."""
        self.hear(wire_format.envelope(SESSION, self.node.seal(message)))

    def _take(self, _node: NodeAddress, _what: Up, container: bytes) -> None:
        self.taken.append(container)


def conversation(data: bytes) -> None:
    """Pass where nothing raises, nothing is taken unproved, and no more is answered than was asked."""
    hub, is_proved = _Hub(), False
    for part in parts(data):
        kind, body = part[0], part[1:]
        try:
            if kind == TAMPERED and len(body) >= 3:
                hub.shake(int.from_bytes(body[:2], "big"), body[2])
            elif kind == PROVED and body and len(body) <= wire_format.BODY_LIMIT_BYTES:
                if not is_proved:
                    hub, is_proved = _Hub(), True
                    hub.prove()
                hub.say(body)
            else:
                hub.hear(part)
        except ChannelBroken:
            break  # the node gave up; the server may not
    assert is_proved or not hub.taken
    assert hub.answered_bytes <= hub.asked_bytes, "more was answered than asked"
    assert hub.server.pending <= 256
    assert isinstance(hub.server.counts, Counter)


def parts(data: bytes) -> Iterator[bytes]:
    """Cut an input into parts of at least one byte; each begins with its length."""
    at = 0
    while at + 2 < len(data):
        end = at + 2 + max(1, int.from_bytes(data[at : at + 2], "big") % (wire_format.DATAGRAM_LIMIT_BYTES + 8))
        yield data[at + 2 : end]
        at = end


def joined(*each: bytes) -> bytes:
    """Return parts as an input."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in each)


def seeds() -> Iterable[bytes]:
    """A first hello, a whole handshake, spoilt ones, and messages behind the proof."""
    hello = Channel(node_context(), is_hub=False).begin()
    yield joined(wire_format.envelope(SESSION, hello, wire_format.QUESTION_BYTES))
    yield joined(*[bytes((TAMPERED, 0, 0, 0))] * 4)
    yield joined(bytes((TAMPERED, 0, 0, 0)), bytes((TAMPERED, 0, 30, 255)), bytes((TAMPERED, 0, 0, 0)))
    alarm = bytes((PROVED, Message.ALARMS)) + encode([containers.alarm(1)])
    yield joined(alarm, bytes((PROVED, Message.PING)) + bytes(8), bytes((PROVED, Message.PROOF)) + bytes(40))
    yield joined(wire_format.envelope(SESSION, b"\x17\xfe\xfd" + bytes(8) + b"\x00\x01x"))


DATAGRAM = Target(
    "datagram",
    "Nothing that arrives raises; nothing unproved is taken; no more is answered than was asked.",
    conversation,
    seeds,
    6000,
)
