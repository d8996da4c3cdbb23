"""The node's end of one session of the datagram path: handshake, proof, heartbeat (no I/O; the caller has the clock).

The node alone repeats: whatever of the handshake is not answered is said again, at first every 100 ms.  Waiting for
OpenSSL's own second would make a cold start at half the packets lost take a minute.
"""

import hmac
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from OpenSSL import SSL
from telemed import datagram as wire_format
from telemed.datagram import ENVELOPE_BYTES, MARK_BYTES, QUESTION_BYTES, SEALED_BYTES, SESSION_BYTES, Message
from telemed.dtls import Channel, ChannelBroken

REPEAT_FIRST_S = 0.1
REPEAT_STEADY_TIMES = 20
REPEAT_GROWTH = 1.5
REPEAT_LONGEST_S = 1.0
"""While nothing was heard: the hub may be down for days."""
REPEAT_LONGEST_HEARD_S = 0.25
"""Once something was: it is there, and packets are being lost."""
PING_AGAIN_S = 0.1
PING_AGAIN_TIMES = 30
SHARE_WEIGHT = 1 / 32
"""How much one ping counts in the share that was answered."""
_TOKEN = struct.Struct(">d")


class Stage(Enum):
    """How far a session has come."""

    HANDSHAKE = "handshake"
    PROVING = "proving"
    UP = "up"
    REFUSED = "refused"
    """The hub does not take the node's proof, or cannot prove that it is the hub."""
    BROKEN = "broken"


class Proving(Protocol):
    """How the node proves who it is, and knows the hub."""

    def prove(self, binding: bytes) -> bytes:
        """Return the body of the proof over the channel binding."""

    def is_hub(self, answer: bytes, binding: bytes) -> bool:
        """Return whether the body of the answer can only be the hub's."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """By the secret that the node also has at the broker."""

    node: str
    secret: str = field(repr=False)

    def prove(self, binding: bytes) -> bytes:
        """Return the body of the proof over the channel binding."""
        return wire_format.node_proof(self.secret, self.node, binding) + self.node.encode()

    def is_hub(self, answer: bytes, binding: bytes) -> bool:
        """Return whether the body of the answer can only be the hub's."""
        return hmac.compare_digest(answer, wire_format.hub_proof(self.secret, self.node, binding))


@dataclass(slots=True)
class _Repeat:
    """Something that is said again until it is answered."""

    at_s: float
    longest_s: float = REPEAT_LONGEST_HEARD_S
    times: int = 0

    def next(self, now_s: float) -> None:
        grown = max(0, self.times - REPEAT_STEADY_TIMES)
        self.times += 1
        self.at_s = now_s + min(self.longest_s, REPEAT_FIRST_S * REPEAT_GROWTH ** min(grown, 20))


class NodeSession:
    """One attempt at a session, and the session if it succeeds."""

    def __init__(
        self,
        context: SSL.Context,
        credentials: Proving,
        now_s: float,
        *,
        heartbeat_every_s: float = 2.0,
        draw: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Prepare the first flight.

        Args:
            context: `telemed.dtls.node_context()`, shared by all sessions of a node.
            credentials: who the node is.
            now_s: the caller's steady clock, as in all methods.
            heartbeat_every_s: how often the hub is asked for a sign of life.
            draw: returns so many random bytes.
        """
        self.name = draw(SESSION_BYTES)
        self.stage = Stage.HANDSHAKE
        self.began_s = self.heard_s = now_s
        self.round_trip_s: float | None = None
        """The latest measured by a ping; None while none is."""
        self.pongs = 0
        """How often that was."""
        self.answered_share = 1.0
        """Of the pings sent lately, in parts of one; what is still under way counts as unanswered."""
        self._credentials = credentials
        self._heartbeat_every_s = heartbeat_every_s
        self._channel = Channel(context, is_hub=False)
        self._flight = self._channel.begin()
        self._is_first_flight = True
        self._repeat = _Repeat(now_s, REPEAT_LONGEST_S)
        self._unanswered = 0

    def take(self, datagram: bytes, now_s: float) -> list[bytes]:
        """Take a datagram that names this session; return the receipts in it (telemed.v1.Receipts, serialized)."""
        records = wire_format.records_of(datagram)
        if records is None or self.stage in (Stage.REFUSED, Stage.BROKEN):
            return []
        try:
            messages, flight = self._channel.take(records)
        except ChannelBroken:
            self.stage = Stage.BROKEN
            return []
        if flight:
            self._flight, self._is_first_flight, self._repeat = flight, False, _Repeat(now_s)
        if self.stage is Stage.HANDSHAKE and self._channel.is_established:
            self.stage, self._repeat = Stage.PROVING, _Repeat(now_s)
        if messages:
            self.heard_s = now_s
        taken = [self._take_message(message, now_s) for message in messages]
        return [receipts for receipts in taken if receipts]

    def due(self, now_s: float) -> list[bytes]:
        """Return the datagrams of the session itself that are to be sent now, and take them as sent."""
        if now_s < self._repeat.at_s or self.stage in (Stage.REFUSED, Stage.BROKEN):
            return []
        if self.stage is Stage.UP:
            return [self._heartbeat(now_s)]
        self._repeat.next(now_s)
        if self.stage is Stage.PROVING:
            return [self.seal(Message.PROOF, self._credentials.prove(self._channel.binding()))]
        is_long_question = wire_format.asks_for_session(self._flight) and not self._is_first_flight
        question_bytes = QUESTION_BYTES if is_long_question else 0
        return [wire_format.envelope(self.name, self._flight, question_bytes)]

    def next_s(self) -> float | None:
        """Return when `due` has something, None if never again."""
        return None if self.stage in (Stage.REFUSED, Stage.BROKEN) else self._repeat.at_s

    def hurry(self, now_s: float) -> None:
        """Say at once what would be said next: the way to the hub has changed."""
        self._repeat.at_s = now_s

    def seal(self, kind: Message, body: bytes) -> bytes:
        """Return the datagram that carries a message.

        Raises:
            ValueError: the body does not fit a datagram.
            ChannelBroken: the session has ended.
        """
        try:
            record = self._channel.seal(bytes((kind,)) + body)
        except ChannelBroken:
            self.stage = Stage.BROKEN
            raise
        return wire_format.envelope(self.name, record)

    def marked(self, container: bytes, now_s: float, limit_bytes: int) -> bytes:
        """Return the datagram that carries alarms, with a ping in front that tells how long its answer took.

        It is answered at once and by its own time, so it tells that of a datagram that goes again as well.  Where the
        limit leaves no room for one the alarms go without.  Raises as `seal` does.
        """
        has_room = len(container) + SEALED_BYTES + MARK_BYTES <= limit_bytes
        mark = self._ping(now_s)[ENVELOPE_BYTES:] if has_room else b""
        alarms = self.seal(Message.ALARMS, container)
        return wire_format.envelope(self.name, mark + alarms[ENVELOPE_BYTES:])

    def _heartbeat(self, now_s: float) -> bytes:
        # A lost ping is asked again soon, so that even half of the packets lost makes no silence of the five seconds
        # after which a path counts as down; a hub that is gone is asked rarely.
        again_s = max(PING_AGAIN_S, 2 * (self.round_trip_s or 0.0))
        wait_s = min(self._heartbeat_every_s, again_s if self._unanswered < PING_AGAIN_TIMES else REPEAT_LONGEST_S)
        self._unanswered += 1
        self._repeat = _Repeat(now_s + wait_s)
        return self._ping(now_s)

    def _ping(self, now_s: float) -> bytes:
        self.answered_share -= self.answered_share * SHARE_WEIGHT
        return self.seal(Message.PING, _TOKEN.pack(now_s))

    def _take_message(self, message: bytes, now_s: float) -> bytes:
        kind, body = message[0], message[1:]
        if self.stage is Stage.PROVING:
            self._take_answer(kind, body, now_s)
        elif kind == Message.RECEIPTS and self.stage is Stage.UP:
            return body
        elif kind == Message.PONG and len(body) == _TOKEN.size:
            self.round_trip_s = max(0.0, now_s - _TOKEN.unpack(body)[0])
            self.pongs += 1
            self.answered_share = min(1.0, self.answered_share + SHARE_WEIGHT)
            self._unanswered = 0
            self._repeat.at_s = now_s + self._heartbeat_every_s
        return b""

    def _take_answer(self, kind: int, body: bytes, now_s: float) -> None:
        # Receipts may overtake a lost welcome; nothing counts before the hub has proved itself.
        if kind == Message.REFUSED:
            self.stage = Stage.REFUSED
        elif kind == Message.WELCOME:
            is_right = self._credentials.is_hub(body, self._channel.binding())
            self.stage, self._repeat = (Stage.UP if is_right else Stage.REFUSED), _Repeat(now_s)
