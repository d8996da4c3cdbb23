"""The alarms' second way to the hub: sealed records by datagram until their receipt (reliability 2.8).

One object is one path: a node with two modems has two, each bound to an address or interface of its own, and gives
every alarm to both.  What is decided stands in `repeat` and `session`; here are the socket and the waiting.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError
from telemed import datagram as wire_format
from telemed.datagram import MARK_BYTES, SEALED_BYTES, SMALL_LIMIT_BYTES
from telemed.dtls import ChannelBroken, node_context
from telemed.v1 import uplink_pb2
from telemed.wire import Record

from edge_node.errors import ConfigRefused
from edge_node.uplink import backoff
from edge_node.uplink.datagram_socket import FIRST_RETRY_S, HubSocket, PathSettings, SocketEvents
from edge_node.uplink.repeat import PACKET_HEAD_BYTES, MaySend, Repeats
from edge_node.uplink.session import Credentials, NodeSession, Proving, Stage
from edge_node.uplink.spare import Spare

ATTEMPT_S = 10.0
"""After this a handshake that came to nothing is begun anew, on a name looked up anew."""
LOOK_S = 1.0
"""How often the silence is looked at."""
ANEW_EVERY_S = 0.2
"""No two handshakes are begun within this, whoever says that the hub does not know us."""
MUCH_LOST_SHARE = 0.55
"""Fewer answers than this: a quarter of the packets is lost each way, or more."""
REFUSED_WAIT_S = 30.0
RETRY_LONGEST_S = 5.0
"""An attempt costs a few hundred bytes, and a hub that comes back is wanted at once."""
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PathEvents:
    """What a path tells and asks; all called on the event loop, none may block."""

    on_receipts: Callable[[uplink_pb2.Receipts], None]
    may_send: MaySend = lambda _size_bytes, _now_s: True
    """The budget of the alarm class: bytes with packet heads, steady time; True takes them."""
    on_change: Callable[[], None] = lambda: None
    """`is_up` or `is_refused` may have changed."""


class AlarmPath:
    """Carries alarms by datagram; `run` holds the session, everything else returns at once."""

    def __init__(
        self,
        settings: PathSettings,
        credentials: Proving,
        events: PathEvents,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open nothing yet.

        Args:
            settings: where the path goes.
            credentials: how the node proves who it is.
            events: what it tells and asks.
            now_s: a steady clock, the one that `may_send` is asked with.
        """
        self._settings, self._credentials, self._events, self._now_s = settings, credentials, events, now_s
        self._context = node_context()
        self.repeats = Repeats()
        """What waits for its receipt on this path."""
        self.spare = Spare()
        """What the path may use beyond the budget of the alarm class."""
        self.counts: Counter[str] = Counter()
        """By a word each: "sent", "heard", "stray", "session", "socket", "unknown" (the hub forgot us)."""
        self._socket = HubSocket(settings, SocketEvents(self._heard, self._opened, self._too_large))
        self._current: NodeSession | None = None
        self._next: NodeSession | None = None
        self._failures = 0
        self._began_s = float("-inf")
        self._retry_at_s = 0.0
        self._was_up = False
        self.is_refused = False
        """Whether the hub last refused our proof, or could not prove itself."""
        self._woken = asyncio.Event()

    @property
    def way(self) -> str:
        """What the path is bound to: an interface, an address, or "route" where the routes decide."""
        return self._settings.interface or self._settings.local_address or "route"

    @property
    def is_up(self) -> bool:
        """Whether there is a session and the hub was heard on it lately."""
        current = self._current
        return current is not None and self._now_s() - current.heard_s <= self._settings.silence_after_s

    @property
    def round_trip_s(self) -> float | None:
        """The latest measured round trip, None while there is none."""
        return self._current.round_trip_s if self._current else None

    def send(self, records: Sequence[Record]) -> int:
        """Send alarms until they are receipted; return how many, from the first, need not be offered again."""
        taken = self.repeats.add(records, self._now_s())
        self._woken.set()
        return taken

    def acknowledged(self, stream: str, epoch: int, seqs: Iterable[int]) -> None:
        """Stop repeating records that the hub has by whatever path."""
        self.repeats.acknowledged(stream, epoch, seqs)

    def take(self, receipts: Iterable[uplink_pb2.Receipt]) -> None:
        """Stop repeating what receipts that came by another path cover."""
        self.repeats.forget(receipts)

    async def run(self) -> None:
        """Hold a session and send what is due, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._socket.run(), name="datagram-socket")
            group.create_task(self._carry(), name="datagram-carry")

    async def _carry(self) -> None:
        while True:
            self._woken.clear()
            now_s = self._now_s()
            self._keep_session(now_s)
            self._send_due(now_s)
            await self._rest(now_s + LOOK_S)

    def _opened(self) -> None:
        self.counts["socket"] += 1
        self.spare.restart()
        if self._current is not None:
            # The session goes on under its name; the hub learns the new address from the next message.
            self._current.hurry(self._now_s())
        self._woken.set()

    def _too_large(self) -> None:
        self.repeats.body_limit_bytes = SMALL_LIMIT_BYTES - SEALED_BYTES

    def _heard(self, data: bytes) -> None:
        session = self._named(wire_format.session_of(data))
        if session is None:
            self.counts["stray"] += 1
            return
        if data[0] == wire_format.UNKNOWN:
            self.counts["unknown"] += 1
            self._take_unknown(session)
        else:
            self.counts["heard"] += 1
            pongs = session.pongs
            for body in session.take(data, self._now_s()):
                self._take_receipts(body)
            if session.pongs > pongs and session.round_trip_s is not None:
                self.repeats.answered(session.round_trip_s)
                self.spare.told(session.round_trip_s, self._now_s())
        self._woken.set()

    def _take_unknown(self, session: NodeSession) -> None:
        """Begin anew where the hub says it does not know a session.

        Anybody on the way may say so: the old session is kept until there is a new one.
        """
        now_s = self._now_s()
        if session is self._next and session.stage is Stage.PROVING:
            self._next = None
        if not self.is_refused or now_s >= self._retry_at_s:
            self._begin_anew(now_s)

    def _named(self, name: bytes) -> NodeSession | None:
        return next((each for each in (self._current, self._next) if each is not None and each.name == name), None)

    def _take_receipts(self, body: bytes) -> None:
        try:
            message = uplink_pb2.Receipts.FromString(body)
        except DecodeError:
            self.counts["stray"] += 1
            return
        self.repeats.take(message.receipts, self._now_s())
        self._events.on_receipts(message)

    def _keep_session(self, now_s: float) -> None:
        self._judge_next(now_s)
        current = self._current
        if current is not None and current.stage is not Stage.UP:
            current = self._current = None
        is_silent = current is None or now_s - current.heard_s > self._settings.silence_after_s
        if is_silent and now_s >= self._retry_at_s:
            self._begin_anew(now_s)
        if self.is_up != self._was_up:
            self._was_up = self.is_up
            log.info("datagram.state", up=self._was_up, host=self._settings.host, interface=self._settings.interface)
            self._events.on_change()

    def _judge_next(self, now_s: float) -> None:
        session = self._next
        if session is None:
            return
        if session.stage is Stage.UP:
            self._current, self._next, self._failures = session, None, 0
            self.counts["session"] += 1
            self._tell_refused(refused=False)
            self.repeats.restart(now_s)
        elif session.stage is Stage.REFUSED:
            self._next, self._retry_at_s = None, now_s + REFUSED_WAIT_S
            self._tell_refused(refused=True)
        elif session.stage is Stage.BROKEN or now_s - session.began_s > ATTEMPT_S:
            self._next = None
            self._failures += 1
            self._socket.renew()
            wait_s = backoff.wait_s(self._failures, FIRST_RETRY_S, RETRY_LONGEST_S, random.random)
            self._retry_at_s = now_s + wait_s

    def _tell_refused(self, *, refused: bool) -> None:
        if refused != self.is_refused:
            self.is_refused = refused
            if refused:
                log.error(
                    "datagram.refused", host=self._settings.host, hint="is the node's secret or certificate good?"
                )
            self._events.on_change()

    def _begin_anew(self, now_s: float) -> None:
        if self._next is None and self._socket.is_open and now_s - self._began_s >= ANEW_EVERY_S:
            self._began_s = now_s
            self._next = NodeSession(
                self._context, self._credentials, now_s, heartbeat_every_s=self._settings.heartbeat_every_s
            )

    def _send_due(self, now_s: float) -> None:
        for session in (self._current, self._next):
            if session is not None:
                # A channel that broke is seen by its stage, and given up at the next look.
                with contextlib.suppress(ChannelBroken):
                    self._send_of(session, now_s)

    def _send_of(self, session: NodeSession, now_s: float) -> None:
        for datagram in session.due(now_s):
            if self._may_send(len(datagram) + PACKET_HEAD_BYTES, now_s):
                self._send(datagram)
        if session is self._current and session.stage is Stage.UP:
            self.repeats.is_queue_known_short = self.spare.is_open(now_s)
            self.repeats.is_much_lost = session.answered_share < MUCH_LOST_SHARE
            limit_bytes = self.repeats.body_limit_bytes + SEALED_BYTES
            for container in self.repeats.due(now_s, self._may_send_marked):
                self._send(session.marked(container, now_s, limit_bytes))

    def _may_send_marked(self, size_bytes: int, now_s: float) -> bool:
        return self._may_send(size_bytes + MARK_BYTES, now_s)

    def _may_send(self, size_bytes: int, now_s: float) -> bool:
        return self._events.may_send(size_bytes, now_s) or self.spare.take(size_bytes, now_s)

    def _send(self, datagram: bytes) -> None:
        self.counts["sent"] += 1
        self._socket.send(datagram)

    async def _rest(self, latest_s: float) -> None:
        times_s = [latest_s, *(each.next_s() for each in (self._current, self._next) if each)]
        if self._current is not None:
            times_s.append(self.repeats.next_s())
        left_s = min(each for each in times_s if each is not None) - self._now_s()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left_s)):
                await self._woken.wait()


def credentials_of(node: str, secret_file: Path) -> Credentials:
    """Return how a node proves who it is: by the secret that it also has at the broker.

    Raises:
        ConfigRefused: the file cannot be read.
    """
    try:
        return Credentials(node, secret_file.read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"uplink.secret_file {secret_file}: {error}") from error
