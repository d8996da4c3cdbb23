"""Who may send next: every byte of the node passes one scheduler (pure; reliability 3.1, 3.2).

Alarms go at once, in a bucket of their own.  Measurements have a guaranteed share.  Everything else shares the pace
that the link carries by weight (start-time fair queueing: Goyal, Vin and Cheng 1996), in segments short enough that an
alarm never waits long behind one.  What may be under way is bounded, so that bytes wait here, where they can be
overtaken.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from edge_node.uplink.capacity import Capacity


class Traffic(IntEnum):
    """The classes of reliability 3.1, most urgent first."""

    ALARM = 0  # alarms, their answers, heartbeats
    VITALS = 1  # live numerics, events, signalling
    AUDIO = 2
    WATCHED = 3  # waves that somebody looks at now
    VIDEO = 4
    IMAGE = 5  # studies and recorded exams
    BACKLOG = 6  # what was stored while the link was gone, and waves that nobody looks at
    BULK = 7  # model bundles, logs


WEIGHTS = {
    Traffic.VITALS: 8,
    Traffic.WATCHED: 8,
    Traffic.VIDEO: 6,
    Traffic.IMAGE: 3,
    Traffic.BACKLOG: 2,
    Traffic.BULK: 1,
}
QUANTUM_BYTES = 512
SEGMENT_BYTES, WIDE_SEGMENT_BYTES, LEAST_SEGMENT_BYTES = 1_024, 16 * 1_024, 256
WIDE_BPS = 1_000_000
"""From here on segments are wide."""
SEGMENT_S = 0.032
"""How long a segment may take on the wire of a thin link."""
PRESSED_S = 1.0
"""Measurements that are so far ahead of their share are gathered for longer."""
THIN_BPS = 48_000
"""Below this estimate, that of a link of about 60 kbit/s, only alarms and measurements are sent."""
BULK_FROM_BPS = 1_000_000
"""Below this model bundles and logs wait."""
BURST_S, LEAST_BURST_BYTES = 0.02, 1_200
ALARM_BPS, ALARM_SHARE, ALARM_BURST_BYTES = 32_000, 0.1, 4_096
VITALS_SHARE = 0.15
VITALS_BURST_S = 1.0
REST_SHARE, LEAST_REST_BPS = 0.25, 64_000


@dataclass(slots=True)
class Bucket:
    """Tokens in bytes; may be overdrawn by one message, then waits until it is level again."""

    tokens: float = 0.0
    at_s: float | None = None

    def fill(self, rate_bps: float, most_bytes: float, now_s: float) -> None:
        """Add what came in since the last time."""
        if self.at_s is not None:
            self.tokens = min(most_bytes, self.tokens + rate_bps / 8 * max(0.0, now_s - self.at_s))
        else:
            self.tokens = most_bytes
        self.at_s = now_s


@dataclass(slots=True)
class Ask:
    """One wish to send: answered once, with how many bytes may go."""

    traffic: Traffic
    most_bytes: int
    granted_bytes: int = 0


@dataclass(slots=True)
class Scheduler:
    """Gives out turns; `grant` is called whenever something was asked, acknowledged, or `next_s` has come."""

    capacity: Capacity
    is_call: bool = False
    """A consult is on: sound and picture go past the scheduler, so files and backlog are held to `rest_bps`."""
    _waiting: dict[Traffic, deque[Ask]] = field(default_factory=dict)
    _virtual: float = 0.0
    """Virtual time: bytes by weight that each class has had, had it always wanted something."""
    _finish: dict[Traffic, float] = field(default_factory=dict)
    """When, in virtual time, a class is done with what it was granted."""
    _promised_bytes: int = 0
    """Granted and not yet sent."""
    _pace: Bucket = field(default_factory=Bucket)
    _alarms: Bucket = field(default_factory=Bucket)
    _vitals: Bucket = field(default_factory=Bucket)
    _rest: Bucket = field(default_factory=Bucket)

    @property
    def segment_bytes(self) -> int:
        """Longest message to make now."""
        rate_bps = self.capacity.rate_bps
        if rate_bps >= WIDE_BPS:
            return WIDE_SEGMENT_BYTES
        return max(LEAST_SEGMENT_BYTES, min(SEGMENT_BYTES, int(rate_bps / 8 * SEGMENT_S)))

    @property
    def rest_bps(self) -> float:
        """What files and backlog may use beside a call, whose picture takes what it finds free."""
        rate_bps = self.capacity.rate_bps
        return min(rate_bps / 2, max(LEAST_REST_BPS, REST_SHARE * rate_bps))

    @property
    def is_pressed(self) -> bool:
        """Whether measurements should be gathered for longer, so that fewer headers are sent."""
        # The bucket is empty after any large message; a second's debt is more than that.
        debt_bytes = VITALS_SHARE * self.capacity.rate_bps / 8 * PRESSED_S
        return self.capacity.rate_bps < THIN_BPS or self._vitals.tokens < -debt_bytes

    def ask(self, traffic: Traffic, most_bytes: int) -> Ask:
        """Ask for a turn; answered by a later `grant`, the classes' own order kept."""
        asked = Ask(traffic, most_bytes)
        self._waiting.setdefault(traffic, deque()).append(asked)
        return asked

    def withdraw(self, asked: Ask) -> None:
        """Take back a wish that was not answered."""
        queue = self._waiting.get(asked.traffic)
        if queue and asked in queue:
            queue.remove(asked)

    def settle(self, asked: Ask, sent_bytes: int, now_s: float) -> None:
        """Say what became of a granted turn: how many bytes left, headers included; 0 = none."""
        self._promised_bytes -= asked.granted_bytes
        self._charge(asked.traffic, sent_bytes - asked.granted_bytes)
        if asked.traffic in self._finish:
            self._finish[asked.traffic] += (sent_bytes - asked.granted_bytes) / WEIGHTS[asked.traffic]
        if sent_bytes:
            self.capacity.sent(sent_bytes, now_s)

    def spend(self, traffic: Traffic, size_bytes: int, now_s: float) -> None:
        """Count a message that left without a turn of its own."""
        self._fill(now_s)
        self._charge(traffic, size_bytes)
        self.capacity.sent(size_bytes, now_s)

    def may_repeat(self, size_bytes: int, now_s: float) -> bool:
        """Take an alarm's datagram out of the alarms' own bucket, else out of what nobody else wants; False: too much.

        Where packets are lost in numbers the other connections stand still, and leave their part of the link to the
        repeats that alone get through.
        """
        self._fill(now_s)
        if self._alarms.tokens >= size_bytes:
            self._charge(Traffic.ALARM, size_bytes)
            return True
        if self._pace.tokens < size_bytes:
            return False
        self._pace.tokens -= size_bytes
        return True

    def grant(self, now_s: float) -> list[Ask]:
        """Answer as many wishes as may be sent now, and return them."""
        self._fill(now_s)
        granted = list(self._urgent())
        while self._has_room() and (traffic := self._next()) is not None:
            granted.append(self._serve(traffic))
        return granted

    def next_s(self, now_s: float) -> float | None:
        """When to call `grant` again if nothing happens before; None = only when something is asked or acknowledged."""
        if not any(self._waiting.values()):
            return None
        if self._pace.tokens > 0:
            return None
        return now_s + max(0.001, (1 - self._pace.tokens) * 8 / self.capacity.rate_bps)

    def _fill(self, now_s: float) -> None:
        rate_bps = self.capacity.rate_bps
        self._pace.fill(rate_bps, max(LEAST_BURST_BYTES, rate_bps / 8 * BURST_S), now_s)
        self._rest.fill(self.rest_bps, LEAST_BURST_BYTES, now_s)
        self._alarms.fill(max(ALARM_BPS, ALARM_SHARE * rate_bps), ALARM_BURST_BYTES, now_s)
        vitals_bps = VITALS_SHARE * rate_bps
        self._vitals.fill(vitals_bps, max(LEAST_BURST_BYTES, vitals_bps / 8 * VITALS_BURST_S), now_s)

    def _urgent(self) -> Iterable[Ask]:
        """Alarms go at once; measurements as long as they stay within their guaranteed share."""
        for asked in self._take_all(Traffic.ALARM):
            yield self._answer(asked, min(asked.most_bytes, ALARM_BURST_BYTES))
        queue = self._waiting.get(Traffic.VITALS)
        while queue and self._vitals.tokens > 0 and self._is_inside(2 * self.capacity.window_bytes):
            asked = queue.popleft()
            yield self._answer(asked, min(asked.most_bytes, max(self.segment_bytes, SEGMENT_BYTES)))

    def _take_all(self, traffic: Traffic) -> Iterable[Ask]:
        queue = self._waiting.get(traffic)
        while queue:
            yield queue.popleft()

    def _next(self) -> Traffic | None:
        """The class whose turn it is; None where nobody waits that may send."""
        waiting = [traffic for traffic, queue in self._waiting.items() if queue and self._is_allowed(traffic)]
        return min(waiting, key=lambda traffic: (self._finish.get(traffic, 0.0), traffic), default=None)

    def _serve(self, traffic: Traffic) -> Ask:
        asked = self._waiting[traffic].popleft()
        size_bytes = min(asked.most_bytes, self.segment_bytes)
        # A class that wanted nothing for a while saves nothing up.
        self._virtual = max(self._virtual, self._finish.get(traffic, 0.0))
        self._finish[traffic] = self._virtual + size_bytes / WEIGHTS[traffic]
        return self._answer(asked, size_bytes)

    def _answer(self, asked: Ask, size_bytes: int) -> Ask:
        asked.granted_bytes = size_bytes
        self._promised_bytes += size_bytes
        self._charge(asked.traffic, size_bytes)
        return asked

    def _charge(self, traffic: Traffic, size_bytes: int) -> None:
        self._pace.tokens -= size_bytes
        if traffic is Traffic.ALARM:
            self._alarms.tokens -= size_bytes
        elif traffic is Traffic.VITALS:
            self._vitals.tokens -= size_bytes
        elif traffic >= Traffic.IMAGE and self.is_call:
            self._rest.tokens -= size_bytes

    def _has_room(self) -> bool:
        return self._pace.tokens > 0 and self._is_inside(self.capacity.window_bytes)

    def _is_inside(self, window_bytes: int) -> bool:
        return self.capacity.under_way_bytes + self._promised_bytes < window_bytes

    def _is_allowed(self, traffic: Traffic) -> bool:
        rate_bps = self.capacity.rate_bps
        if self.is_call and traffic >= Traffic.IMAGE and self._rest.tokens <= 0:
            return False
        if traffic is Traffic.BULK:
            return rate_bps >= BULK_FROM_BPS
        return traffic <= Traffic.VITALS or rate_bps >= THIN_BPS
