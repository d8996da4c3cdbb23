"""The alarms' second way in: a UDP server that speaks DTLS to the nodes (reliability 2.8, 4.3).

It never speaks first and keeps no timers for a session: the node repeats, the hub answers, and no answer is longer
than what was asked (`Session.credit_bytes`).  Fixed fields are looked at before anything else; a stranger costs an
HMAC and leaves nothing behind until its cookie came back.
"""

import asyncio
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry
from telemed import datagram as wire_format
from telemed.datagram import DATA_RECORD, SEALED_BYTES, Message
from telemed.dtls import Channel, ChannelBroken, cookie_for, hub_context
from telemed.errors import Code, WireError
from telemed.topics import NodeAddress, Up
from telemed.v1 import uplink_pb2
from telemed.wire import Kind, decode

from cloud_hub.access.sources import source_of
from cloud_hub.errors import ConfigRefused
from cloud_hub.ingest.datagram_limits import Bucket, DatagramLimits, SourceRates
from cloud_hub.ingest.datagram_metrics import DatagramMetrics
from cloud_hub.ingest.datagram_proof import Prover
from cloud_hub.ingest.datagram_recent import Came, Recent, fitted
from cloud_hub.ingest.datagram_sessions import Peer, Session, Sessions

ALARM_STREAM = "/alarm"
COOKIE_LIFE_S = 60.0
SWEEP_EVERY_S = 1.0
RECEIVE_BUFFER_BYTES = 1024 * 1024
EXPEDITED = 46 << 2
"""DSCP EF in the upper six bits of the traffic class."""

Take = Callable[[NodeAddress, Up, bytes], None]
Note = Callable[[NodeAddress, str, int], None]

log = structlog.get_logger()


class DatagramServer(asyncio.DatagramProtocol):
    """Takes alarms by datagram; all methods are called on the event loop and return at once."""

    def __init__(
        self,
        prover: Prover,
        take: Take,
        *,
        registry: CollectorRegistry | None = None,
        note: Note = lambda _node, _code, _times: None,
        limits: DatagramLimits | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet.

        Args:
            prover: decides whose a session is.
            take: handed each container of alarms that is news, as the broker's messages are.
            registry: where the counters are registered; None = nowhere.
            note: told of a node that failed to prove itself.
            limits: how much it holds and does.
            now_s: a steady clock.
        """
        self._prover, self._take, self._note, self._now_s = prover, take, note, now_s
        self._limits = limits or DatagramLimits()
        self._sessions = Sessions()
        self.counts: Counter[str] = Counter()
        """What came in and became of it, by a word each (see `datagram_metrics`)."""
        self._recent: dict[NodeAddress, Recent] = {}
        self._refused: set[NodeAddress] = set()
        """Nodes whose last proof was wrong: told in the log once."""
        self._cookie_keys = [secrets.token_bytes(32), secrets.token_bytes(32)]
        self._cookie_made_s = now_s()
        self._context = hub_context(self._cookie, self._is_cookie)
        self._listening = Channel(self._context, is_hub=True)
        self._sources = SourceRates(self._limits.handshakes_per_source_s, self._limits.handshakes_per_source_burst)
        self._handshakes = self._bucket(self._limits.handshakes_per_s)
        self._hellos = self._bucket(self._limits.hellos_per_s)
        self._unknowns = self._bucket(self._limits.unknowns_per_s)
        self._transport: asyncio.DatagramTransport | None = None
        if registry is not None:
            registry.register(DatagramMetrics(self.counts, lambda: len(self._sessions.proved)))

    async def run(self, listener: socket.socket) -> None:
        """Serve on a socket of `listen` until cancelled, then close it."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=listener)
        try:
            while True:
                await asyncio.sleep(SWEEP_EVERY_S)
                self.sweep()
        finally:
            transport.close()
            self._transport = None

    def publish(self, node: NodeAddress, receipts: uplink_pb2.Receipts) -> None:
        """Tell a node what is committed, on every session of it that has asked for as much; other streams are let out.

        To be called right after the commit, with whatever also goes down by the broker.
        """
        alarms = [receipt for receipt in receipts.receipts if receipt.stream.endswith(ALARM_STREAM)]
        if not alarms or node not in self._recent:
            return
        told = uplink_pb2.Receipts(receipts=alarms, hub_unix_ns=receipts.hub_unix_ns, window_hint=receipts.window_hint)
        self._recent[node].note(told)
        for name, session in list(self._sessions.of_node.get(node, {}).items()):
            self._say_receipts(name, session, told)

    @property
    def sessions(self) -> int:
        """How many sessions have proved whose they are."""
        return len(self._sessions.proved)

    @property
    def pending(self) -> int:
        """How many handshakes are under way."""
        return len(self._sessions.pending)

    def is_reached_by(self, node: NodeAddress) -> bool:
        """Return whether a node has a session here."""
        return node in self._sessions.of_node

    def cut(self, node: NodeAddress) -> None:
        """Drop the sessions of a node; it has to prove itself anew."""
        for name in list(self._sessions.of_node.get(node, ())):
            self._sessions.drop(name)

    def sweep(self) -> None:
        """Forget what has been silent for too long, and change the key of the cookies when it is old."""
        now_s = self._now_s()
        self._sessions.sweep(now_s, self._limits.idle_s)
        for node in [node for node in self._recent if node not in self._sessions.of_node]:
            del self._recent[node]
        if now_s - self._cookie_made_s > COOKIE_LIFE_S:
            self._cookie_keys = [secrets.token_bytes(32), self._cookie_keys[0]]
            self._cookie_made_s = now_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # the base class promises less than it gives

    def error_received(self, _exc: Exception) -> None:
        """Count what the network refused: nothing here depends on a datagram arriving."""
        self.counts["send-failed"] += 1

    def datagram_received(self, data: bytes, addr: Peer) -> None:
        """Take one datagram; nothing in it can raise."""
        records = wire_format.records_of(data)
        if records is None:
            self.counts["malformed"] += 1
            return
        name, peer = wire_format.session_of(data), (addr[0], addr[1])
        session = self._sessions.find(name)
        if session is None:
            self._take_stranger(name, records, peer, len(data))
            return
        try:
            self._take_known(name, session, records, peer, len(data))
        except ChannelBroken:
            self.counts["broken"] += 1
            self._sessions.drop(name)

    def _take_stranger(self, name: bytes, records: bytes, peer: Peer, size_bytes: int) -> None:
        now_s = self._now_s()
        if records[0] == DATA_RECORD:
            self.counts["unknown-session"] += 1
            if self._unknowns.take(now_s):
                self._send(wire_format.unknown(name), peer)
            return
        if not wire_format.asks_for_session(records) or not self._hellos.take(now_s):
            self.counts["stray"] += 1
            return
        is_theirs, flight = self._listen(name, records, peer)
        if not is_theirs:
            self.counts["hello"] += 1
            if flight and wire_format.ENVELOPE_BYTES + len(flight) <= size_bytes:
                self._send(wire_format.envelope(name, flight), peer)
            return
        channel, self._listening = self._listening, Channel(self._context, is_hub=True)
        if not (self._sources.take(source_of(peer[0]), now_s) and self._handshakes.take(now_s)):
            self.counts["too-many-handshakes"] += 1
            return
        self.counts["handshake"] += 1
        session = Session(channel, peer, now_s, credit_bytes=size_bytes, flight=flight)
        self._sessions.pending[name] = session
        if len(self._sessions.pending) > self._limits.pending:
            self._sessions.pending.popitem(last=False)
        self._say(name, session, flight)

    def _listen(self, name: bytes, records: bytes, peer: Peer) -> tuple[bool, bytes]:
        try:
            return self._listening.listen(records, name + f"{peer[0]} {peer[1]}".encode())
        except ChannelBroken:
            self._listening = Channel(self._context, is_hub=True)
            return False, b""

    def _take_known(self, name: bytes, session: Session, records: bytes, peer: Peer, size_bytes: int) -> None:
        was_established = session.channel.is_established
        messages, flight = session.channel.take(records)
        if not messages and not flight and session.channel.is_established == was_established:
            self._take_repeat(name, session, peer, size_bytes)
            return
        now_s = self._now_s()
        self._sessions.heard(name, session, now_s)
        if messages and peer != session.peer:
            # The translated address of the node changed.  What was owed to the old one is not owed to the new one.
            self.counts["moved"] += 1
            session.peer, session.credit_bytes = peer, 0
        session.earn(peer, size_bytes)
        if flight:
            session.flight = flight
            self._say(name, session, flight)
        for message in messages:
            self._take_message(name, session, message, now_s)

    def _take_repeat(self, name: bytes, session: Session, peer: Peer, size_bytes: int) -> None:
        """Answer a node in its handshake again: our answer was lost.  Behind it, replayed or forged: nothing."""
        if session.node is not None or peer != session.peer:
            self.counts["replayed-or-forged"] += 1
            return
        session.earn(peer, size_bytes)
        self._say(name, session, session.flight)

    def _take_message(self, name: bytes, session: Session, message: bytes, now_s: float) -> None:
        kind, body = message[0], message[1:]
        if kind == Message.PROOF:
            self._take_proof(name, session, body, now_s)
        elif session.node is None:
            self.counts["unproved"] += 1
        elif kind == Message.ALARMS:
            self._take_alarms(name, session, session.node, body, now_s)
        elif kind == Message.PING and len(body) == wire_format.TOKEN_BYTES:
            self.counts["ping"] += 1
            self._say_message(name, session, Message.PONG, body)
        else:
            self.counts["unreadable"] += 1

    def _take_proof(self, name: bytes, session: Session, body: bytes, now_s: float) -> None:
        if session.node is not None:
            self._say_message(name, session, Message.WELCOME, session.welcome)
            return
        verdict = self._prover.judge(body, session.channel.binding())
        if verdict.node is None:
            self.counts["refused"] += 1
            if verdict.named is not None:
                self._tell_refused(verdict.named, session.peer[0])
            self._say_message(name, session, Message.REFUSED, b"")
            self._sessions.drop(name)
            return
        self.counts["proved"] += 1
        self._refused.discard(verdict.node)
        session.welcome, session.ends_s = verdict.answer, now_s + verdict.lasts_s
        self._sessions.prove(name, session, verdict.node, now_s, self._limits)
        self._recent.setdefault(verdict.node, Recent())
        self._say_message(name, session, Message.WELCOME, verdict.answer)

    def _tell_refused(self, named: NodeAddress, source: str) -> None:
        if named not in self._refused:
            self._refused.add(named)
            log.warning("datagram-refused", node=named.node, source=source)
        self._note(named, Code.CONNECT_REFUSED, 1)

    def _take_alarms(self, name: bytes, session: Session, node: NodeAddress, container: bytes, now_s: float) -> None:
        try:
            records = decode(container)
        except WireError:
            self.counts["unreadable"] += 1
            return
        if not records or any(record.kind != Kind.ALARM_EVENT for record in records):
            self.counts["no-alarm"] += 1
            return
        recent = self._recent.setdefault(node, Recent())
        came = recent.judge(records, now_s)
        if came is Came.NEW:
            self.counts["taken"] += 1
            self._take(node, Up.ALARM, container)
            return
        self.counts["again"] += 1
        if came is Came.STORED:
            self._say_receipts(name, session, recent.receipts_for(records))

    def _say_receipts(self, name: bytes, session: Session, told: uplink_pb2.Receipts) -> None:
        room_bytes = min(session.credit_bytes, wire_format.DATAGRAM_LIMIT_BYTES) - SEALED_BYTES
        body = fitted(told, room_bytes)
        if body is None:
            self.counts["no-credit"] += 1
            return
        self.counts["receipt"] += 1
        self._say_message(name, session, Message.RECEIPTS, body)

    def _say_message(self, name: bytes, session: Session, kind: Message, body: bytes) -> None:
        try:
            record = session.channel.seal(bytes((kind,)) + body)
        except ChannelBroken:
            self.counts["broken"] += 1
            self._sessions.drop(name)
            return
        self._say(name, session, record)

    def _say(self, name: bytes, session: Session, records: bytes) -> None:
        """Send to a session's peer, unless that would be more than it asked."""
        told = wire_format.envelope(name, records)
        if not records:
            return
        if session.spend(len(told)):
            self._send(told, session.peer)
        else:
            self.counts["no-credit"] += 1

    def _send(self, told: bytes, peer: Peer) -> None:
        if self._transport is not None:
            self._transport.sendto(told, peer)

    def _bucket(self, rate_per_s: float) -> Bucket:
        return Bucket(rate_per_s, rate_per_s, rate_per_s, self._now_s())

    def _cookie(self, who: object) -> bytes:
        assert isinstance(who, bytes)
        return cookie_for(self._cookie_keys[0], who)

    def _is_cookie(self, who: object, given: bytes) -> bool:
        assert isinstance(who, bytes)
        return any(secrets.compare_digest(cookie_for(key, who), given) for key in self._cookie_keys)


def listen(host: str, port: int) -> socket.socket:
    """Return the bound socket.

    Raises:
        ConfigRefused: the port is in use, or the address is not ours.
    """
    is_6 = ":" in host
    listener = socket.socket(socket.AF_INET6 if is_6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        listener.bind((host, port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        mark_expedited(listener)
    except OSError as error:
        listener.close()
        raise ConfigRefused(
            f"ingest.datagram_port: {host}:{port} cannot be used: {error.strerror} (is another hub running?)"
        ) from error
    listener.setblocking(False)
    return listener


def mark_expedited(marked: socket.socket) -> None:
    """Mark what a socket sends with DSCP EF, for networks that heed it."""
    if marked.family == socket.AF_INET6:
        marked.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EXPEDITED)
    else:
        marked.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EXPEDITED)
